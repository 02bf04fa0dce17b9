"""The whole program as a child process: `turnout run` with real workers, asked through its admin API and its log."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from proxy.cli.client import Api, get
from tests.support.deadline import WITHIN_S, wait_until

COMMAND = (sys.executable, "-P", "-m", "proxy")
Json = dict[str, Any]


class Turnout:
    """A running `turnout run`. `events` are the lines of its log that are JSON, `output` all of them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[Json] = []
        self.output: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.output.append(line)
            try:
                self.events.append(json.loads(line))
            except ValueError:
                pass

    def event(self, name: str, time: int = 1) -> Json:
        """Wait until there is an event of this name for the first time, or the second…"""

        def look() -> Json | None:
            # After an upgrade it is another process that speaks; the first one has left well then.
            found = [event for event in list(self.events) if event["event"] == name]
            assert len(found) >= time or not self.process.poll(), self.output
            return found[time - 1] if len(found) >= time else None

        return wait_until(look, f"the event {name!r}")

    @property
    def admin(self) -> str:
        """The URL of its admin API, once it serves."""
        address: str = self.event("serving")["admin"]
        return address if address.startswith("unix:") else f"http://{address}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its first TCP address, once it serves."""
        host, _, port = self.event("serving")["listen"][0].rpartition(":")
        return host.strip("[]"), int(port)

    def status(self) -> Json:
        """What `GET /api/v1/status` answers now."""
        view: Json = get(self.admin, "/api/v1/status")
        return view

    def post(self, path: str, body: Json | None = None, timeout_s: float = 60.0) -> Json:
        """What a `POST` to the admin API answers; raises `proxy.cli.client.Refused`."""
        view: Json = Api(self.admin).ask("POST", path, body or {}, timeout_s=timeout_s)
        return view

    def ask(self, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Send one request on a connection of its own; returns status and body."""
        connection = http.client.HTTPConnection(*self.address, timeout=WITHIN_S)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; returns the exit code. A successor, if there is one, speaks on."""
        code = self.process.wait(WITHIN_S)
        if not any(event["event"] == "handed over" for event in list(self.events)):
            self._reader.join(WITHIN_S)
        return code

    @property
    def has_ended(self) -> bool:
        """Whether nobody is left who could say anything."""
        return not self._reader.is_alive()

    def join(self) -> None:
        """Wait until nobody is left who could say anything."""
        self._reader.join(WITHIN_S)


@contextmanager
def running(*arguments: str, environ: Mapping[str, str] | None = None, descriptors: int = 0) -> Iterator[Turnout]:
    """Start `turnout run` with these arguments; it is ended, and its workers with it, when the block is left.

    `descriptors`: how many files each of its processes may open; 0 for as many as here.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    limited = ("sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh") if descriptors else ()
    process = subprocess.Popen(
        [*limited, *COMMAND, "run", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root, **(environ or {})},
        start_new_session=True,
    )
    turnout = Turnout(process)
    try:
        yield turnout
    finally:
        # Workers outlive their supervisor, and a successor has another process id: all are in one group.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        turnout.wait()
        turnout.join()
        assert process.stderr is not None
        process.stderr.close()


def between(old: str, new: str, weight: float = 0, workers: int = 1) -> tuple[str, ...]:
    """The arguments for a Turnout between two servers, on ports of its own."""
    return (
        "--old", old, "--new", new, "--weight", str(weight), "--workers", str(workers),
        "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
    )
