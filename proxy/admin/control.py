"""What the admin API works with: filled in once, where the program is put together (`cli/serve.py`).

Invariant: nothing here is the API's own. It asks and changes through these, and keeps no state of its own that
matters after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.clock import Clock, monotonic
from proxy.controlplane.events import Author
from proxy.controlplane.health.book import HealthBook
from proxy.controlplane.supervisor import Supervisor

if TYPE_CHECKING:
    from proxy.controlplane.commands.commands import Commands
    from proxy.controlplane.comparer.comparer import Comparer
    from proxy.controlplane.journal.journal import Journal
    from proxy.telemetry.exposition import Exposition

Upgrade = Callable[[Author, str], Awaitable[int]]
"""Starts a successor for an author and a reason; returns its process id once it has taken over.

Raises a TurnoutError that says why there is none; nothing has changed then.
"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the API waits for one who asks, in seconds, and how often it shows that a stream is alive."""

    head_s: float = 10.0        # first byte of a head → its end
    body_s: float = 10.0        # head → end of the body; 64 KiB at 6.4 KiB/s, slower than any modem
    idle_s: float = 75.0        # between two requests of one connection, and for an answer to be taken
    heartbeat_s: float = 15.0   # below the 30 s and 60 s after which proxies in between drop a silent stream
    lines_s: float = 10.0       # the same of a recording, whose blank lines a program reads
    write_s: float = 10.0       # one piece of a stream, until its reader has taken the one before


@dataclass(frozen=True, slots=True)
class Control:
    """Everything the handlers need.

    `exposition` is None where no metrics are kept (then `/metrics` is not there), `upgrade` where this process cannot
    be succeeded, `comparer` where answers are never compared. `health`: what is known of servers; an empty one knows
    nothing bad of any. `wall`: seconds since the epoch, for what people read;
    `clock`: for durations.
    """

    supervisor: Supervisor
    commands: Commands
    journal: Journal
    exposition: Exposition | None = None
    upgrade: Upgrade | None = None
    clock: Clock = monotonic
    wall: Clock = time.time
    patience: Patience = Patience()
    comparer: Comparer | None = None
    health: HealthBook = field(default_factory=HealthBook)
