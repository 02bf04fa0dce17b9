"""What keeps the supervisor from starting: always something the operator can change. Exit code 1."""

from __future__ import annotations

from proxy.errors import TurnoutError


class StartError(TurnoutError):
    """Turnout cannot start; the message says what is wrong and what to do about it."""
