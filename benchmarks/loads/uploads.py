"""Many uploads at once, each on a connection of its own: all begin before the first one ends.

Run as a program: python -m benchmarks.loads.uploads '{"port": …}' prints one JSON line: how many were answered with
200, how many not, and how long all of them took.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from socket import socket

from benchmarks.loads import client
from benchmarks.processes import settle

ROOT = Path(__file__).parents[2]
PIECE = memoryview(bytes(range(256)) * 1024)    # 256 KiB at most per call, so that all get on alike
STALLED_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """So many uploads of so many bytes to `path`."""

    port: int
    count: int
    size: int
    path: str = "/upload"


@dataclass(slots=True)
class Upload:
    """One of them; `sent` counts bytes of the body."""

    connection: socket
    head: bytes
    sent: int = 0
    received: bytes = b""


def run(plan: Plan) -> dict[str, float]:
    """Send all of them."""
    head = (f"POST {plan.path} HTTP/1.1\r\nHost: shop.example.com\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {plan.size}\r\n\r\n").encode()
    poll, under_way = select.epoll(), {}
    for _ in range(plan.count):
        connection = client.connect(plan.port)
        connection.setblocking(False)
        under_way[connection.fileno()] = Upload(connection, head)
        poll.register(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
    began, answered = time.monotonic(), 0
    while under_way and (events := poll.poll(STALLED_S)):
        for descriptor, event in events:
            answered += _step(plan, poll, under_way, descriptor, event)
    return {"answered": float(answered), "failed": float(plan.count - answered), "seconds": time.monotonic() - began}


def _step(plan: Plan, poll: select.epoll, under_way: dict[int, Upload], descriptor: int, event: int) -> bool:
    """Go on with one upload; whether that brought its answer."""
    one = under_way[descriptor]
    try:
        if event & ~select.EPOLLOUT:
            piece = one.connection.recv(65_536)
            one.received += piece
            if not piece or b"\r\n\r\n" in one.received:
                return _end(poll, under_way, descriptor)
        elif _send(plan, one):
            poll.modify(descriptor, select.EPOLLIN)
    except BlockingIOError:
        return False
    except OSError:
        return _end(poll, under_way, descriptor)
    return False


def _send(plan: Plan, one: Upload) -> bool:
    """Send a piece; whether it was the last."""
    if one.head:
        one.head = one.head[one.connection.send(one.head):]
        return False
    one.sent += one.connection.send(PIECE[:plan.size - one.sent])
    return one.sent == plan.size


def _end(poll: select.epoll, under_way: dict[int, Upload], descriptor: int) -> bool:
    one = under_way.pop(descriptor)
    poll.unregister(descriptor)
    one.connection.close()
    return one.received[9:12] == b"200"


def start(plan: Plan, cores: Sequence[int]) -> subprocess.Popen[str]:
    """The program, running on `cores`; what it prints is for `json.loads`."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.loads.uploads", json.dumps(asdict(plan))], cwd=ROOT,
                            text=True, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=settle(cores))


def main() -> None:
    sys.stdout.write(json.dumps(run(Plan(**json.loads(sys.argv[1])))) + "\n")


if __name__ == "__main__":
    main()
