"""What must not cost: 1,000 routes instead of one, 50 servers instead of one, under the same requests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks import origin
from benchmarks.bench import Bench, Run
from benchmarks.loads import wrk
from benchmarks.peers import Peer, Place

ROUTES = 1000


@dataclass(frozen=True, slots=True)
class Flat:
    """Two configurations of the same proxy side by side, loaded in turn."""

    name: Literal["routes", "servers"]
    title: str
    many: int
    together: bool = False

    def takes(self, peer: Peer) -> bool:
        return bool(getattr(peer, self.name))

    def run(self, bench: Bench, peers: Sequence[Peer]) -> Iterator[Run]:
        """Yields a run per case (`1`, `many`), peer and round; only peers that take part."""
        for peer in peers:
            with contextlib.ExitStack() as stack:
                proxies = {amount: stack.enter_context(bench.up(peer, self._place(bench, peer, amount)))
                           for amount in (1, self.many)}
                for number in range(max(1, bench.effort.rounds - 2)):
                    for amount, one in proxies.items():
                        wanted = wrk.Load(one.place.port, 64, bench.effort.seconds, "/item",
                                          ROUTES if self.name == "routes" else 1)
                        outcome = wrk.run(wanted, bench.folder, bench.cores.load, one.pids())
                        yield Run(self.name, str(amount), peer.name, number, outcome.figures,
                                  one.flags + outcome.flags)

    def _place(self, bench: Bench, peer: Peer, amount: int) -> Place:
        label = f"{self.name}-{amount}"
        if self.name == "routes":
            return bench.place(peer, label, routes=amount)
        return bench.place(peer, label, old=bench.service.old(amount))


MANY_ROUTES = Flat("routes", "1 → 1,000 routes", ROUTES)
MANY_SERVERS = Flat("servers", "1 → 50 servers", origin.SERVERS)
