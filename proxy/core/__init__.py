"""Pure decisions and values: which route, version and server take a request. No I/O, clock or chance (invariant 3)."""
