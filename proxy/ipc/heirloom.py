"""What a worker that outlived its supervisor and a new supervisor say to each other, and where they meet.

They meet on an abstract Unix socket (Linux), which ends with the process. Its name can be told by looking through /proc
for workers without a parent: it is made of the process id and a token in the worker's environment, which only the same
user can read, so that nobody else sits there first. Anybody on the host may connect: both ends check that
the other one belongs to the same user. The two may be of different releases, since an orphan waits for whatever
is started next: messages are JSON objects, what is unknown in them is ignored, and what is missing has a default.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

import msgspec

from proxy.ipc.descriptors import receive

TOKEN = "TURNOUT_MEETING"  # noqa: S105  the name of a variable
"""What names the token in the environment of a worker."""
MAX_MESSAGE = 64 * 1024
_PEER = struct.Struct("3i")
_MOST_SOCKETS = 250
"""The kernel passes 253 descriptors with one message (SCM_MAX_FD)."""


class Ask(msgspec.Struct, frozen=True):
    """Supervisor → orphan. `ask`: `estate`, `leave` (finish within `within_s` seconds), or `cut`.

    `pairs`: (route, version) whose requests and tunnels `cut` ends.
    """

    ask: str
    within_s: float = 30.0
    pairs: tuple[tuple[str, str], ...] = ()


class Tell(msgspec.Struct, frozen=True):
    """Orphan → supervisor. `tell`: `estate` (descriptors come along, one for each of `addresses`), or `quiet`."""

    tell: str
    addresses: tuple[str, ...] = ()
    revision: int = 0


def meeting_place(pid: int, token: str = "") -> str:
    """Return the abstract address of an orphan. It names the PID namespace, since only there its id is unique."""
    return f"\0turnout-orphan/{os.geteuid()}/{os.stat('/proc/self/ns/pid').st_ino}/{token}/{pid}"


def token_of(pid: int) -> str:
    """Return the token in the environment of a process of this user; empty without one. Raises OSError."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == TOKEN.encode():
                return value.decode("ascii", "replace")
    return ""


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Return process id and user id of the other end, as the kernel knows them (SO_PEERCRED)."""
    pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return pid, uid


def send(sock: socket.socket, message: Ask | Tell, sockets: Sequence[socket.socket] = ()) -> None:
    """Send one message over a SOCK_SEQPACKET socket. Raises OSError."""
    descriptors = [each.fileno() for each in sockets[:_MOST_SOCKETS]]
    socket.send_fds(sock, [msgspec.json.encode(message)], descriptors)


def receive_ask(sock: socket.socket) -> Ask | None:
    """Return what a supervisor asks; None when it is gone. Raises OSError and msgspec.DecodeError."""
    data = sock.recv(MAX_MESSAGE)
    return msgspec.json.decode(data, type=Ask) if data else None


def receive_tell(sock: socket.socket) -> tuple[Tell, list[socket.socket]] | None:
    """Return what an orphan tells, with the sockets that came along; None when it is gone.

    Raises OSError and msgspec.DecodeError.
    """
    data, descriptors = receive(sock, MAX_MESSAGE, _MOST_SOCKETS)
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    try:
        return (msgspec.json.decode(data, type=Tell), sockets) if data else None
    except msgspec.DecodeError:
        for each in sockets:
            each.close()
        raise
