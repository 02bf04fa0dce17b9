"""The messages between supervisor and worker, and their framing."""
