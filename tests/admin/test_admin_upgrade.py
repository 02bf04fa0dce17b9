from __future__ import annotations

from proxy.controlplane.errors import HandingOver, StartError
from proxy.controlplane.events import Author
from tests.support.admin import OPERATOR, Asked, run, settings


def test_the_successor_is_told_by_its_process_id() -> None:
    asked_by: list[tuple[Author, str]] = []

    async def upgrade(author: Author, reason: str) -> int:
        asked_by.append((author, reason))
        return 4711

    async def test(it: Asked) -> None:
        answer = await it.ask("POST", "/api/v1/upgrade", {"reason": "0.2.0"}, token=OPERATOR)
        assert (answer.status, answer.body["pid"]) == (200, 4711)
        assert asked_by == [(Author("ann", "127.0.0.1"), "0.2.0")]

    run(test, settings(tokens=True), upgrade=upgrade, start=False)


def test_a_program_that_does_not_start_is_a_problem_that_says_why() -> None:
    async def upgrade(_: Author, __: str) -> int:
        raise StartError("the new program ended with exit code 3: bad file")

    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/upgrade")
        assert (answer.status, answer.kind) == (500, "upgrade-failed")
        assert "exit code 3: bad file" in answer.body["detail"]
        assert "nothing has changed" in answer.body["detail"]

    run(test, upgrade=upgrade, start=False)


def test_one_upgrade_at_a_time() -> None:
    async def upgrade(_: Author, __: str) -> int:
        raise HandingOver("an upgrade is under way")

    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/upgrade")
        assert (answer.status, answer.kind, answer.headers["Retry-After"]) == (503, "handing-over", "1")

    run(test, upgrade=upgrade, start=False)


def test_where_nobody_can_succeed_it_is_a_conflict() -> None:
    async def test(it: Asked) -> None:
        answer = await it.post("/api/v1/upgrade")
        assert (answer.status, answer.kind) == (409, "no-upgrade")

    run(test, start=False)
