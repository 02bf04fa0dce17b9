"""The exit codes of every verb, for scripts."""

from __future__ import annotations

FAILED = 1
USAGE = 2
CONFIG = 3
UNREACHABLE = 4
CONFLICT = 5
