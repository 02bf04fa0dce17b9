from __future__ import annotations

import os
import stat
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.controlplane.errors import StartError
from proxy.controlplane.journal.folder import last_holder
from proxy.controlplane.journal.journal import Journal, JournalError, StateError
from proxy.core.route import Shadow
from proxy.core.state import RouteState, State
from tests.support.journal_story import course, event, first_state, picture, with_split


def opened(folder: Path, keep: int = 1000) -> Journal:
    return Journal.open(str(folder), keep=keep)


def after_a_restart(folder: Path) -> tuple[State | None, list[str]]:
    """What a start finds there: the state, and the verbs of the events."""
    with closing(opened(folder)) as journal:
        return journal.state, [entry.verb for entry in journal.events()]


def test_a_new_journal_knows_nothing(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert (journal.state, journal.last_id, journal.events()) == (None, 0, [])
    journal.close()


def test_the_state_and_its_events_outlive_a_restart(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    first = first_state()
    second = with_split(first, "route-1", 12.5)
    written = journal.append([event(1, None, "start")], first) + journal.append([event(2, "route-1")], second)
    journal.close()
    again = opened(tmp_path)
    assert again.state == second
    assert tuple(again.events()) == written
    assert [entry.id for entry in written] == [1, 2]
    assert again.last_id == 2
    again.close()


def test_the_state_outlives_a_kill(tmp_path: Path) -> None:
    journal = opened(tmp_path / "live")
    state = first_state()
    journal.append([event(1)], state)
    killed = opened(picture(tmp_path / "live", tmp_path / "killed"))
    assert killed.state == state
    assert killed.events() == [replace(event(1), id=1)]
    killed.close()
    journal.close()


def test_everything_about_a_route_comes_back(tmp_path: Path) -> None:
    shadow = Shadow("é", 12.5, ("GET",))
    state = with_split(State(7, {"é/ \"'": RouteState(course(1 / 3, shadow), course(5e-324), 7, 3)}), "é/ \"'", 0.1)
    journal = opened(tmp_path)
    journal.append([], state)
    journal.close()
    assert after_a_restart(tmp_path)[0] == state


def test_what_is_drained_comes_back_and_what_is_restored_does_not(tmp_path: Path) -> None:
    one, other, whole = ("old", "http://[::1]:9001"), ("old", "unix:/run/é 'x\".sock"), ("new", "")
    journal = opened(tmp_path)
    state = replace(first_state(), drained=frozenset({one, other}))
    journal.append([event(1)], state)
    journal.append([event(2)], replace(state, revision=2, drained=frozenset({other, whole})), [])
    journal.close()
    found, _ = after_a_restart(tmp_path)
    assert found is not None
    assert found.drained == {other, whole}


def test_a_drain_that_cannot_be_written_is_not_known_here_either(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([event(1)], first_state())
    with pytest.raises(JournalError):
        journal.append([event(2)], replace(first_state(), revision=2, drained=frozenset({("old", "\ud800")})), [])
    assert journal.state == first_state()
    assert journal.last_id == 1
    journal.append([event(2)], replace(first_state(), revision=2, drained=frozenset({("old", "")})), [])
    journal.close()
    assert after_a_restart(tmp_path)[0] == journal.state


@pytest.mark.parametrize("told", [True, False])
def test_routes_that_come_change_and_go_are_followed(tmp_path: Path, told: bool) -> None:
    journal = opened(tmp_path)
    first = first_state(4)
    journal.append([], first)
    kept = {name: route for name, route in with_split(first, "route-2", 30.0).routes.items() if name != "route-0"}
    second = State(2, {**kept, "fresh": RouteState(course(1.0), course(1.0), 2)})
    journal.append([event(2)], second, ["route-0", "route-2", "fresh"] if told else None)
    third = with_split(second, "fresh", 2.0)
    journal.append([event(3)], third, ["fresh"] if told else None)
    journal.close()
    assert after_a_restart(tmp_path)[0] == third


def test_one_changed_route_of_a_thousand_costs_little(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    state = first_state(1000)
    journal.append([event(1)], state)
    log = tmp_path / "journal.db-wal"
    before = log.stat().st_size
    journal.append([event(2, "route-7")], with_split(state, "route-7", 5.0), ["route-7"])
    assert log.stat().st_size - before < 40_000
    journal.close()


def test_an_event_without_a_state_leaves_the_state(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    state = first_state()
    journal.append([event(1)], state)
    journal.append([event(1, None, "worker-replaced")], None)
    assert journal.state is state
    journal.close()
    assert after_a_restart(tmp_path) == (state, ["split", "worker-replaced"])


def test_events_are_found_by_id_and_by_route_in_both_orders(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([event(number, f"route-{number % 2}") for number in range(1, 11)], None)

    def ids(after: int = 0, limit: int = 100, route: str | None = None, newest_first: bool = False) -> list[int]:
        return [entry.id for entry in journal.events(after, limit, route, newest_first=newest_first)]

    assert ids() == list(range(1, 11))
    assert ids(after=3, limit=4) == [4, 5, 6, 7]
    assert ids(newest_first=True, limit=3) == [10, 9, 8]
    assert ids(after=8, newest_first=True) == [10, 9]
    assert ids(after=2, limit=3, route="route-1") == [3, 5, 7]
    assert ids(limit=2, route="route-0", newest_first=True) == [10, 8]
    assert ids(after=10) == ids(route="nobody") == ids(limit=0) == []
    journal.close()


def test_only_the_newest_events_are_kept_and_no_id_is_used_again(tmp_path: Path) -> None:
    journal = opened(tmp_path, keep=10)
    for number in range(25):
        journal.append([event(1)], None)
        assert len(journal.events()) == min(10, number + 1)
    assert [entry.id for entry in journal.events()] == list(range(16, 26))
    journal.close()
    again = opened(tmp_path, keep=1)
    assert [entry.id for entry in again.append([event(1)], None)] == [26]
    assert [entry.id for entry in again.events()] == [26]
    again.close()


def test_a_smaller_bound_is_reached_step_by_step(tmp_path: Path) -> None:
    journal = opened(tmp_path, keep=1000)
    journal.append([event(1)] * 500, None)
    journal.close()
    again = opened(tmp_path, keep=100)
    counts = []
    for _ in range(10):
        again.append([event(1)], None)
        counts.append(len(again.events(limit=1000)))
    assert counts[0] > 400
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 100
    again.close()


def test_the_write_ahead_log_is_bounded(tmp_path: Path) -> None:
    journal = opened(tmp_path, keep=50)
    for _ in range(200):
        journal.append([event(1, reason="x" * 20_000)] * 3, None)
    assert (tmp_path / "journal.db-wal").stat().st_size < 8 << 20
    assert (tmp_path / "journal.db").stat().st_size < 8 << 20
    journal.close()


def test_folder_and_files_are_their_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    before = os.umask(0o022)
    try:
        journal = opened(folder)
        journal.append([event(1)], first_state())
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    journal.close()
    assert modes == dict.fromkeys(("lock", "journal.db", "journal.db-shm", "journal.db-wal", "journal.mark"), 0o600)


def test_in_memory_everything_works_and_nothing_stays() -> None:
    journal = Journal.open(None, keep=2)
    state = first_state()
    journal.append([event(1)] * 3, state)
    assert journal.state == state
    assert [entry.id for entry in journal.events()] == [2, 3]
    assert journal.lock_fd is None
    journal.claim()
    journal.close()
    other = Journal.open(None, keep=2)
    assert other.state is None
    other.close()


def test_closing_twice_is_closing_once_and_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    state = first_state()
    journal.append([], state)
    journal.close()
    journal.close()
    assert journal.state is state
    with pytest.raises(JournalError, match="closed"):
        journal.append([], None)
    with pytest.raises(JournalError, match="closed"):
        journal.events()
    assert not (tmp_path / "journal.db-wal").exists()


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path: Path, weight: float) -> None:
    journal = opened(tmp_path)
    state = first_state()
    journal.append([event(1)], state)
    with pytest.raises(JournalError, match="no form"):
        journal.append([event(2)], with_split(state, "route-0", weight))
    with pytest.raises(JournalError, match="no form"):
        journal.append([event(2, "\ud800")], with_split(state, "route-0", 1.0))
    with pytest.raises(JournalError, match="no form"):
        journal.append([event(2), replace(event(2), revision=1 << 70)], None)
    assert journal.state is state
    assert journal.events() == [replace(event(1), id=1)]
    assert journal.append([event(2)], with_split(state, "route-0", 1.0))[0].id == 2
    journal.close()


def test_what_a_person_types_is_kept_whatever_it_is(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    reason = "\0 ' \" \\ ü 🚂 \x1b[31m " + "x" * 10_000
    journal.append([event(1, reason=reason), event(1, reason="\ud800")], None)
    assert [entry.reason for entry in journal.events()] == [reason, "\\ud800"]
    journal.close()


def test_threads_write_and_read_at_the_same_time(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    ids: list[int] = []

    def write() -> None:
        for _ in range(50):
            ids.extend(entry.id for entry in journal.append([event(1), event(1)], None))
            assert journal.events(newest_first=True, limit=1)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids) == list(range(1, 401))
    journal.close()


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(StartError, match=f"in use by process {os.getpid()}.*turnout upgrade") as refused:
        opened(tmp_path)
    assert not isinstance(refused.value, StateError)
    journal.append([event(1)], first_state())
    journal.close()
    opened(tmp_path).close()


def test_a_successor_takes_over_while_its_predecessor_has_the_journal_open(tmp_path: Path) -> None:
    before = opened(tmp_path)
    state = first_state()
    before.append([event(1)], state)
    assert before.lock_fd is not None
    after = Journal.open(str(tmp_path), keep=1000, lock_fd=os.dup(before.lock_fd))
    assert after.state == state
    state = with_split(state, "route-0", 9.0)
    after.append([event(2)], state)
    before.append([event(1, None, "left")], None)
    before.close()
    with pytest.raises(StartError, match="in use"):
        opened(tmp_path)
    after.append([event(2, None, "serving")], None)
    after.close()
    assert after_a_restart(tmp_path) == (state, ["split", "split", "left", "serving"])


def test_a_predecessor_cannot_overwrite_what_its_successor_has_changed(tmp_path: Path) -> None:
    before = opened(tmp_path)
    state = first_state()
    before.append([event(1)], state)
    assert before.lock_fd is not None
    after = Journal.open(str(tmp_path), keep=1000, lock_fd=os.dup(before.lock_fd))
    newest = with_split(state, "route-0", 9.0)
    after.append([event(2)], newest)
    with pytest.raises(JournalError, match="another process"):
        before.append([event(2)], with_split(state, "route-1", 1.0))
    after.close()
    assert len(before.events()) == 2
    before.close()
    assert after_a_restart(tmp_path)[0] == newest


def test_two_that_start_from_nothing_do_not_overwrite_each_other(tmp_path: Path) -> None:
    before = opened(tmp_path)
    assert before.lock_fd is not None
    after = Journal.open(str(tmp_path), keep=1000, lock_fd=os.dup(before.lock_fd))
    after.append([event(1)], first_state())
    with pytest.raises(JournalError, match="another process"):
        before.append([event(1)], first_state(1))
    after.close()
    before.close()


def test_the_descriptor_of_another_folder_is_no_hold(tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    opened(tmp_path / "here").close()
    assert other.lock_fd is not None
    with pytest.raises(StartError, match="was replaced"):
        Journal.open(str(tmp_path / "here"), keep=1, lock_fd=os.dup(other.lock_fd))
    other.close()


def test_the_holder_is_named_again_after_a_successor_has_failed(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    (tmp_path / "lock").write_text("4194304\n")
    journal.claim()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    journal.close()


def test_the_last_holder_is_known_after_its_end_and_nobody_is_where_nothing_can_be_read(tmp_path: Path) -> None:
    opened(tmp_path / "here").close()
    assert last_holder(str(tmp_path / "here")) == os.getpid()
    for nonsense in ("", "7", "-7\n", "seven\n", "1\n2\n", f"{'9' * 30}\n"):
        (tmp_path / "here" / "lock").write_text(nonsense)
        assert last_holder(str(tmp_path / "here")) == 0
    assert last_holder(str(tmp_path / "nowhere")) == last_holder(None) == 0


def test_a_change_waits_for_nobody_who_reads(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with journal._reading_lock:            # somebody reads, and takes long
        journal.append([event(1)], first_state())
    assert [each.verb for each in journal.events()] == ["split"]
    journal.close()
