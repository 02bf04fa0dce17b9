"""The socket that workers bring their pairs to: an abstract one (Linux), held open by the supervisor.

So the address outlives a comparer that dies, and what workers send meanwhile waits as far as the kernel holds it.
Everybody on the host can read the names of abstract sockets; so both ends ask the kernel for the other's user, and
the name is drawn anew in each process, for nobody to sit there first.
"""

from __future__ import annotations

import os
import secrets
import socket

BACKLOG = 512
_TOKEN_BYTES = 16


def open_door() -> tuple[socket.socket, str]:
    """Return the listening socket and its name without the leading NUL. Raises OSError where there are none such."""
    name = f"turnout-comparer/{os.geteuid()}/{secrets.token_hex(_TOKEN_BYTES)}"
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind("\0" + name)
        door.listen(BACKLOG)
        door.setblocking(False)
    except OSError:
        door.close()
        raise
    return door, name
