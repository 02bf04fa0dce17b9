"""When a client, or the server that answers it, is not read from: how much may wait, and the reasons as bits.

Reading from a client goes on when none of the reasons is left.
"""

SERVER_FULL = 1
"""The server does not take the body as fast as it comes."""
AHEAD_OF_TURN = 2
"""The client has sent more requests ahead than are kept."""
NOT_CONNECTED = 4
"""The body waits for a connection to a server."""
SHARE_OF_LOOP = 8
"""What has been read is still being worked on; others have their turn."""

LONG = 64 * 1024
"""Bytes: where a body is longer than this, the faster side pauses whenever anything waits for the slower one."""
