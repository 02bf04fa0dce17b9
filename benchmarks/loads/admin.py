"""The admin API as an operator's program uses it: one connection, kept; and such a program, which times its calls.

Run as a program: python -m benchmarks.loads.admin '{"port": …}' makes changes and rollbacks in turn, each after a
pause, and prints one JSON line: what each call took, and from when to when the candidate had to be without traffic.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.loads import client, requests
from benchmarks.loads.wrk import LoadError
from benchmarks.processes import settle

ROOT = Path(__file__).parents[2]
ROUTE = "/api/v1/routes/r0"
TOKEN = "measured-by-the-benchmark"             # of a program that listens on loopback for a minute
TIMEOUT_S = 40.0                                # an upgrade may take thirty
PROBES = 4                                      # requests after each rollback, half of them on new connections


class Admin:
    """Asks on a connection that is kept, and opens it anew when it is gone."""

    def __init__(self, port: int, token: str = TOKEN) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Status and decoded answer. Raises OSError when nobody is there.

        A GET is repeated once when the connection had been used before: it may have been closed while idle.
        """
        try:
            used = self._connection is not None
            return self._ask(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if used and method == "GET":
                return self.ask(method, path)
            raise OSError(f"{method} {path}: {error!r}") from error

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.will_close:
            self.close()
        return answer.status, json.loads(text) if text else None

    def must(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer; LoadError unless it is a success."""
        status, answer = self.ask(method, path, body)
        if status >= 300:
            raise LoadError(f"{method} {path} was answered {status}: {answer}")
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True, slots=True)
class Plan:
    """So many weight changes and as many rollbacks, one of both every `every_s` seconds; `data` is the proxy's port."""

    port: int
    data: int
    changes: int
    every_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """What the program says. Calls in µs; `quiet`: from a rollback's answer to the next call, ns of CLOCK_MONOTONIC."""

    split_us: list[float]
    rollback_us: list[float]
    took_ms: list[float]
    quiet: list[tuple[int, int]]
    probes: int
    probes_by_new: int


def operate(plan: Plan) -> Told:
    """Change, roll back, and so on."""
    admin, told = Admin(plan.port), Told([], [], [], [], 0, 0)
    kept = [client.connect(plan.data) for _ in range(PROBES // 2)]
    probes = by_new = 0
    due, back = time.monotonic(), 0
    for number in range(plan.changes):
        due = _wait(due + plan.every_s)
        if back:
            told.quiet.append((back, time.monotonic_ns()))
        share = 10 + number % 80
        _timed(admin, told.split_us, told, "PUT", f"{ROUTE}/split", {"split": {"old": 100 - share, "new": share}})
        due = _wait(due + plan.every_s)
        back = _timed(admin, told.rollback_us, told, "POST", f"{ROUTE}/rollback", {"reason": "measured"})
        kept, found = _probe(plan.data, kept, number)
        probes, by_new = probes + PROBES, by_new + found
    time.sleep(plan.every_s)
    told.quiet.append((back, time.monotonic_ns()))
    return Told(told.split_us, told.rollback_us, told.took_ms, told.quiet, probes, by_new)


def _wait(until: float) -> float:
    time.sleep(max(0.0, until - time.monotonic()))
    return time.monotonic()


def _timed(admin: Admin, into: list[float], told: Told, method: str, path: str, body: Mapping[str, Any]) -> int:
    began = time.monotonic_ns()
    answer = admin.must(method, path, body)
    ended = time.monotonic_ns()
    into.append((ended - began) / 1000)
    told.took_ms.append(float(answer["took_ms"]))
    return ended


def _probe(port: int, kept: list[socket.socket], number: int) -> tuple[list[socket.socket], int]:
    """Ask at once, on connections that were there before the rollback and on new ones; how often the candidate
    answered. The connections to keep are returned: now and then the proxy parts from one."""
    fresh = [client.connect(port) for _ in range(PROBES - len(kept))]
    found = 0
    still: list[socket.socket] = []
    for place, connection in enumerate([*kept, *fresh]):
        answer = client.exchange(connection, requests.request(number * PROBES + place, "/", f"probe-{number}-{place}"))
        found += b"hello from new" in answer.body
        if len(still) < PROBES // 2 and answer.headers.get("connection") != "close":
            still.append(connection)
        else:
            connection.close()
    return still, found


def run(plan: Plan, cores: Sequence[int], within_s: float) -> Told:
    """Run the program on `cores`."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.loads.admin", json.dumps(asdict(plan))], cwd=ROOT,
                          capture_output=True, text=True, check=False, timeout=within_s, preexec_fn=settle(cores))
    if done.returncode:
        raise LoadError(f"the operator's program failed: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    return Told(**{**told, "quiet": [(since, until) for since, until in told["quiet"]]})


def main() -> None:
    sys.stdout.write(json.dumps(asdict(operate(Plan(**json.loads(sys.argv[1]))))) + "\n")


if __name__ == "__main__":
    main()
