"""The servers of one version in one worker: the one with the fewest in flight takes the next request, as long as all is
well; where it is not, `choose` decides more carefully.

Invariants: `calm` is True only while `acquire` alone decides who takes a request; `silent`, while nothing but `release`
has to be done when a good answer has ended. A drained server gets none. What this worker finds out by itself it acts on
at once, and tells the others; without them, or without a supervisor, it goes on by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.balance import UNBOUNDED, LeastInFlight
from proxy.core.health.breaker import VersionBreaker
from proxy.core.health.standing import Standing, VersionState, taking, version_state
from proxy.core.retry import IDEMPOTENT
from proxy.dataplane.fleet.member import Member, Trial
from proxy.dataplane.fleet.places import EVERYBODY, NOBODY, REPEATABLES, THE_REGARDLESS, Places
from proxy.ipc.messages import Noticed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from proxy.core.route import Version
    from proxy.dataplane.placing import Placing
    from proxy.dataplane.servers import ServerPool
    from proxy.dataplane.worker import Worker

REPEATABLE_FIRST_S = 1.0
"""For so long a server on trial waits for a request that may be repeated, before it is given any other."""

UNREACHABLE_S = 5.0
"""How long a server is spared in a panic after no connection to it came about: judges may be wrong, this is not."""
COLDEST = 0.1
"""The part of the requests with which a slow start begins."""


class Fleet(LeastInFlight["ServerPool"]):
    """See the module. `state`: whether the version gets requests, as `core.health.standing` has it; `down`: not up."""

    __slots__ = ("_counted", "_health", "_members", "_on_trial", "_worker", "breaker", "calm", "down", "places",
                 "silent", "state", "version")

    def __init__(self, version: Version, pools: Sequence[ServerPool], worker: Worker, workers: int) -> None:
        super().__init__(pools)
        self._worker = worker
        self._members: dict[ServerPool, Member] = {}
        self._on_trial: list[Member] = []
        self._counted = 0
        self.version = version.name
        self.breaker = VersionBreaker(version.health.breaker)
        self.places = Places(self, worker.loop, worker.clock, worker.counters.fleet(version.name))
        self.calm, self.silent, self.down = True, True, False
        self.state: VersionState = "up"
        self.follow(version, pools, frozenset(), frozenset(), workers)

    # ---- what it goes by

    def follow(self, version: Version, pools: Sequence[ServerPool], drained: Collection[str], out: Collection[str],
               workers: int) -> None:
        """Go by this from now on. What is known of a server that stays, stays.

        `drained`, `out` (by probes): addresses.
        """
        rules = self._health = version.health
        self.breaker.rule = rules.breaker
        if tuple(pools) != self.servers:
            self.replace(pools)
        self._members = {pool: self._members.get(pool) or Member(pool, rules.ejection) for pool in pools}
        for member in self._members.values():
            member.ejector.rule = rules.ejection
            self._say(member, drained=member.pool.label in drained, out=member.pool.label in out)
        most = version.load.per_server
        self.most = UNBOUNDED if most is None else max(1, most // workers)
        self.places.follow(version.load, workers)
        self.settle()
        self.places.tell()

    def hear_probes(self, out: Collection[str]) -> None:
        """These addresses, and no others, are out by what the probes say."""
        for member in self._members.values():
            self._say(member, drained=member.drained, out=member.pool.label in out)
        self.settle()

    def _say(self, member: Member, *, drained: bool, out: bool) -> None:
        if (member.drained and not drained) or (member.probed_out and not out):
            self._warm_up(member)
        if member.probed_out and not out:
            member.ejector.hasten(self._worker.clock())     # probes have seen it well: no need to wait out its time
        member.drained, member.probed_out = drained, out

    def hear(self, news: Noticed) -> None:
        """What another worker's traffic has shown."""
        now = self._worker.clock()
        if not news.server:
            changed = self.breaker.adopt(news.out, news.epoch, news.until, news.times, now)
        else:
            member = next((member for member in self._members.values() if member.pool.label == news.server), None)
            if member is None:
                return
            changed = member.ejector.adopt(news.out, news.epoch, news.until, news.times, now)
            if changed and not news.out:
                self._warm_up(member)
        if changed:
            self.settle()

    def settle(self) -> None:
        """Work out anew who takes requests."""
        members = list(self._members.values())
        standings = [Standing(member.drained, member.is_well) for member in members]
        closed = self.breaker.state == "closed"
        self.state = version_state(standings, tripped=not closed)
        was_down, self.down = self.down, self.state != "up"
        takes = taking(standings, self._health.panic, tripped=not closed)
        # Panic is for judges that are wrong. A server that real requests could not reach is not there.
        self.choose_from([member.pool for member, takes_it in zip(members, takes, strict=True)
                          if takes_it and (member.is_well or not member.unreachable_until)])
        self._on_trial = [member for member in members
                          if member.ejector.state == "trial" and not (member.drained or member.probed_out)]
        self.recalm()
        if self.down and not was_down:
            self.places.version_down()
        self.places.call()

    def recalm(self) -> None:
        """Work out anew whether anything has to be watched."""
        self.calm = not (
            self.down or self._on_trial or self.places.room
            or any((member.is_troubled or member.warm_since is not None) and not member.drained
                   for member in self._members.values()))
        self.silent = self.calm and not self.places.times

    # ---- who takes a request

    def may_be_tried(self, by: Placing) -> bool:
        """Whether this request may find out now if the version, or one of its servers, is well again."""
        if not self.places.has_place(by):
            return False
        if self.breaker.state != "closed":
            return self.breaker.has_trial_left and self._has_anyone
        return bool(self._on_trial) and self._due_trial(self._may_try_first(by), ()) is not None

    def who_finds_place(self) -> Collection[int]:
        """Of those who wait, the kinds that would be given a server if one of them were called now."""
        if self.total_in_flight >= self.limit:
            return NOBODY
        if self.has_room:
            return EVERYBODY
        if self.breaker.state != "closed":
            if self.breaker.has_trial_left and self._has_anyone:
                return EVERYBODY
        elif self._on_trial and self._due_trial(self.down, ()) is not None:
            return EVERYBODY
        elif self._on_trial and self._due_trial(True, ()) is not None:
            return REPEATABLES
        return THE_REGARDLESS if self.down and self._has_anyone else NOBODY

    def has_other(self, tried: Collection[ServerPool]) -> bool:
        """Whether there is a server that was not tried yet, and that would be given a request which has a place, and
        gives that back first."""
        return self.total_in_flight <= self.limit and any(
            member.pool not in tried and not member.drained and (self.down or self.takes(member.pool))
            and self.in_flight(member.pool) < self.most for member in self._members.values())

    def choose(self, asker: Placing, excluding: Collection[ServerPool] = ()) -> ServerPool | None:
        """The server for this request where all is not well, counted on it; None where there is no place for it."""
        if not self.places.has_place(asker):
            return None
        pool = self._try_out(asker, excluding)
        if pool is None and self.down:
            pool = self._anyone(excluding) if asker.regardless else None
        elif pool is None and excluding and any(not member.is_well for member in self._members.values()):
            pool = self._anyone(excluding, only_taking=True)    # in a panic the next attempt is made at a well one
        elif pool is None:
            pool = self.acquire(excluding)
        return pool

    def _try_out(self, asker: Placing, excluding: Collection[ServerPool]) -> ServerPool | None:
        """A server for a request that finds out whether all is well again; None where none is due."""
        if self.breaker.state != "closed":
            if not self.breaker.take_trial():
                return None
            pool = self._anyone(excluding)
            if pool is None:
                self.breaker.trial_ended(self._worker.clock(), None)
                return None
            asker.trial = Trial("version", self.breaker.epoch)
            return pool
        member = self._due_trial(self._may_try_first(asker), excluding) if self._on_trial else None
        if member is None or not member.ejector.take_trial():
            return None
        asker.trial = Trial("server", member.ejector.epoch)
        return self.acquire_this(member.pool)

    def _may_try_first(self, asker: Placing) -> bool:
        """Whether it may try a server at once: it may be repeated, or has waited, and has nowhere else to go."""
        return asker.request.method in IDEMPOTENT or (asker.is_called and self.down)

    def _due_trial(self, first: bool, excluding: Collection[ServerPool]) -> Member | None:
        """The server that a request is to try. `first`: whether it is one that may do so at once."""
        patient_until = self._worker.clock() - REPEATABLE_FIRST_S
        for member in self._on_trial:
            if (first or member.ejector.until < patient_until) and member.ejector.has_trial_left \
                    and member.pool not in excluding and self.in_flight(member.pool) < self.most:
                return member
        return None

    @property
    def _has_anyone(self) -> bool:
        """Whether a server may take one more request that is not drained, in or not."""
        return any(not member.drained and self.in_flight(member.pool) < self.most for member in self._members.values())

    def _anyone(self, excluding: Collection[ServerPool], *, only_taking: bool = False) -> ServerPool | None:
        """The least busy of all servers that are not drained, well ones first. `only_taking`: of those in traffic."""
        candidates = [member for member in self._members.values() if not member.drained
                      and member.pool not in excluding and self.in_flight(member.pool) < self.most
                      and (not only_taking or self.takes(member.pool))]
        if not candidates:
            return None
        best = min(candidates, key=lambda member: (
            not member.is_well, member.unreachable_until > 0.0, self.in_flight(member.pool)))
        return self.acquire_this(best.pool)

    # ---- what came of it

    def failed(self, pool: ServerPool, trial: Trial | None, why: str, *, by_server: bool = True,
               reached: bool = True) -> None:
        """An attempt failed there. `by_server`: whether that is held against the server, and not the version alone.

        `reached`: whether a connection came about.
        """
        now = self._worker.clock()
        member = self._members.get(pool)
        if trial is not None and trial.of == "version":
            if self.breaker.trial_ended(now, False, trial.epoch):
                self._tell_breaker(f"it still fails: {why}")
        elif self._count(now, 1):
            self._tell_breaker(f"too many of its requests fail, the last: {why}")
        if member is not None and by_server and member.ejector.failed(now, _begun(member, trial)):
            self._tell(member, why)
        elif member is not None and not by_server:
            self._succeeded(member, now, trial)
        if member is not None and not reached:
            self._reach(member, now + UNREACHABLE_S)
        elif member is not None and member.unreachable_until:
            self._reach(member, 0.0)
        if self.calm:
            self.recalm()                   # from now on successes matter, too

    def succeeded(self, pool: ServerPool, trial: Trial | None) -> None:
        """A server answered well, at a time when that matters."""
        now = self._worker.clock()
        member = self._members.get(pool)
        if trial is not None and trial.of == "version" and self.breaker.trial_ended(now, True, trial.epoch):
            self._tell_breaker("")
        if member is not None:
            self._succeeded(member, now, trial)
            if member.unreachable_until:
                self._reach(member, 0.0)

    def _reach(self, member: Member, unreachable_until: float) -> None:
        turns = bool(member.unreachable_until) is not bool(unreachable_until)
        member.unreachable_until = unreachable_until
        if turns and not member.is_well:    # in a panic it has requests, or none, for that alone
            self.settle()

    def told_nothing(self, pool: ServerPool | None, trial: Trial) -> None:
        """A trial has ended without showing anything: the client left, say."""
        if trial.of == "version":
            self.breaker.trial_ended(self._worker.clock(), None, trial.epoch)
        elif pool is not None and pool in self._members:
            self._members[pool].ejector.give_up_trial(trial.epoch)

    def _succeeded(self, member: Member, now: float, trial: Trial | None) -> None:
        troubled = member.is_troubled
        if member.ejector.succeeded(now, _begun(member, trial)):
            self._warm_up(member)
            self._tell(member, "")
        elif troubled and not member.is_troubled:
            self.recalm()

    def _count(self, now: float, failures: int) -> bool:
        """Give the breaker the attempts that have ended since the last time.

        A failure is often told before its place is given back: then it is counted ahead, and not once more afterwards.
        """
        ended = max(self.released - self._counted, failures)
        self._counted += ended
        return self.breaker.count(now, ended, failures)

    def _warm_up(self, member: Member) -> None:
        if self._health.slow_start_s > 0:
            member.warm_since = self._worker.clock()
            self._give_parts(self._worker.clock())

    def _tell(self, member: Member, why: str) -> None:
        """Say that a server has turned, and act on it."""
        ejector = member.ejector
        self._worker.tell(Noticed(self.version, member.pool.label, ejector.state != "in", ejector.epoch, ejector.until,
                                  ejector.times, why))
        self.settle()

    def _tell_breaker(self, why: str) -> None:
        """Say that the version has turned, and act on it."""
        breaker = self.breaker
        self._worker.tell(Noticed(self.version, "", breaker.state != "closed", breaker.epoch, breaker.until,
                                  breaker.times, why))
        self.settle()

    # ---- time

    def sweep(self, now: float) -> None:
        """Let time pass: who may be tried again, who has waited too long, how much is let in."""
        if self._count(now, 0):
            self._tell_breaker("too many of its requests fail")
        turned = self.breaker.look(now)
        for member in self._members.values():
            turned = member.ejector.look(now) or turned
            if 0.0 < member.unreachable_until <= now:
                member.unreachable_until = 0.0
                turned = True
        self._give_parts(now)
        self.places.sweep(now)
        if turned:
            self.settle()
        else:
            self.recalm()

    def _give_parts(self, now: float) -> None:
        """Those that came back lately get a growing part of the requests."""
        slow_s = self._health.slow_start_s
        parts = {}
        for member in self._members.values():
            if member.warm_since is None:
                continue
            if now - member.warm_since >= slow_s:
                member.warm_since = None
            else:
                parts[member.pool] = max(COLDEST, (now - member.warm_since) / slow_s)
        self.give_parts(parts)


def _begun(member: Member, trial: Trial | None) -> int | None:
    """In which epoch of the server this attempt was begun, as `core.health.ejection` asks.

    While a server is not in, only its trial says anything: all others were begun before, or in spite of it.
    """
    if trial is not None and trial.of == "server":
        return trial.epoch
    return None if member.ejector.state == "in" else -1
