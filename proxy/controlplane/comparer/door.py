"""The socket that workers bring their pairs to: an abstract one (Linux), held open by the supervisor.

So the address outlives a comparer that dies, and what workers send meanwhile waits as far as the kernel holds it.
Nobody can sit there first, since the name is drawn anew in each process, and nobody else while the supervisor lives.
But everybody on the host can read the names of abstract sockets: so the comparer asks the kernel for the user of who
comes, and a worker that has outlived its supervisor has to ask for the user of who listens.
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
