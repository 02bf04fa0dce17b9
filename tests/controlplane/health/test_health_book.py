"""What the book makes of probes, of what workers notice, and of what operators drain."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.controlplane.health.book import HealthBook
from proxy.controlplane.health.pages import Turn
from proxy.controlplane.health.values import Outcome, ProbeResult
from proxy.core.health.values import Breaker, Health, Probe
from proxy.core.route import Match, Route, Server, Version
from proxy.core.snapshot import Snapshot
from proxy.ipc.messages import Noticed

A, B, C, D = (f"http://10.0.0.{last}:80" for last in (1, 2, 3, 4))
PROBED = Health(probe=Probe(), slow_start_s=5.0)
ROUTE = Route("shop", Match(), (("old", 75.0), ("new", 25.0)), "old")


def servers(*last: int) -> tuple[Server, ...]:
    return tuple(Server(f"10.0.0.{each}", 80) for each in last)


OLD = Version("old", servers(1), PROBED)
DEAD: tuple[Outcome, ...] = ("timeout",) * 3
NEW = Version("new", servers(1, 2, 3, 4), PROBED)


class Kept:
    """A book at a time that stands still unless it is moved, and every turn that it told."""

    def __init__(self, *versions: Version, adopted: tuple[Noticed, ...] = ()) -> None:
        self.now = 100.0
        self.turns: list[Turn] = []
        self.book = HealthBook(lambda: self.now, lambda: 1e9 + self.now)
        self.book.on_turn = self.turns.append
        self.book.adopt(adopted)
        self.configure(*versions or (OLD, NEW))

    def configure(self, *versions: Version, drained: tuple[tuple[str, str], ...] = ()) -> None:
        self.book.configure(Snapshot(1, versions, (ROUTE,), drained=frozenset(drained)))

    def probed(self, server: str, *outcomes: Outcome, version: str = "new") -> list[bool]:
        return [self.book.probed((version, server), ProbeResult(outcome, 1e9, 0.01, outcome)) for outcome in outcomes]

    def noticed(self, server: str, out: bool, epoch: int, *, for_s: float = 1.0, why: str = "5 failures in a row",
                version: str = "new") -> bool:
        return self.book.noticed(Noticed(version, server, out, epoch, self.now + for_s if out else 0.0, epoch, why))

    def states(self, version: str = "new") -> list[str]:
        return [server.state for server in self.book.servers(version)]

    def told(self) -> list[tuple[str, bool]]:
        return [(turn.server or turn.version, turn.out) for turn in self.turns]


def test_at_first_everybody_is_up_and_takes_traffic() -> None:
    it = Kept()
    assert [(server.address, server.state, server.takes_traffic) for server in it.book.servers("new")] == [
        (address, "up", True) for address in (A, B, C, D)]
    assert [(version.name, version.state) for version in it.book.versions()] == [("old", "up"), ("new", "up")]


def test_without_probes_there_is_no_suspicion() -> None:
    it = Kept(replace(OLD, health=Health()))
    assert [server.phi for server in it.book.servers("old")] == [None]
    assert list(it.book.judges()) == []


def test_failed_probes_put_a_server_out_and_good_ones_bring_it_in() -> None:
    it = Kept()
    assert it.probed(A, "timeout", "refused", "status") == [False, False, True]
    assert (it.states(), it.book.out_by_probes()) == (["out", "up", "up", "up"], (("new", A),))
    assert it.probed(A, "ok", "ok") == [False, True]
    assert it.book.out_by_probes() == ()
    assert [(turn.server, turn.out, turn.by) for turn in it.turns] == [(A, True, "probe"), (A, False, "probe")]


def test_one_version_says_nothing_of_the_same_server_in_another() -> None:
    it = Kept()
    it.probed(A, *DEAD)
    assert it.states("old") == ["up"]


def test_the_last_probe_is_shown_and_all_are_counted() -> None:
    it = Kept()
    it.probed(A, "ok", "body")
    result = it.book.servers("new")[0].probe
    assert result is not None
    assert (result.ok, result.outcome) == (False, "body")
    assert it.book.probes == {("new", A, "ok"): 1, ("new", A, "body"): 1}


def test_silence_makes_a_server_suspect() -> None:
    it = Kept()
    it.probed(A, "ok", "ok", "ok")
    it.now += 5.0
    it.book.looked()
    first = it.book.servers("new")[0]
    assert (first.state, first.takes_traffic, first.why) == ("suspect", True, "silent for 5 s")
    assert first.phi is not None
    assert first.phi > 5


def test_an_ejected_server_says_for_how_long_and_then_it_is_on_trial() -> None:
    it = Kept()
    assert it.noticed(A, True, 1, for_s=2.0)
    first = it.book.servers("new")[0]
    assert (first.state, first.times, first.why) == ("ejected", 1, "5 failures in a row")
    assert first.ejected_until_s == pytest.approx(2.0)
    it.now += 3.0
    first = it.book.servers("new")[0]
    assert (first.state, first.ejected_until_s, first.takes_traffic) == ("trial", 0.0, False)


def test_a_server_that_is_back_warms_up() -> None:
    it = Kept()
    it.noticed(A, True, 1)
    it.noticed(A, False, 2)
    states = [it.states()[0]]
    it.now += PROBED.slow_start_s
    assert [*states, it.states()[0]] == ["warming", "up"]


def test_a_server_that_probes_have_seen_well_may_be_tried_at_once() -> None:
    it = Kept()
    it.noticed(A, True, 1, for_s=60.0)
    it.probed(A, *DEAD, "ok", "ok")
    first = it.book.servers("new")[0]
    assert (first.state, first.ejected_until_s) == ("trial", 0.0)


@pytest.mark.parametrize(("out", "epoch", "new"), [
    (True, 1, False), (False, 2, False), (True, 2, False), (False, 3, True), (True, 3, True)])
def test_only_newer_news_is_taken_in_and_of_the_same_age_out_holds(out: bool, epoch: int, new: bool) -> None:
    it = Kept()
    it.noticed(A, True, 2)
    assert it.noticed(A, out, epoch) == new


def test_a_server_that_traffic_has_put_out_comes_in_only_when_traffic_says_so() -> None:
    it = Kept()
    it.noticed(A, True, 1)
    it.probed(A, *DEAD, "ok", "ok")
    assert it.book.servers("new")[0].state == "trial"
    assert it.told() == [(A, True)]
    it.noticed(A, False, 2)
    assert [(turn.out, turn.by) for turn in it.turns] == [(True, "traffic"), (False, "traffic")]


def test_a_server_that_probes_have_put_out_comes_in_only_when_they_say_so() -> None:
    it = Kept()
    it.probed(A, *DEAD)
    it.noticed(A, True, 1)
    it.noticed(A, False, 2)
    assert it.book.servers("new")[0].state == "out"
    assert it.told() == [(A, True)]
    it.probed(A, "ok", "ok")
    assert [(turn.out, turn.by) for turn in it.turns] == [(True, "probe"), (False, "probe")]


heard_of_one = st.lists(
    st.sampled_from(["probe in", "probe out"]) | st.tuples(st.booleans(), st.integers(1, 6)), max_size=20)


@given(heard_of_one)
def test_what_was_told_last_of_a_server_is_whether_it_is_well(heard: list[str | tuple[bool, int]]) -> None:
    it = Kept()
    for each in heard:
        if isinstance(each, str):
            it.probed(A, *(("ok",) * 2 if each == "probe in" else DEAD))
        else:
            it.noticed(A, *each)
        told = [turn.out for turn in it.turns if turn.server]
        assert all(one != other for one, other in itertools.pairwise(told))
        assert (told or [False])[-1] == (it.book.servers("new")[0].state in ("out", "ejected", "trial"))


def test_silence_of_a_server_that_traffic_has_put_out_is_no_other_turn() -> None:
    it = Kept(replace(NEW, health=replace(PROBED, probe=Probe(phi_out=8.0))))
    it.probed(A, "ok", "ok")
    it.noticed(A, True, 1)
    it.now += 60.0
    assert it.book.looked()
    assert it.told().count((A, True)) == 1


def test_an_ejection_that_two_workers_see_at_once_is_one() -> None:
    it = Kept()
    it.noticed(A, True, 1, for_s=1.0)
    assert it.noticed(A, True, 1, for_s=1.2)
    assert it.book.ejections == {("new", A): 1}
    assert it.told() == [(A, True)]


def test_a_trial_that_failed_is_another_ejection_but_no_other_turn() -> None:
    it = Kept()
    it.noticed(A, True, 1)
    it.noticed(A, True, 2)
    assert it.book.ejections == {("new", A): 2}
    assert it.told() == [(A, True)]


news = st.builds(
    lambda server, out, epoch, until, times: Noticed("new", server, out, epoch, until if out else 0.0, times),
    st.sampled_from([A, ""]), st.booleans(), st.integers(1, 4), st.floats(0, 1e3), st.integers(0, 9))


@given(st.lists(news, max_size=12), st.randoms())
def test_in_whatever_order_news_come_the_same_is_known_in_the_end(heard: list[Noticed], chance: random.Random) -> None:
    one, other = Kept(), Kept()
    shuffled = chance.sample(heard, len(heard))
    for it, order in ((one, heard), (other, shuffled)):
        for each in order:
            it.book.noticed(each)
    assert list(one.book.newest()) == list(other.book.newest())


@given(st.lists(news, max_size=12))
def test_hearing_the_newest_anew_changes_nothing(heard: list[Noticed]) -> None:
    it = Kept()
    for each in heard:
        it.book.noticed(each)
    turns = len(it.turns)
    assert [it.book.noticed(each) for each in list(it.book.newest())].count(True) == 0
    assert len(it.turns) == turns


@pytest.mark.parametrize(("version", "server"), [("none", A), ("new", "http://10.9.9.9:80"), ("none", "")])
def test_news_of_what_is_not_configured_is_dropped(version: str, server: str) -> None:
    it = Kept()
    assert not it.noticed(server, True, 1, version=version)
    assert it.turns == []


def test_news_of_what_is_switched_off_is_dropped() -> None:
    it = Kept(replace(NEW, health=Health(ejection=None, breaker=None)))
    assert not it.noticed(A, True, 1)
    assert not it.noticed("", True, 1)


def test_a_version_without_a_server_is_down_and_its_share_goes_to_the_baseline() -> None:
    it = Kept()
    for server in (A, B):
        it.noticed(server, True, 1)
    for server in (C, D):
        it.probed(server, *DEAD)
    version = it.book.version("new")
    assert (version.state, version.why, version.until_s) == ("down", "no server is in", None)
    assert it.book.effective(ROUTE) == {"old": 1.0, "new": 0.0}
    assert it.told()[-1] == ("new", True)


def test_it_is_up_again_with_the_first_server_that_is() -> None:
    it = Kept(replace(NEW, servers=servers(1)))
    it.noticed(A, True, 1)
    it.noticed(A, False, 2)
    assert it.told() == [(A, True), ("new", True), (A, False), ("new", False)]
    assert it.book.version("new").state == "up"


def test_an_open_breaker_makes_a_version_down_and_says_until_when() -> None:
    it = Kept()
    it.noticed("", True, 1, for_s=2.0, why="60 % of 40 requests failed")
    version = it.book.version("new")
    assert (version.state, version.why) == ("down", "60 % of 40 requests failed")
    assert version.until_s == pytest.approx(2.0)
    assert [(server.state, server.takes_traffic) for server in it.book.servers("new")] == [("up", False)] * 4
    it.noticed("", False, 2)
    assert [server.takes_traffic for server in it.book.servers("new")] == [True] * 4
    assert it.told() == [("new", True), ("new", False)]


def test_below_its_part_of_well_servers_health_is_disregarded() -> None:
    it = Kept()
    for server in (A, B, C):
        it.noticed(server, True, 1)
    assert [server.takes_traffic for server in it.book.servers("new")] == [True] * 4
    version = it.book.version("new")
    assert (version.state, version.panic) == ("up", True)
    assert version.why == "too few servers are well: health is disregarded"


def test_what_an_operator_drained_is_shown_as_that_and_no_turn() -> None:
    it = Kept()
    it.configure(OLD, NEW, drained=(("new", A), ("old", A)))
    first = it.book.servers("new")[0]
    assert (first.state, first.takes_traffic, first.drained) == ("drained", False, True)
    assert it.book.version("old").state == "drained"
    assert it.book.effective(ROUTE) == {"old": 0.0, "new": 0.25}
    assert it.turns == []


def test_a_reload_keeps_what_is_known_of_servers_that_stay() -> None:
    it = Kept()
    it.probed(A, *DEAD)
    it.noticed(B, True, 1)
    it.noticed("", True, 1)
    it.configure(OLD, replace(NEW, servers=servers(2, 1, 9)))
    assert it.states() == ["ejected", "out", "up"]
    assert it.book.version("new").state == "down"
    assert it.book.probes == {("new", A, "timeout"): 3}


def test_a_reload_forgets_servers_that_leave() -> None:
    it = Kept()
    it.probed(A, *DEAD)
    it.noticed(A, True, 1)
    it.configure(OLD, replace(NEW, servers=servers(2)))
    assert (it.book.probes, it.book.ejections, it.book.out_by_probes(), list(it.book.newest())) == ({}, {}, (), [])
    it.configure(OLD, NEW)
    assert it.states() == ["up"] * 4


def test_another_way_of_probing_begins_anew() -> None:
    it = Kept()
    it.probed(A, *DEAD)
    before = dict(it.book.judges())
    it.configure(OLD, replace(NEW, health=replace(PROBED, probe=Probe(path="/other"))))
    after = dict(it.book.judges())
    assert it.states() == ["up"] * 4
    assert after["old", A] is before["old", A]
    assert after["new", A] is not before["new", A]


def test_another_breaker_keeps_it_open_and_none_closes_it() -> None:
    it = Kept()
    it.noticed("", True, 1)
    it.configure(OLD, replace(NEW, health=replace(PROBED, breaker=Breaker(share=0.1))))
    assert it.book.version("new").state == "down"
    it.configure(OLD, replace(NEW, health=replace(PROBED, breaker=None)))
    assert it.book.version("new").state == "up"


def test_the_newest_of_everything_is_known_for_those_who_start() -> None:
    it = Kept()
    it.noticed(A, True, 1)
    it.noticed(A, False, 2)
    it.noticed(B, True, 5)
    it.noticed("", True, 3)
    assert [(news.server, news.out, news.epoch) for news in it.book.newest()] == [
        (A, False, 2), (B, True, 5), ("", True, 3)]


def successor_of(it: Kept, *versions: Version) -> Kept:
    """A book that goes on from this one, for a configuration of its own if one is given."""
    return Kept(*versions, adopted=it.book.out_by_traffic())


def test_a_successor_knows_what_traffic_has_put_out_and_until_when_and_nothing_of_it_is_a_turn() -> None:
    it = Kept()
    it.noticed(A, True, 7, for_s=60.0)
    it.noticed(B, True, 1)
    it.noticed(B, False, 2)
    it.noticed("", True, 3, for_s=30.0, why="60 % of 40 requests failed")
    heir = successor_of(it)
    assert heir.states() == ["ejected", "up", "up", "up"]
    first, version = heir.book.servers("new")[0], heir.book.version("new")
    assert (first.ejected_until_s, first.times, first.why) == (60.0, 7, "5 failures in a row")
    assert (version.state, version.until_s, version.why) == ("down", 30.0, "60 % of 40 requests failed")
    assert [(news.server, news.epoch) for news in heir.book.newest()] == [(A, 7), ("", 3)]
    assert (heir.turns, heir.book.ejections) == ([], {})


def test_what_a_successor_adopted_is_told_when_it_comes_in_and_old_news_of_it_are_late() -> None:
    it = Kept(OLD, replace(NEW, servers=servers(1)))
    it.noticed(A, True, 7)
    heir = successor_of(it, OLD, replace(NEW, servers=servers(1)))
    assert not heir.noticed(A, False, 6)
    assert heir.noticed(A, False, 8)
    assert heir.told() == [(A, False), ("new", False)]


def test_a_version_whose_servers_are_all_out_is_down_for_a_successor_and_that_is_no_turn() -> None:
    it = Kept()
    for server in (A, B, C, D):
        it.noticed(server, True, 1)
    heir = successor_of(it)
    assert (heir.book.version("new").state, heir.turns) == ("down", [])


@pytest.mark.parametrize("version", [
    replace(NEW, servers=servers(2, 3)), replace(NEW, health=Health(ejection=None, breaker=None)),
    replace(NEW, name="newer")])
def test_a_successor_drops_what_its_configuration_has_no_more_or_judges_no_more(version: Version) -> None:
    it = Kept()
    it.noticed(A, True, 1)
    if version.health.breaker is None:
        it.noticed("", True, 1)
    heir = successor_of(it, OLD, version)
    assert (heir.states(version.name).count("up"), list(heir.book.newest())) == (len(version.servers), [])
    heir.configure(OLD, NEW)
    assert heir.states() == ["up"] * 4, "it is not known later, either"
    assert heir.book.version("new").state == "up"


def test_an_open_breaker_of_a_version_that_is_no_more_is_dropped() -> None:
    it = Kept()
    it.noticed("", True, 1)
    heir = successor_of(it, OLD)
    heir.configure(OLD, NEW)
    assert heir.book.version("new").state == "up"


def test_a_turn_says_until_when_in_wall_time() -> None:
    it = Kept()
    it.noticed(A, True, 1, for_s=2.0)
    assert it.turns == [Turn("new", A, True, "traffic", "5 failures in a row", 1e9 + 102.0)]


def test_what_is_not_configured_is_not_known() -> None:
    it = Kept()
    assert it.book.servers("none") == ()
    assert it.book.version("none").state == "up"
