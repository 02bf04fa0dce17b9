"""Every shadow of a worker: what is compiled of the routes, connections to shadow servers, the line to the comparer.

Connections to shadow servers are never those of clients' requests, also where the server is the same.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from proxy.core.balance import LeastInFlight
from proxy.dataplane.shadow.budget import Budget
from proxy.dataplane.shadow.chores import Chores
from proxy.dataplane.shadow.copied import Copied
from proxy.dataplane.shadow.line import Line
from proxy.dataplane.shadow.plan import Plan, rules
from proxy.http1.response import ResponseParser

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from proxy.core.route import Server, Version
    from proxy.core.router import CompiledRoute
    from proxy.core.snapshot import Snapshot
    from proxy.dataplane.servers import ServerPool
    from proxy.dataplane.shadow.copy import Copy
    from proxy.dataplane.site import Site
    from proxy.dataplane.worker import Worker
    from proxy.http1.request import Request

    Balancer = LeastInFlight[ServerPool]

_LATE_AT_ONCE = 10


class RouteShadow:
    """The shadow of one route, where one version answers. `control`: where that version gets its second copy."""

    __slots__ = ("budget", "control", "line", "plan", "route", "salt", "servers", "version")

    def __init__(self, route: str, version: str, plan: Plan, budget: Budget, servers: Balancer,
                 control: Balancer | None, line: Line, salt: bytes) -> None:
        self.route = route
        self.version = version
        self.plan = plan
        self.budget = budget
        self.servers = servers
        self.control = control
        self.line = line
        self.salt = salt

    def copied(self, worker: Worker, site: Site, request: Request, name: bytes, head: bytes) -> Copied | None:
        """The copy of a request that is wanted; None where its size is against it. `head`: the primary's."""
        plan, budget = self.plan, self.budget
        length = request.length
        if length > plan.max_body:
            budget.skip("too_large")
            return None
        head = plan.head(head, expects_continue=request.expects_continue)
        if not budget.reserve(len(head) + max(0, length)):
            budget.skip("memory")
            return None
        return Copied(self, worker, site, request, name, head)


class Shadows:
    """See the module."""

    def __init__(self, worker: Worker, open_pool: Callable[[Server], ServerPool]) -> None:
        self._worker = worker
        self._open_pool = open_pool
        self._pools: dict[Server, ServerPool] = {}
        self._balancers: dict[str, tuple[tuple[Server, ...], Balancer]] = {}
        self._budgets: dict[str, Budget] = {}
        self._salt = b""
        self._servers: dict[str, tuple[Server, ...]] = {}
        self._bounds = (0, 0)
        self.responses = ResponseParser(head=0, fields=0)
        """Of its own: parsers learn from what they see, and nothing of a shadow gets into that of the clients."""
        self.chores = Chores(worker)
        self.line = Line(worker)

    def follow(self, snapshot: Snapshot, workers: int) -> None:
        """Get ready to compile the routes of this snapshot."""
        self._salt = blake2b(snapshot.secret, digest_size=32, person=b"turnout redact").digest()
        self._servers = {version.name: _in_service(version, snapshot) for version in snapshot.versions}
        limits = snapshot.policy.limits
        if self._bounds != (limits.response_head, limits.response_headers):
            self._bounds = (limits.response_head, limits.response_headers)
            self.responses = ResponseParser(head=limits.response_head, fields=limits.response_headers)
        used = set()
        for route in snapshot.routes:
            if route.shadow is None or not route.shadow.percent:
                continue
            used |= {route.shadow.to} | ({name for name, _ in route.split} if route.copying.control else set())
            budget = self._budgets.get(route.name)
            if budget is None:
                budget = self._budgets[route.name] = Budget(self._worker.counters.shadow(route.name), self._worker.now)
            budget.allow(max(1, route.copying.memory // workers),
                         max(2 if route.copying.control else 1, route.copying.in_flight // workers),
                         rules(route.copying.compare or "{}").per_second / workers)
        for name in self._budgets.keys() - {route.name for route in snapshot.routes if route.shadow is not None}:
            if self._budgets[name].idle:
                del self._budgets[name]
        self._worker.counters.retain_shadows(self._budgets)
        self._balance(used)
        self.line.lead_to(snapshot.comparer)

    def _balance(self, versions: set[str]) -> None:
        """Balancers of the versions that get copies; those that did not change keep their counts."""
        kept, self._balancers = self._balancers, {}
        wanted = {server for version in versions for server in self._servers.get(version, ())}
        for server in self._pools.keys() - wanted:
            self._worker.retire(self._pools.pop(server))
        for server in wanted - self._pools.keys():
            self._pools[server] = self._open_pool(server)
        for version in versions & self._servers.keys():
            servers = self._servers[version]
            if servers:
                self._balancers[version] = kept[version] if kept.get(version, ((),))[0] == servers else (
                    servers, LeastInFlight([self._pools[server] for server in servers]))

    def of(self, route: CompiledRoute, version: str) -> RouteShadow | None:
        """The shadow of the route where this version answers; None where there is none, it is drained, or the two are
        the same.
        """
        shadow = route.route.shadow
        if shadow is None or not shadow.percent or shadow.to == version or shadow.to not in self._balancers:
            return None
        plan = Plan(route, shadow)
        control = self._balancers[version][1] if plan.control and version in self._balancers else None
        return RouteShadow(route.name, version, plan, self._budgets[route.name], self._balancers[shadow.to][1],
                           control, self.line, self._salt)

    @property
    def pools(self) -> Collection[ServerPool]:
        """All connections to shadow servers."""
        return self._pools.values()

    @property
    def is_quiet(self) -> bool:
        """Whether no copy is under way and nothing is held for one."""
        return all(budget.idle for budget in self._budgets.values())

    def sweep(self, now: float, lag_s: float) -> None:
        """End what is late, shed where it must be, connect what is not connected."""
        for budget in self._budgets.values():
            self._end_late([copy for copy in budget.copies if copy.deadline <= now])
            budget.look(now, lag_s)
        for pool in self._pools.values():
            pool.sweep(now)
        self.line.sweep()

    def _end_late(self, late: list[Copy]) -> None:
        """End them a few at a time: hundreds that began together would keep every client waiting."""
        for copy in late[:_LATE_AT_ONCE]:
            copy.end("timeout")
        if len(late) > _LATE_AT_ONCE:
            self._worker.loop.call_soon(self._end_late, late[_LATE_AT_ONCE:])

    def cut(self) -> None:
        """End every copy: the worker is leaving."""
        for budget in self._budgets.values():
            for copy in list(budget.copies):
                copy.end("cut")

    def close(self) -> None:
        """End everything."""
        self.cut()
        for pool in self._pools.values():
            pool.retire()
        for work in self.chores.close():
            teller = getattr(work, "__self__", None)
            if isinstance(teller, Copied):      # else it would have read on in the answer to a copy, which is cut
                teller._give_up("comparer_busy")
        self.line.close()


def _in_service(version: Version, snapshot: Snapshot) -> tuple[Server, ...]:
    """The servers that may get copies: all that no operator has drained."""
    if not snapshot.drained:
        return version.servers
    return tuple(server for server in version.servers if (version.name, server.address) not in snapshot.drained)
