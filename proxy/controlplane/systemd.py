"""What systemd is told (sd_notify(3)): that Turnout serves, which process it is now, that it is alive, that it leaves.

No library: a message is one datagram of `NAME=value` lines to the socket that $NOTIFY_SOCKET names. Without that
variable nothing is sent; what cannot be sent is dropped, because a service manager must not keep a proxy from working.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping

_MICRO = 1_000_000
_SPARE_S = 5.0
"""Added to the drain deadline: for the workers to cut, report and leave, and for us to follow."""


class Systemd:
    """The way to the service manager that started this process, if there is one.

    `watchdog_s`: how often it wants a sign of life, None for never. Of $WATCHDOG_PID is only heeded what is meant for
    this process: a successor does not inherit it, and what an operator's shell inherited is none of ours.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_s: float | None = None
        usec = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", str(self._pid)) == str(self._pid)
        if self._address is not None and meant and usec.isascii() and usec.isdigit() and int(usec):
            self.watchdog_s = int(usec) / _MICRO

    def ready(self, status: str) -> None:
        """Say that this process serves, and that it is the main one: after an upgrade it was not until now."""
        self._send(READY="1", MAINPID=str(self._pid), STATUS=status)

    def status(self, status: str) -> None:
        """Say in one line what is to be known (`systemctl status` shows it)."""
        self._send(STATUS=status)

    def reloading(self) -> None:
        """Say that the file is being read again; `ready` is due afterwards, whatever came of it."""
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000))

    def stopping(self, within_s: float) -> None:
        """Say that this process leaves, and may take so many seconds: a stop must not be cut by another deadline."""
        self._send(STOPPING="1", EXTEND_TIMEOUT_USEC=str(int((within_s + _SPARE_S) * _MICRO)),
                   STATUS=f"draining, within {within_s:g} s")

    async def stay_alive(self) -> None:
        """Give the signs of life that are wanted, twice as often; returns at once when none are."""
        if self.watchdog_s is None:
            return
        while True:
            self._send(WATCHDOG="1")
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, **facts: str) -> None:
        if self._address is None:
            return
        lines = "\n".join(f"{name}={value.splitlines()[0] if value else ''}" for name, value in facts.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(lines.encode("utf-8", "replace"), self._address)
            except OSError:  # it is gone, or does not read
                pass


def _address(name: str) -> str | None:
    """The socket's address: a path, or `@…` for an abstract one. Of other kinds (vsock) we know nothing."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None
