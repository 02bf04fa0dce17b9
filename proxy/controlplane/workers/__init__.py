"""Worker processes: their sockets, their lives, their successors."""
