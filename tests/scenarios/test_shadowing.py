"""The whole program with a shadow: what is copied, compared and told, from a request to the report."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.support.deadline import wait_until
from tests.support.load import Load
from tests.support.origins import Origin, StrictOrigin, ok
from tests.support.shadow_shop import BOTH, GET, JSON, MARK, NEW, OLD, copies, says, shop
from tests.support.strict import Message
from tests.support.turnout import COMMAND
from tests.support.wire import Wire


def test_differences_of_real_answers_are_told_by_api_and_command_line(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it:
        it.compares()
        assert it.turnout.ask("/items/2") == (200, json.dumps(OLD).encode())
        wait_until(lambda: it.differences() == BOTH, "both differences")
        said = it.cli("shadow")
        for piece in ("GET /items/{}", "$.price", "$.currency", "0 %"):
            assert piece in said, said
        seen = json.loads(it.cli("shadow", "report", "--json"))
        assert seen["endpoints"][0]["endpoint"] == "/items/{}"
        assert seen["totals"]["matched"] == 0


def test_equal_answers_match_whatever_the_order_of_their_members(tmp_path: Path) -> None:
    with says(OLD) as old, says(dict(reversed(OLD.items()))) as new, shop(tmp_path, old, new) as it:
        it.compares()
        assert (it.total("different"), it.differences()) == (0, set())


def test_after_clear_the_result_begins_afresh(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it:
        it.compares()
        it.wait_settled(len(old.requests))
        it.cli("shadow", "clear")
        assert (it.total("compared"), it.differences()) == (0, set())
        it.compares()


def test_a_copy_is_the_clients_request_but_for_what_the_file_changes(tmp_path: Path) -> None:
    shadow = {"host": "new.example.com", "drop_headers": ["Cookie"], "set_headers": {"Authorization": "Bearer test"}}
    with says(OLD) as old, says(OLD) as new, shop(tmp_path, old, new, shadow) as it:
        headers = {"Cookie": "a=b", "Authorization": "Bearer real", "X-Request-Id": "id-1", "X-Own": "kept"}
        wait_until(lambda: it.turnout.ask("/a?b=c", headers=headers)[0] == 200 and new.requests, "a copy")
        copy, original = new.requests[0], old.requests[0]
        assert (copy.target, copy.value(b"host"), copy.value(MARK)) == (b"/a?b=c", b"new.example.com", b"1")
        assert (copy.value(b"cookie"), copy.value(b"authorization")) == (None, b"Bearer test")
        for name in (b"x-own", b"x-request-id"):
            assert copy.value(name) == original.value(name) != None  # noqa: E711
        assert (original.value(b"cookie"), original.value(b"authorization")) == (b"a=b", b"Bearer real")


def test_secrets_in_answers_are_in_no_sample(tmp_path: Path) -> None:
    with says({"password": "hunter-old"}) as old, says({"password": "hunter-new"}) as new, \
            shop(tmp_path, old, new) as it:
        it.compares()
        wait_until(it.differences, "the difference")
        said = json.dumps(it.api("GET", "/api/v1/routes/shop/shadow/differences?samples=20&all=true"))
        assert "$.password" in said
        assert "hunter" not in said + it.cli("shadow", "report", "--samples", "20", "--all")


def test_what_was_recorded_replays_without_differences_to_the_old_and_with_them_to_the_new(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it:
        it.compares()
        file = tmp_path / "shop.jsonl"
        recording = subprocess.Popen([*COMMAND, "shadow", "shop", "record", str(file), "--admin", it.turnout.admin],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def recorded() -> bool:
            assert it.turnout.ask("/items/3")[0] == 200
            return file.exists() and file.read_bytes().count(b"\n") >= 3

        try:
            wait_until(recorded, "three requests in the file")
        finally:
            recording.send_signal(signal.SIGINT)
            assert recording.wait(15) == 0
        assert [replay(file, to) for to in (old, new)] == [0, 1]


def replay(file: Path, to: Origin) -> int:
    done = subprocess.run([*COMMAND, "replay", str(file), "--to", to.url], check=False, capture_output=True, timeout=60)
    return done.returncode


def test_half_of_the_requests_is_exactly_every_other_one(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new, {"percent": 50}) as it, \
            Wire(it.turnout.address) as wire:
        for _ in range(40):
            assert wire.ask(GET).status == 200
        wait_until(lambda: wanted(it.report()["totals"]) == 20, "every other request was to be copied")
        assert len(new.requests) == it.total("copied")


def wanted(totals: dict[str, Any]) -> int:
    """How many copies there were, or would have been if the machine had not been busy."""
    count: int = totals["copied"] + totals["skipped"].get("shed", 0)
    return count


def test_only_the_methods_of_the_file_are_copied(tmp_path: Path) -> None:
    with says(OLD) as old, says(NEW) as new, shop(tmp_path, old, new) as it:
        for _ in range(5):
            assert it.turnout.ask("/posted", method="POST")[0] == 200
        it.ask_until(lambda: new.requests, "/got")
        assert {message.target for message in new.requests} == {b"/got"}


def test_a_candidate_that_fails_everything_is_found_where_only_clients_may_ask_the_old_version(tmp_path: Path) -> None:
    """The control is asked with the client's credentials, not with those that the shadow gets."""
    def private(message: Message) -> bytes:
        allowed = message.value(b"authorization") == b"Bearer client" and message.value(b"host") == b"shop.example.com"
        return ok(b"{}", JSON) if allowed else b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"

    failing = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    shadow = {"control": True, "drop_headers": ["Cookie"], "set_headers": {"Authorization": "Bearer staging"},
              "host": "staging.example.com", "compare": {"minimum": 1}}
    with StrictOrigin(private) as old, StrictOrigin(lambda _: failing) as new, shop(tmp_path, old, new, shadow) as it:
        ask = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nAuthorization: Bearer client\r\n\r\n"
        with Load(it.turnout.address, 2, ask) as load:
            load.wait(lambda: it.total("compared") >= 40, "answers that were compared")
            load.stop()
        totals = it.report()["totals"]
        assert (totals["matched"], totals["noisy"]) == (0, 0)
        assert it.differences() == {("status", "status-class")}
        assert {message.value(b"authorization") for message in copies(old)} == {b"Bearer client"}
