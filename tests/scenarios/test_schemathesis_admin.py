"""The API against its own description: requests that fit it and requests that do not, with every role.

Whatever comes, the answer is no failure of ours, and its status, media type and shape are those of openapi.json.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.support.admin import OPERATOR, VIEWER, asked, settings
from tests.support.deadline import WITHIN_S

EXAMPLES = 25
"""For each operation and role, of requests that fit the description; and as many of those that do not."""
LEFT_OUT = {("get", "/api/v1/events/stream"), ("get", "/api/v1/routes/{route}/shadow/record")}      # they have no end

load_all_checks()
ANSWERS = CHECKS.get_by_names([
    "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance",
])
(not_a_server_error,) = CHECKS.get_by_names(["not_a_server_error"])
TOKENS = {"nobody": None, "viewer": VIEWER, "operator": OPERATOR}

EXPECTED = {
    ("nobody", GenerationMode.POSITIVE): {200, 401}, ("nobody", GenerationMode.NEGATIVE): {401},
    ("viewer", GenerationMode.POSITIVE): {200, 403, 404}, ("viewer", GenerationMode.NEGATIVE): {400, 403, 422},
    ("operator", GenerationMode.POSITIVE): {200, 404, 409, 412, 422},
    ("operator", GenerationMode.NEGATIVE): {400, 422},
}
"""What has to come of it at least: that it gets through to what lies behind the checks."""


class Running:
    """An admin API in a thread with a loop of its own, as its clients see it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self.base = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="admin", daemon=True)
        self._thread.start()
        assert self._ready.wait(WITHIN_S)

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with asked(settings(tokens=True, file=self._folder / "turnout.yaml")) as it:
            self.base = it.base
            self._ready.set()
            await self._done.wait()

    def close(self) -> None:
        assert self._loop is not None
        assert self._done is not None
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(WITHIN_S)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    patch = pytest.MonkeyPatch()
    patch.setenv("OPERATOR_TOKEN", OPERATOR)
    patch.setenv("VIEWER_TOKEN", VIEWER)
    api = Running(tmp_path_factory.mktemp("admin"))
    yield api
    api.close()
    patch.undo()


@pytest.fixture(scope="module")
def operations(running: Running) -> list[Any]:
    headers = {"Authorization": f"Bearer {VIEWER}"}
    description = requests.get(f"{running.base}/api/v1/openapi.json", headers=headers, timeout=WITHIN_S).json()
    schema = schemathesis.openapi.from_dict(description)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return [operation for operation in found if (operation.method, operation.path) not in LEFT_OUT]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("role", TOKENS)
def test_every_answer_is_one_that_is_described(
    running: Running, operations: list[Any], role: str, mode: GenerationMode
) -> None:
    token = TOKENS[role]
    statuses: Counter[int] = Counter()
    with requests.Session() as session:
        session.headers.update({"Authorization": f"Bearer {token}"} if token else {})
        for operation in operations:
            if mode is GenerationMode.POSITIVE or takes_something(operation):
                _ask(running.base, session, operation, mode, statuses)
        assert set(statuses) >= EXPECTED[role, mode], statuses
        assert session.get(f"{running.base}/livez", timeout=WITHIN_S).status_code == 200


def takes_something(operation: Any) -> bool:
    """Whether a request for it can be wrong."""
    return bool(operation.body or operation.query or operation.headers)


def _ask(base: str, session: requests.Session, operation: Any, mode: GenerationMode, statuses: Counter[int]) -> None:
    @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
                         suppress_health_check=list(HealthCheck), phases=[hypothesis.Phase.generate])
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def ask(case: Any, known: bool) -> None:
        if known and "route" in (case.path_parameters or {}):
            case.path_parameters["route"] = "shop"      # else hardly any request gets behind the 404
        if known and "version" in (case.path_parameters or {}):
            case.path_parameters["version"] = "new"
        response = case.call(base_url=base, session=session, timeout=WITHIN_S)
        statuses[response.status_code] += 1
        # A 503 that is described is an answer like others: a worker may be replaced while this runs.
        described = str(response.status_code) in operation.definition.raw["responses"]
        case.validate_response(response, checks=ANSWERS + ([] if described else [not_a_server_error]))

    ask()
