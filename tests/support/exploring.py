"""How many examples a property is tried with: few, and each time the same, in the check; many new ones otherwise.

The check must say the same of the same code. What it does not look at, `make explore` does, with many times the
examples and a new seed in each run; what it finds becomes an `@example` of its test.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("EXPLORE", "0"))
"""So many times the examples, and new ones; 0: those of the check."""


def examples(count: int = 100, *, steps: int = 50, suppress: Collection[HealthCheck] = ()) -> settings:
    """The settings of a property that `count` examples try, for a state machine each of so many steps."""
    return settings(max_examples=count * max(FACTOR, 1), derandomize=not FACTOR, deadline=None, print_blob=True,
                    database=None, stateful_step_count=steps, suppress_health_check=suppress)
