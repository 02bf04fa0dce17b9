"""The supervisor: listening sockets, workers, and the changes that reach them."""
