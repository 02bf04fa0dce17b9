from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.clock import monotonic
from proxy.controlplane.commands.commands import Commands
from proxy.controlplane.commands.transactions import Plan, Transactions
from proxy.controlplane.errors import (
    BaselineDown,
    CommandError,
    HandingOver,
    InvalidChange,
    NotApplied,
    NothingPending,
    NothingToUndo,
    NotJournaled,
    Outdated,
    UnknownRoute,
)
from proxy.controlplane.events import Author
from proxy.controlplane.journal.journal import Journal
from proxy.controlplane.supervisor import Supervisor
from proxy.controlplane.workers.listeners import open_listeners
from proxy.core import changes
from proxy.core.listen import Listen
from proxy.core.merge import initial
from proxy.settings import load_bytes
from tests.support.commanding import ANN, Backends, Time, backends, by_ann, compiled, desk, scenario
from tests.support.deadline import until


@pytest.fixture
def servers() -> Iterator[Backends]:
    with backends() as made:
        yield made


@scenario
async def test_a_change_is_answered_when_it_is_journaled_and_every_worker_has_it(
    servers: Backends, tmp_path: Path
) -> None:
    async with desk(servers.settings(), tmp_path, script="obeys") as it:
        outcome = await it.commands.split("shop", {"old": 60, "new": 40}, by_ann("more of it"))
        assert it.split() == {"old": 60, "new": 40}
        assert outcome.change is not None
        assert (outcome.revision, outcome.change.workers, outcome.change.of) == (2, 2, 2)
        assert (outcome.routes, outcome.dry_run, outcome.state) == (("shop",), False, it.commands.state)
        assert 0 < outcome.took_s < 5
        event, = it.events()
        assert (event.author, event.verb, event.route, event.reason, event.revision) == (
            ANN, "split", "shop", "more of it", 2)
        assert event.before == {"split": {"old": 95, "new": 5}, "shadow": None}
        assert event.after == {"split": {"old": 60, "new": 40}, "shadow": None}


@scenario
async def test_a_worker_that_does_not_acknowledge_is_replaced_and_the_outcome_says_so(servers: Backends) -> None:
    async with desk(servers.settings(), script="deaf-after-first") as it:
        outcome = await it.commands.split("shop", {"new": 1}, by_ann())
        assert outcome.change is not None
        assert (outcome.change.workers, outcome.change.replaced) == (0, (0, 1))
        await until(lambda: not it.supervisor.shortcomings(), "the successors serve by the new snapshot")
        assert it.split() == {"old": 0, "new": 1}


@scenario
async def test_what_cannot_be_journaled_moves_nothing(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        state, snapshot = it.commands.state, it.supervisor.snapshot
        it.journal.close()
        for change in (
            it.commands.split("shop", {"new": 1}, by_ann()),
            it.commands.rollback(None, by_ann()),
            it.commands.shadow("shop", {"to": "new", "percent": 5}, by_ann()),
        ):
            with pytest.raises(NotJournaled, match="nothing has changed"):
                await change
        assert it.commands.state is state
        assert it.supervisor.snapshot is snapshot


@scenario
async def test_if_applying_fails_journal_and_memory_still_agree_and_the_next_change_brings_everything(
    servers: Backends,
) -> None:
    settings = servers.settings()
    async with desk(settings) as it:
        stuck = [it.supervisor.snapshot]
        commands = Commands(
            settings, it.commands.state, it.journal, it.supervisor, clock=monotonic, wall=it.time,
            compile_snapshot=lambda settings, state: stuck.pop() if stuck else compiled(settings, state),
        )
        async with commands:
            with pytest.raises(NotApplied, match="revision 2 is in the journal"):
                await commands.split("shop", {"new": 1}, by_ann())
            assert it.journal.state == commands.state
            assert commands.state.revision == 2
            await commands.split("cart", {"new": 1}, by_ann())
            assert dict(it.supervisor.snapshot.routes[0].split) == {"old": 0, "new": 1}
            assert [event.revision for event in it.events("split")] == [2, 3]


@scenario
async def test_a_change_is_finished_when_its_author_has_gone(servers: Backends, tmp_path: Path) -> None:
    async with desk(servers.settings(), tmp_path) as it:
        asking = asyncio.create_task(it.commands.split("shop", {"new": 1}, by_ann()))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: it.supervisor.snapshot.revision == 2, "the change is made")
        assert it.split() == {"old": 0, "new": 1}


@scenario
async def test_of_two_operators_who_saw_the_same_one_is_told_to_look_again(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        found = await asyncio.gather(
            it.commands.split("shop", {"new": 1}, by_ann(seen=1)),
            it.commands.split("shop", {"old": 1}, by_ann(seen=1)),
            return_exceptions=True,
        )
        assert it.split() == {"old": 0, "new": 1}
        assert isinstance(found[1], Outdated)
        assert found[1].revision == 2
        # Another route is at another revision; all together are at that of the state.
        await it.commands.split("cart", {"new": 1}, by_ann(seen=1))
        with pytest.raises(Outdated):
            await it.commands.rollback(None, by_ann(seen=2))
        await it.commands.rollback(None, by_ann(seen=3))


@scenario
async def test_everything_wrong_is_said_at_once_and_nothing_has_moved(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        with pytest.raises(InvalidChange) as refused:
            await it.commands.split("shop", {"nwe": 1, "old": -1}, by_ann("two\nlines", within_s=0.01))
        assert [problem.where for problem in refused.value.problems] == [
            "/reason", "/split/nwe", "/split/old", "/confirm_within"]
        for reason in ("x" * 1001, "\x1b[2J", "abc\u202edef", "\ud800"):
            with pytest.raises(InvalidChange, match="/reason"):
                await it.commands.rollback("shop", by_ann(reason))
        for change in (it.commands.undo, it.commands.confirm, it.commands.rollback):
            with pytest.raises(InvalidChange, match="/confirm_within"):
                await change("shop", by_ann(within_s=60.0))
        with pytest.raises(UnknownRoute, match=r"no route is called `shpo` \(did you mean `shop`\?\)"):
            await it.commands.split("shpo", {}, by_ann("two\nlines"))
        with pytest.raises(NothingToUndo):
            await it.commands.undo("shop", by_ann())
        with pytest.raises(NothingPending):
            await it.commands.confirm("shop", by_ann())
        assert (it.commands.state.revision, it.events()) == (1, [])


@scenario
async def test_a_dry_run_says_what_would_be_and_changes_nothing(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        before = it.commands.state
        dry = await it.commands.split("shop", {"new": 1}, by_ann(dry_run=True))
        assert (dry.dry_run, dry.change, dry.revision) == (True, None, 2)
        assert it.commands.state is before
        assert (it.events(), it.supervisor.snapshot.revision) == ([], 1)
        assert (await it.commands.split("shop", {"new": 1}, by_ann())).state == dry.state
        with pytest.raises(Outdated):
            await it.commands.undo("shop", by_ann(dry_run=True, seen=1))


@scenario
async def test_undo_returns_and_undoing_that_goes_forth_again(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.split("shop", {"new": 1}, by_ann())
        await it.commands.undo("shop", by_ann())
        assert it.split() == {"old": 95, "new": 5}
        await it.commands.undo("shop", by_ann())
        assert it.split() == {"old": 0, "new": 1}
        assert [event.verb for event in it.events()] == ["split", "undo", "undo"]


@scenario
async def test_shadow_settings_are_changed_and_journaled(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.shadow("shop", {"to": "new", "percent": 12.5}, by_ann())
        event, = it.events("shadow")
        assert event.after is not None
        assert event.after["shadow"] == {"to": "new", "percent": 12.5, "methods": ["GET", "HEAD"]}
        shadow = it.supervisor.snapshot.routes[0].shadow
        assert shadow is not None
        assert shadow.percent == 12.5
        with pytest.raises(InvalidChange, match="/to: no such version"):
            await it.commands.shadow("shop", {"to": "gone"}, by_ann())


@scenario
async def test_copies_of_methods_that_change_something_are_allowed_with_a_note(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        outcome = await it.commands.shadow("shop", {"to": "new", "percent": 1, "methods": ["GET", "POST"]}, by_ann())
        assert outcome.notes == ("methods: a copy of POST does its work a second time",)
        assert (await it.commands.shadow("shop", {"methods": ["GET", "OPTIONS"]}, by_ann())).notes == ()
        assert (await it.commands.shadow("shop", {"to": None}, by_ann())).notes == ()


@scenario
async def test_a_version_that_answers_everything_itself_gets_no_copies_which_is_noted(servers: Backends) -> None:
    nothing = ("`new` answers every request itself: nothing is copied while no other version has a weight",)
    async with desk(servers.settings()) as it:
        assert (await it.commands.shadow("shop", {"to": "new", "percent": 1}, by_ann())).notes == ()
        assert (await it.commands.split("shop", {"new": 1}, by_ann())).notes == nothing
        assert (await it.commands.shadow("shop", {"percent": 2}, by_ann())).notes == nothing
        assert (await it.commands.shadow("shop", {"to": "old"}, by_ann())).notes == ()


@scenario
async def test_rolling_back_every_route_is_one_revision_and_is_home_whatever_the_baseline(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        outcome = await it.commands.rollback(None, by_ann("fire"))
        assert outcome.revision == 2
        assert (it.split("shop"), it.split("cart")) == ({"old": 100, "new": 0}, {"old": 0, "new": 100})
        assert [(event.verb, event.route, event.revision) for event in it.events()] == [
            ("rollback", "shop", 2), ("rollback", "cart", 2)]


@scenario
async def test_rolling_back_what_is_home_changes_nothing(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        await it.commands.rollback(None, by_ann())
        again = await it.commands.rollback(None, by_ann())
        assert (again.revision, again.change) == (2, None)
        assert len(it.events()) == 2


@scenario
async def test_cutting_ends_what_runs_at_candidates_also_when_their_share_is_gone_already(servers: Backends) -> None:
    async with desk(servers.settings(), script="obeys") as it:
        await it.commands.rollback("shop", by_ann())
        assert it.supervisor.fold.counters("cut") == {}
        outcome = await it.commands.rollback("shop", by_ann(), in_flight="cut")
        assert outcome.revision == 3
        await until(lambda: it.supervisor.fold.counters("cut") == {("shop", "new"): 2}, "both workers were told")
        await it.commands.rollback("cart", by_ann(), in_flight="cut")
        await until(lambda: it.supervisor.fold.counters("cut").get(("cart", "old")) == 2, "the other way round")


@scenario
async def test_what_is_found_out_for_one_change_holds_up_no_other(servers: Backends) -> None:
    """Such as whether a baseline is there: one that says nothing takes a tenth of a second."""
    settings = servers.settings()
    shop, cart = settings.routes
    async with desk(settings) as it:
        transactions = Transactions(
            settings, it.commands.state, it.journal, it.supervisor, compiled, monotonic, it.time)
        known = asyncio.Event()

        async def find_out() -> None:
            await known.wait()

        async def shop_moves() -> Plan:
            return Plan(changes.split(transactions.state, shop, {"new": 1}), ("shop",))

        async def cart_moves() -> Plan:
            return Plan(changes.split(transactions.state, cart, {"new": 1}), ("cart",))

        first = asyncio.create_task(transactions.run(shop_moves, by_ann(), find_out))
        second = await transactions.run(cart_moves, by_ann())
        known.set()
        assert (second.revision, (await first).revision) == (2, 3)
        await transactions.close()


@scenario
async def test_a_baseline_that_is_known_to_be_down_is_no_home_unless_forced(servers: Backends) -> None:
    servers.take_down("old")
    async with desk(servers.settings()) as it:
        with pytest.raises(BaselineDown, match=r"`shop` would go to `old`, where no server accepts") as refused:
            await it.commands.rollback(None, by_ann())
        assert refused.value.servers == (f"http://127.0.0.1:{servers.ports['old']}: connection refused",)
        assert (it.commands.state.revision, it.events()) == (1, [])
        await it.commands.rollback("cart", by_ann())      # whose baseline is `new`
        await it.commands.rollback("shop", by_ann(), force=True)
        assert it.split("shop") == {"old": 100, "new": 0}
        await it.commands.rollback("shop", by_ann(), in_flight="cut")      # no traffic moves, so nobody is asked


@scenario
async def test_while_handing_over_changes_are_refused_and_those_under_way_are_finished(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        under_way = asyncio.create_task(it.commands.split("shop", {"new": 1}, by_ann()))
        await asyncio.sleep(0)      # it runs,
        await asyncio.sleep(0)      # and so does the change itself, which is at the journal now
        await it.commands.pause("a successor takes over")
        assert (await under_way).revision == 2
        with pytest.raises(HandingOver, match="a successor takes over: ask again in a second"):
            await it.commands.split("shop", {"old": 1}, by_ann())
        with pytest.raises(HandingOver):
            await it.commands.pause("twice")
        it.commands.record("worker-replaced", ANN)
        it.commands.resume()
        await it.commands.split("shop", {"old": 1}, by_ann())
        await it.commands.flush()
        assert {event.verb for event in it.events()} == {"split", "worker-replaced"}


@scenario
async def test_after_leaving_nothing_can_be_changed_and_what_was_recorded_is_journaled(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        commands = Commands(it.commands.settings, it.commands.state, it.journal, it.supervisor,
                            compile_snapshot=compiled, clock=monotonic, wall=it.time)
        async with commands:
            commands.record("stop", ANN, "SIGTERM")
        assert [event.reason for event in it.events("stop")] == ["SIGTERM"]
        with pytest.raises(HandingOver, match="Turnout is leaving"):
            await commands.rollback("shop", by_ann())


@scenario
async def test_a_process_that_leaves_while_paused_writes_nothing_any_more(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        commands = Commands(it.commands.settings, it.commands.state, it.journal, it.supervisor,
                            compile_snapshot=compiled, clock=monotonic, wall=it.time)
        async with commands:
            await commands.pause("a successor has taken over")
            commands.record("stop", ANN)
        assert it.events("stop") == []


@scenario
async def test_what_changes_nothing_is_recorded_without_waiting_and_its_loss_is_counted(servers: Backends) -> None:
    async with desk(servers.settings()) as it:
        subscription = it.commands.feed.subscribe()
        it.commands.record("login-failed", Author("unknown", "10.9.8.7"), "3 wrong tokens")
        event = await anext(subscription)
        assert (event.verb, event.author.origin, event.revision, event.id) == ("login-failed", "10.9.8.7", 1, 2)
        it.journal.close()
        it.commands.record("login-failed", ANN)
        await it.commands.flush()
        assert it.commands.events_lost == 1
        for _ in range(1005):
            it.commands.record("login-failed", ANN)
        await it.commands.flush()
        assert it.commands.events_lost == 1006


@scenario
async def test_the_feed_has_the_ids_of_the_journal_in_their_order(servers: Backends, tmp_path: Path) -> None:
    async with desk(servers.settings(), tmp_path) as it:
        subscription = it.commands.feed.subscribe()
        changing = [it.commands.split("shop", {"old": 100 - n, "new": n}, by_ann()) for n in range(10, 20)]
        tasks = [asyncio.create_task(change) for change in changing]
        for _ in range(10):
            it.commands.record("login-failed", ANN)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await it.commands.flush()
        subscription.close()
        assert [event async for event in subscription] == it.journal.events(after=1)


@scenario
async def test_the_beginning_is_an_event_and_so_is_what_the_file_overruled(servers: Backends, tmp_path: Path) -> None:
    settings = servers.settings()
    async with desk(settings, tmp_path) as it:
        assert [(event.verb, event.revision) for event in it.events("start")] == [("start", 1)]
        assert it.journal.state == it.commands.state
        await it.commands.split("shop", {"new": 1}, by_ann())
    other = replace(settings, routes=(replace(settings.routes[0], split=(("old", 1.0), ("new", 1.0))),))
    async with desk(other, tmp_path) as it:
        assert it.split() == {"old": 1, "new": 1}
        found = [(event.verb, event.route, event.revision) for event in it.journal.events(after=2)]
        assert found == [("start", None, 3), ("file-wins", "shop", 3), ("reload", "cart", 3)]


def test_every_refusal_says_what_kind_it_is() -> None:
    kinds: list[type[CommandError]] = [UnknownRoute, InvalidChange, Outdated, NothingToUndo, NothingPending,
                                       BaselineDown, NotJournaled, HandingOver, NotApplied]
    assert len({kind.kind for kind in kinds}) == len(kinds)


@scenario
async def test_a_change_that_comes_before_the_beginning_was_journaled_loses_nothing_of_either(
    servers: Backends, tmp_path: Path
) -> None:
    """The file has changed since the last run: what that moves and the operator's change are both there afterwards."""
    before, settings = servers.settings(), load_bytes(servers.file().replace("old: 50", "old: 80").encode(), "x", {})
    async with desk(before, tmp_path):
        pass
    journal = Journal.open(os.fspath(tmp_path), keep=100)
    begun = initial(settings.routes, settings.versions, journal.state, 0.0)
    supervisor = Supervisor(compiled(settings, begun.state), open_listeners([Listen("127.0.0.1", 0)], 1), 1)
    commands = Commands(
        settings, begun.state, journal, supervisor, compile_snapshot=compiled, clock=monotonic, wall=Time())
    async with commands:
        early = asyncio.create_task(commands.split("shop", {"new": 1}, by_ann()))
        for _ in range(3):      # it is its turn
            await asyncio.sleep(0)
        await commands.begin(begun.moves)
        await early
        assert journal.state == commands.state
    await supervisor.stop(0.0)
    journal.close()
    again = Journal.open(os.fspath(tmp_path), keep=100)
    assert again.state == commands.state
    assert {name: dict(held.course.split) for name, held in commands.state.routes.items()} == {
        "shop": {"old": 0, "new": 1}, "cart": {"old": 80, "new": 50}}
    again.close()


@scenario
async def test_a_pause_that_is_given_up_while_a_change_is_under_way_refuses_nothing_afterwards(
    servers: Backends,
) -> None:
    async with desk(servers.settings()) as it:
        change = asyncio.create_task(it.commands.split("shop", {"new": 1}, by_ann()))
        for _ in range(3):      # it is its turn
            await asyncio.sleep(0)
        pausing = asyncio.create_task(it.commands.pause("a successor takes over"))
        await asyncio.sleep(0)
        pausing.cancel()
        await change
        with pytest.raises(asyncio.CancelledError):
            await pausing
        await it.commands.split("cart", {"new": 1}, by_ann())
        await it.commands.pause("a successor takes over")
        it.commands.resume()
        await it.commands.undo("cart", by_ann())


@scenario
async def test_a_full_disk_keeps_nobody_from_beginning_with_what_is_in_the_journal_already(servers: Backends) -> None:
    settings = servers.settings()
    async with desk(settings) as it:
        step = changes.split(it.commands.state, settings.routes[0], {"new": 1})
        other = Commands(settings, step.state, it.journal, it.supervisor, compile_snapshot=compiled, clock=it.time,
                         wall=it.time)
        it.journal.close()
        await it.commands.begin()
        assert (it.commands.events_lost, it.commands.journal_failures) == (1, 1)
        with pytest.raises(NotJournaled):
            await other.begin(step.moves)
        async with other:
            pass
