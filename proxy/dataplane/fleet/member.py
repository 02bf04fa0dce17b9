"""One server of a version: what this worker holds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from proxy.core.health.ejection import Ejector

if TYPE_CHECKING:
    from proxy.core.health.values import Ejection
    from proxy.dataplane.servers import ServerPool


class Trial(NamedTuple):
    """A request that tries a server, or a version, which was out. `epoch`: of the ejection that it may end."""

    of: Literal["server", "version"]
    epoch: int


class Member:
    """See the module. `warm_since`: when it came back, while it is given less than its full part of the requests.

    `unreachable_until`: how long a panic is no reason to try it, since no connection to it came about; 0: it is one.
    """

    __slots__ = ("drained", "ejector", "pool", "probed_out", "unreachable_until", "warm_since")

    def __init__(self, pool: ServerPool, rule: Ejection | None) -> None:
        self.pool = pool
        self.ejector = Ejector(rule)
        self.drained = False
        self.probed_out = False
        self.unreachable_until = 0.0
        self.warm_since: float | None = None

    @property
    def is_well(self) -> bool:
        """Whether neither probes nor traffic have put it out."""
        return not self.probed_out and self.ejector.state == "in"

    @property
    def is_troubled(self) -> bool:
        """Whether traffic has something against it: then its successes matter, and time."""
        return self.ejector.state != "in" or self.ejector.failures > 0
