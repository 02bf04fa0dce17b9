"""Servers leave and come back by command: journaled, known to every worker, kept over restarts and reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.controlplane.errors import (
    BaselineDown,
    HandingOver,
    InvalidChange,
    LastServer,
    NotJournaled,
    UnknownVersion,
    VersionDrained,
)
from proxy.settings import Settings, load_bytes, load_file
from tests.support.commanding import ANN, Backends, backends, by_ann, desk, scenario

SECOND = "http://127.0.0.1:1"
"""A second server of `old`: nobody listens at port 1."""


@pytest.fixture
def servers() -> Iterator[Backends]:
    with backends() as made:
        yield made


def file(servers: Backends) -> str:
    """`old` has two servers, of which the second refuses."""
    return servers.file().replace(f"127.0.0.1:{servers.ports['old']}]", f"127.0.0.1:{servers.ports['old']}, {SECOND}]")


def two(servers: Backends) -> Settings:
    return load_bytes(file(servers).encode(), "turnout.yaml", {})


def address(servers: Backends, version: str = "old") -> str:
    return f"http://127.0.0.1:{servers.ports[version]}"


@scenario
async def test_a_drain_is_answered_when_it_is_journaled_and_every_worker_has_it(
    servers: Backends, tmp_path: Path
) -> None:
    async with desk(two(servers), tmp_path, script="obeys") as it:
        outcome = await it.commands.drain("old", SECOND, by_ann("kernel"))
        assert outcome.change is not None
        assert (outcome.revision, outcome.change.workers, outcome.routes, outcome.notes) == (2, 2, (), ())
        assert it.supervisor.snapshot.drained == {("old", SECOND)}
        assert it.journal.state == it.commands.state == outcome.state
        event, = it.events()
        assert (event.author, event.verb, event.route, event.reason, event.revision) == (
            ANN, "drain", None, "kernel", 2)
        assert event.before == {"version": "old", "server": SECOND, "all": False, "drained": []}
        assert event.after == {"version": "old", "server": SECOND, "all": False, "drained": [SECOND]}


@scenario
async def test_a_version_is_restored_whatever_drained_it(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.drain("old", SECOND, by_ann())
        await it.commands.drain("old", None, by_ann(), force=True)
        assert it.supervisor.snapshot.drained == {("old", SECOND), ("old", address(servers))}
        outcome = await it.commands.restore("old", None, by_ann("done"))
        assert (outcome.revision, it.supervisor.snapshot.drained) == (4, frozenset())
        event = it.events()[-1]
        assert (event.verb, event.reason) == ("restore", "done")
        assert event.before == {"version": "old", "server": None, "all": True, "drained": []}


@scenario
async def test_what_is_so_already_is_no_change_and_no_event(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        assert (await it.commands.restore("old", SECOND, by_ann())).change is None
        await it.commands.drain("old", SECOND, by_ann())
        assert (await it.commands.drain("old", SECOND, by_ann())).revision == 2
        assert len(it.events()) == 1


@pytest.mark.parametrize("spelled", ["http://127.0.0.1:1", "127.0.0.1:1", "HTTP://127.0.0.1:1"])
def test_an_address_may_be_spelled_as_in_the_file_or_shorter(servers: Backends, spelled: str) -> None:
    @scenario
    async def test() -> None:
        async with desk(two(servers)) as it:
            await it.commands.drain("old", spelled, by_ann())
            assert it.commands.state.drained == {("old", SECOND)}

    test()


@scenario
async def test_what_is_not_there_is_refused_with_what_is(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        with pytest.raises(UnknownVersion, match=r"no version is called `odl` \(did you mean `old`\?\)"):
            await it.commands.drain("odl", None, by_ann())
        with pytest.raises(InvalidChange) as wrong:
            await it.commands.drain("old", "http://10.0.0.1", by_ann("x" * 2000))
        assert [problem.where for problem in wrong.value.problems] == ["/reason", "/server"]
        assert wrong.value.problems[1].message \
            == f"`http://10.0.0.1` is no server of `old`; there are {address(servers)}, {SECOND}"
        with pytest.raises(InvalidChange):
            await it.commands.restore("new", "", by_ann())
        assert it.commands.state.revision == 1


@scenario
async def test_the_last_server_stays_unless_forced_and_then_it_is_told_what_follows(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.drain("old", SECOND, by_ann())
        with pytest.raises(LastServer, match=r"requests of `shop` .*\(`turnout weight shop old=0 new=100`\)"):
            await it.commands.drain("old", address(servers), by_ann())
        assert it.commands.state.revision == 2
        outcome = await it.commands.drain("old", address(servers), by_ann(), force=True)
        assert outcome.notes == ("requests of `shop` for `old` are refused until it is restored",
                                 "requests of `cart` for `old` go to the baseline until it is restored")


@scenario
async def test_the_last_server_that_accepts_connections_stays_unless_forced(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        with pytest.raises(LastServer, match="no other server of `old` accepts a connection, and requests of `shop`"):
            await it.commands.drain("old", address(servers), by_ann())
        assert it.commands.state.revision == 1
        await it.commands.split("shop", {"old": 0, "new": 1}, by_ann())
        await it.commands.drain("old", address(servers), by_ann())
        await it.commands.restore("old", None, by_ann())
        await it.commands.split("shop", {"old": 1, "new": 0}, by_ann())
        await it.commands.drain("old", address(servers), by_ann(), force=True)
        assert it.supervisor.snapshot.drained == {("old", address(servers))}


@scenario
async def test_a_dry_run_says_what_would_be_and_changes_nothing(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        outcome = await it.commands.drain("old", SECOND, by_ann(dry_run=True))
        assert (outcome.revision, outcome.change) == (2, None)
        assert outcome.state.drained == {("old", SECOND)}
        with pytest.raises(LastServer):
            await it.commands.drain("old", None, by_ann(dry_run=True))
        assert it.commands.state.drained == frozenset()
        assert it.events() == []


@scenario
async def test_what_cannot_be_journaled_drains_nothing(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        state, snapshot = it.commands.state, it.supervisor.snapshot
        it.journal.close()
        with pytest.raises(NotJournaled, match="nothing has changed"):
            await it.commands.drain("old", SECOND, by_ann())
        assert it.commands.state is state
        assert it.supervisor.snapshot is snapshot


@scenario
async def test_while_handing_over_nothing_is_drained(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.pause("a successor takes over")
        for change in (it.commands.drain("old", SECOND, by_ann()), it.commands.restore("old", None, by_ann())):
            with pytest.raises(HandingOver):
                await change
        it.commands.resume()


@scenario
async def test_two_operators_cannot_take_the_two_last_servers_at_the_same_time(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        found = await asyncio.gather(*(it.commands.drain("old", one, by_ann()) for one in (SECOND, address(servers))),
                                     return_exceptions=True)
        assert [type(one) for one in found if isinstance(one, Exception)] == [LastServer]
        assert len(it.supervisor.snapshot.drained) == 1


@scenario
async def test_rollback_does_not_go_to_a_baseline_that_is_drained_unless_forced(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.split("shop", {"old": 0, "new": 1}, by_ann())
        await it.commands.drain("old", None, by_ann())
        for route in ("shop", None):
            with pytest.raises(BaselineDown, match=r"where every server is drained: `turnout restore old` first, or go "
                                                   r"there all the same with `force`") as refused:
                await it.commands.rollback(route, by_ann())
            assert refused.value.servers == (f"{address(servers)}: drained", f"{SECOND}: drained")
        assert it.split() == {"old": 0, "new": 1}
        await it.commands.rollback("shop", by_ann(), force=True)
        assert it.split() == {"old": 1, "new": 0}


@scenario
async def test_a_drained_server_does_not_speak_for_a_baseline_whose_others_refuse(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.split("shop", {"old": 0, "new": 1}, by_ann())
        await it.commands.drain("old", address(servers), by_ann())
        with pytest.raises(BaselineDown, match="no server accepts a connection: start one, or go there") as refused:
            await it.commands.rollback("shop", by_ann())
        assert refused.value.servers == (f"{SECOND}: connection refused", f"{address(servers)}: drained")


@scenario
async def test_rollback_does_not_ask_about_candidates_that_are_drained(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.drain("new", None, by_ann(), force=True)
        await it.commands.rollback("shop", by_ann())
        assert it.split() == {"old": 100, "new": 0}


@scenario
async def test_no_weight_goes_to_a_version_that_is_drained(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.rollback("shop", by_ann())
        await it.commands.drain("new", None, by_ann(), force=True)
        for change in (it.commands.split("shop", {"old": 99, "new": 1}, by_ann()), it.commands.undo("shop", by_ann())):
            with pytest.raises(VersionDrained, match="`shop` would go to `new`, where every server is drained: "
                                                     "`turnout restore new` first"):
                await change
        await it.commands.split("cart", {"old": 60, "new": 40}, by_ann())      # less than before is no harm
        await it.commands.restore("new", None, by_ann())
        await it.commands.undo("shop", by_ann())
        assert it.split() == {"old": 95, "new": 5}


@scenario
async def test_a_change_that_nobody_confirms_does_not_go_back_to_what_was_drained_meanwhile(servers: Backends) -> None:
    async with desk(two(servers)) as it:
        await it.commands.split("shop", {"old": 0, "new": 1}, by_ann(within_s=10.0))
        await it.commands.drain("old", None, by_ann())
        it.time.now += 10
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 0, "new": 1}
        await it.commands.flush()
        held, = it.events("revert-held")
        assert "`turnout restore old` first, until then everything stays as it is" in held.reason
        await it.commands.restore("old", None, by_ann())
        it.time.now += 5
        await it.commands.timer.revert_due()
        assert it.split() == {"old": 95, "new": 5}


@scenario
async def test_what_is_drained_outlives_a_restart(servers: Backends, tmp_path: Path) -> None:
    async with desk(two(servers), tmp_path) as it:
        await it.commands.drain("old", SECOND, by_ann())
        await it.commands.drain("new", None, by_ann(), force=True)
    async with desk(two(servers), tmp_path) as it:
        assert it.supervisor.snapshot.drained == {("old", SECOND), ("new", address(servers, "new"))}
        assert it.commands.state.revision == 3


@scenario
async def test_a_reload_keeps_what_the_file_still_names_and_tells_of_the_rest(
    servers: Backends, tmp_path: Path
) -> None:
    path = tmp_path / "turnout.yaml"
    path.write_text(file(servers))
    async with desk(load_file(path)) as it:
        await it.commands.drain("old", SECOND, by_ann())
        path.write_text(file(servers).replace("old: 50", "old: 60"))
        await it.commands.reload(by_ann())
        assert it.supervisor.snapshot.drained == {("old", SECOND)}
        path.write_text(servers.file())
        await it.commands.reload(by_ann("one less"))
        assert it.supervisor.snapshot.drained == frozenset()
        assert [(event.verb, event.reason) for event in it.events()[-2:]] == [
            ("reload", "one less · the file says so"), ("restore", "one less · the file has this server no more")]


@scenario
async def test_a_reload_that_leaves_a_version_with_drained_servers_only_says_so(
    servers: Backends, tmp_path: Path
) -> None:
    path = tmp_path / "turnout.yaml"
    path.write_text(file(servers))
    async with desk(load_file(path)) as it:
        await it.commands.drain("old", address(servers), by_ann(), force=True)
        path.write_text(servers.file())
        outcome = await it.commands.reload(by_ann())
        assert outcome.notes == (
            "requests of `shop` for `old` are refused, since it is drained: `turnout restore old`",)


@scenario
async def test_a_server_that_the_file_adds_to_a_drained_version_gets_nothing(servers: Backends, tmp_path: Path) -> None:
    path = tmp_path / "turnout.yaml"
    path.write_text(servers.file())
    async with desk(load_file(path)) as it:
        await it.commands.drain("old", None, by_ann(), force=True)
        path.write_text(file(servers))
        await it.commands.reload(by_ann())
        assert it.supervisor.snapshot.drained == {("old", address(servers)), ("old", SECOND)}
