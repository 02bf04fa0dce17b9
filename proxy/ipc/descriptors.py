"""Bytes with the descriptors that come along with them (SCM_RIGHTS)."""

from __future__ import annotations

import array
import socket


def receive(sock: socket.socket, most_bytes: int, most_descriptors: int) -> tuple[bytes, list[int]]:
    """Return what has come; the descriptors are the caller's, and no child inherits them. Raises OSError.

    `socket.recv_fds` would do, if it heeded its flags (it does not, up to Python 3.13): a child that is started in
    between would hold every socket that is just being handed over.
    """
    item = array.array("i").itemsize
    data, ancillary, _, _ = sock.recvmsg(
        most_bytes, socket.CMSG_SPACE(most_descriptors * item), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[:len(payload) - len(payload) % item])
    return data, list(descriptors)
