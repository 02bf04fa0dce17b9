"""Reasons for not reading from a client, as bits: reading goes on when none is left."""

SERVER_FULL = 1
"""The server does not take the body as fast as it comes."""
AHEAD_OF_TURN = 2
"""The client has sent more requests ahead than are kept."""
NOT_CONNECTED = 4
"""The body waits for a connection to a server."""
SHARE_OF_LOOP = 8
"""What has been read is still being worked on; others have their turn."""
