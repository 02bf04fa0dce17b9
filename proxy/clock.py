"""Time as an argument: what needs the time takes a `Clock`, so that a test can hold it still."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds from an arbitrary start, never going back."""

monotonic: Clock = time.monotonic
"""The clock for every deadline and duration: unlike wall time, nobody can set it."""
