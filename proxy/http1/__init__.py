"""HTTP/1.1 as pure functions of bytes: heads, framing, what is removed and added when a message goes on."""
