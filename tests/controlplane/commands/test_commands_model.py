"""Commands, journal, file and restart in any order, beside a model that a person could keep on paper."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from proxy.controlplane.commands.confirm import TRY_AGAIN_S
from proxy.controlplane.errors import (
    BaselineDown,
    HandingOver,
    LastServer,
    NothingPending,
    NothingToUndo,
    Outdated,
    VersionDrained,
)
from proxy.settings import load_file
from tests.support.commanding import Backends, Desk, Time, by_ann, desk
from tests.support.exploring import examples

Weights = tuple[float, float]
"""Of `old` and `new`."""
BASELINE = {"shop": 0, "cart": 1}

routes = st.sampled_from(["shop", "cart"])
weights = st.sampled_from([(100.0, 0.0), (95.0, 5.0), (50.0, 50.0), (0.0, 1.0)])
within = st.none() | st.sampled_from([10.0, 60.0])
versions = st.sampled_from(["old", "new"])
VERSIONS = ("old", "new")


@dataclass
class Expected:
    """A route, as somebody would keep it on paper."""

    file: Weights
    now: Weights
    before: Weights | None = None
    until: float | None = None
    back_to: Weights | None = None
    again_at: float | None = None
    """When it is tried again to go back, since the way was closed."""

    def gains(self, wanted: Weights) -> set[str]:
        """The versions that get a larger share."""
        return {name for name, before, after in zip(VERSIONS, self.now, wanted, strict=True)
                if after > 0 and after / fsum(wanted) > before / fsum(self.now)}

    def set(self, wanted: Weights) -> None:
        """Another course; undo goes back to the one before. The same one again is nothing to undo."""
        if wanted != self.now:
            self.before, self.now = self.now, wanted

    def settle(self) -> None:
        """Nothing waits to be confirmed any more."""
        self.until = self.back_to = self.again_at = None


class Operating(RuleBasedStateMachine):
    """Rules are what operators, time and the file do; invariants what everybody must then agree on."""

    servers: Backends

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "turnout.yaml"
        self.time = Time()
        self.revision = 1
        self.paper = {"shop": Expected((95.0, 5.0), (95.0, 5.0)), "cart": Expected((50.0, 50.0), (50.0, 50.0))}
        self.drained: dict[str, str] = {}
        """What is drained of a version: `server` (the only one that it has) or `all`."""
        self.write_file()
        self.open()

    def open(self) -> None:
        self.stack = AsyncExitStack()
        self.it: Desk = self.do(self.stack.enter_async_context(
            desk(load_file(self.file), self.folder / "state", time=self.time)))

    def do(self, work: Any) -> Any:
        return self.runner.run(self._await(work))

    async def _await(self, work: Any) -> Any:
        return await work

    def write_file(self) -> None:
        text = self.servers.file()
        for name, paper in self.paper.items():
            old, new = paper.file
            text = re.sub(rf"(name: {name}.*split: )\{{.*?\}}", rf"\1{{old: {old:g}, new: {new:g}}}", text)
        self.file.write_text(text)

    def moved(self) -> None:
        self.revision += 1

    @rule(route=routes, wanted=weights, within_s=within)
    def split(self, route: str, wanted: Weights, within_s: float | None) -> None:
        paper = self.paper[route]
        asked = self.it.commands.split(route, {"old": wanted[0], "new": wanted[1]}, by_ann(within_s=within_s))
        if paper.gains(wanted) & self.drained.keys():
            with pytest.raises(VersionDrained):
                self.do(asked)
            return
        if wanted != paper.now or within_s is not None or paper.until is not None:
            self.moved()
        if within_s is None:
            paper.settle()
        else:
            paper.back_to = paper.now if paper.until is None else paper.back_to
            paper.until, paper.again_at = self.time.now + within_s, None
        paper.set(wanted)
        self.do(asked)

    @rule(route=st.none() | routes, dry_run=st.booleans())
    def rollback(self, route: str | None, dry_run: bool) -> None:
        names = list(BASELINE) if route is None else [route]
        if any(self.paper[name].gains(self.home(name)) & self.drained.keys() for name in names):
            with pytest.raises(BaselineDown):
                self.do(self.it.commands.rollback(route, by_ann(dry_run=dry_run)))
            return
        outcome = self.do(self.it.commands.rollback(route, by_ann(dry_run=dry_run)))
        changed = False
        for name in names:
            paper, home = self.paper[name], self.home(name)
            changed |= home != paper.now or paper.until is not None
            if not dry_run:
                paper.set(home)
                paper.settle()
        if changed and not dry_run:
            self.moved()
        assert outcome.revision == self.revision + (changed and dry_run)

    def home(self, route: str) -> Weights:
        total = sum(self.paper[route].now)
        return (total, 0.0) if BASELINE[route] == 0 else (0.0, total)

    @rule(version=versions, whole=st.booleans(), force=st.booleans(), dry_run=st.booleans())
    def drain(self, version: str, whole: bool, force: bool, dry_run: bool) -> None:
        server = None if whole else f"127.0.0.1:{self.servers.ports[version]}"
        asked = self.it.commands.drain(version, server, by_ann(dry_run=dry_run), force=force)
        if not force and self.lost({*self.drained, version}) - self.lost(set(self.drained)):
            with pytest.raises(LastServer):
                self.do(asked)
            return
        self.do(asked)
        if self.drained.get(version) not in ("all", "all" if whole else "server") and not dry_run:
            self.drained[version] = "all" if whole else "server"
            self.moved()

    @rule(version=versions, whole=st.booleans())
    def restore(self, version: str, whole: bool) -> None:
        server = None if whole else f"http://127.0.0.1:{self.servers.ports[version]}"
        self.do(self.it.commands.restore(version, server, by_ann()))
        if self.drained.pop(version, None):
            self.moved()

    def lost(self, empty: set[str]) -> set[tuple[str, str]]:
        """Route and version wherever requests would have nowhere to go."""
        return {(name, version) for name, paper in self.paper.items()
                for version, weight in zip(VERSIONS, paper.now, strict=True)
                if weight and version in empty
                and (VERSIONS[BASELINE[name]] == version or VERSIONS[BASELINE[name]] in empty)}

    @rule(route=routes)
    def undo(self, route: str) -> None:
        paper = self.paper[route]
        if paper.before is None:
            with pytest.raises(NothingToUndo):
                self.do(self.it.commands.undo(route, by_ann()))
            return
        if paper.gains(paper.before) & self.drained.keys():
            with pytest.raises(VersionDrained):
                self.do(self.it.commands.undo(route, by_ann()))
            return
        self.do(self.it.commands.undo(route, by_ann()))
        paper.before, paper.now = paper.now, paper.before
        paper.settle()
        self.moved()

    @rule(route=routes)
    def confirm(self, route: str) -> None:
        if self.paper[route].until is None:
            with pytest.raises(NothingPending):
                self.do(self.it.commands.confirm(route, by_ann()))
            return
        self.do(self.it.commands.confirm(route, by_ann()))
        self.paper[route].settle()
        self.moved()

    @rule(route=routes)
    def be_outdated(self, route: str) -> None:
        with pytest.raises(Outdated):
            self.do(self.it.commands.split(route, {"old": 7}, by_ann(seen=self.revision + 1)))

    @rule(route=routes)
    def ask_while_handing_over(self, route: str) -> None:
        self.do(self.it.commands.pause("a successor takes over"))
        with pytest.raises(HandingOver):
            self.do(self.it.commands.split(route, {"old": 7}, by_ann()))
        self.it.commands.resume()

    @rule(seconds=st.sampled_from([1.0, 9.0, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.time.now += seconds
        for _ in self.revert_on_paper(guarded=True):
            self.moved()
        self.do(self.it.commands.timer.revert_due())

    @rule(route=routes, wanted=weights)
    def the_file_changes(self, route: str, wanted: Weights) -> None:
        if wanted != self.paper[route].file:
            self.moved()
        self.file_on_paper(route, wanted)
        self.write_file()
        self.do(self.it.commands.reload(by_ann()))

    @rule(route=routes, wanted=weights)
    def the_file_is_wrong_for_a_moment(self, route: str, wanted: Weights) -> None:
        self.file.write_text(self.servers.file().replace("name: shop", "nme: shop"))
        with pytest.raises(Exception, match="nme"):
            self.do(self.it.commands.reload(by_ann()))
        self.write_file()

    @rule(seconds=st.sampled_from([0.0, 10.0, 60.0]), route=routes, wanted=st.none() | weights)
    def restart(self, seconds: float, route: str, wanted: Weights | None) -> None:
        """Perhaps later, perhaps with another file: all that differs then is one revision."""
        self.do(self.stack.aclose())
        self.time.now += seconds
        changed = False
        if wanted is not None:
            changed = wanted != self.paper[route].file
            self.file_on_paper(route, wanted)
            self.write_file()
        if self.revert_on_paper() or changed:
            self.moved()
        self.open()

    def revert_on_paper(self, *, guarded: bool = False) -> list[str]:
        """Go back where it is time to; `guarded`: except to what is drained, which is tried again later."""
        reverted = []
        for name, paper in self.paper.items():
            if paper.until is None or paper.until > self.time.now:
                continue
            assert paper.back_to is not None
            if guarded and (paper.again_at or 0.0) > self.time.now:
                continue
            if guarded and paper.gains(paper.back_to) & self.drained.keys():
                paper.again_at = self.time.now + TRY_AGAIN_S
                continue
            paper.before, paper.now = paper.now, paper.back_to
            paper.settle()
            reverted.append(name)
        return reverted

    def file_on_paper(self, route: str, wanted: Weights) -> None:
        paper = self.paper[route]
        if wanted != paper.file:
            paper.file = wanted
            paper.set(wanted)
            paper.settle()

    @invariant()
    def everybody_agrees(self) -> None:
        if not hasattr(self, "it"):
            return
        state = self.it.commands.state
        assert state.revision == self.revision
        for name, paper in self.paper.items():
            held = state.routes[name]
            assert self.it.split(name) == {"old": paper.now[0], "new": paper.now[1]}
            assert (held.before and tuple(weight for _, weight in held.before.split)) == paper.before
            assert (held.pending and held.pending.until) == paper.until

    @invariant()
    def what_is_drained_is_what_was_drained_last(self) -> None:
        if not hasattr(self, "it"):
            return
        addresses = {name: f"http://127.0.0.1:{port}" for name, port in self.servers.ports.items()}
        assert self.it.commands.state.drained == {
            (name, "" if what == "all" else addresses[name]) for name, what in self.drained.items()}
        assert self.it.supervisor.snapshot.drained == {(name, addresses[name]) for name in self.drained}
        told = {event.after["version"]: event.after for event in self.it.events("drain", "restore") if event.after}
        assert {name for name, after in told.items() if after["all"]} == {
            name for name, what in self.drained.items() if what == "all"}
        assert {name for name, after in told.items() if after["drained"]} == {
            name for name, what in self.drained.items() if what == "server"}

    @invariant()
    def the_events_tell_the_same_story(self) -> None:
        if not hasattr(self, "it"):
            return
        told: dict[str | None, Any] = {"shop": {"old": 95, "new": 5}, "cart": {"old": 50, "new": 50}}
        for event in self.it.events():
            if event.route is not None and event.after is not None and event.verb != "revert-held":
                assert event.before is not None
                assert event.before["split"] == told[event.route]
                told[event.route] = event.after["split"]
        for name, paper in self.paper.items():
            assert told[name] == {"old": paper.now[0], "new": paper.now[1]}

    def teardown(self) -> None:
        if hasattr(self, "it"):
            self.do(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)


def test_whatever_happens_in_whatever_order_the_state_is_what_a_person_expects() -> None:
    Operating.servers = Backends()
    try:
        run_state_machine_as_test(Operating, settings=examples(30, steps=25))
    finally:
        Operating.servers.close()
