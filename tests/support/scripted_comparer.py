"""A comparer that compares nothing and does what its first argument says: for tests of whoever looks after it.

silent: says nothing, and leaves when its line is closed.
answers: says something whenever it is told something, and leaves when its line is closed.
ends: ends with exit code 7, and most of what it says is still on its way when it is gone.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

from proxy.ipc.comparing import Summary, framed

LONG = Summary([("said", ("x" * 1000,), 1.0)] * 100)
LAST = Summary([("said last", (), 1.0)])
_MANY = 20
"""Several MiB, far more than the kernel keeps for a reader."""


def command(script: str) -> tuple[str, ...]:
    """How a comparer that does this is started."""
    return (sys.executable, "-m", "tests.support.scripted_comparer", script)


def main() -> int:
    """Do what the script says; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("script")
    parser.add_argument("--channel", type=int, required=True)
    options, _ = parser.parse_known_args()
    with socket.socket(fileno=options.channel) as sock:
        if options.script == "ends":
            pid = os.getpid()
            if os.fork():
                return 7
            wait_until_nobody_is(pid)
            for _ in range(_MANY):
                sock.sendall(framed(LONG))
            sock.sendall(framed(LAST))
            return 0
        while sock.recv(65536):
            if options.script == "answers":
                sock.sendall(framed(LAST))
    return 0


def wait_until_nobody_is(pid: int) -> None:
    """Return when the process has ended and whoever started it knows."""
    try:
        while True:
            os.kill(pid, 0)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    sys.exit(main())
