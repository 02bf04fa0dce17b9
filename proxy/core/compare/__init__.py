"""What two answers to the same request differ in, where that is noise, and what of it may be kept. Pure: no I/O, clock
or chance (invariant 3). `pair` compares, `groups` keeps, `noise` judges, `redact` removes secrets beforehand."""
