from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.core.overload.waiting import STANDS, WaitingRoom
from tests.support.exploring import examples

LOW, NORMAL, HIGH = 0, 1, 2


def a_room(most: int = 10, wait_s: float = 1.0) -> WaitingRoom[str]:
    return WaitingRoom(most, wait_s)


def served(room: WaitingRoom[str], now: float) -> list[str]:
    """All who are given a place at `now`, in their order."""
    order = []
    while (waiter := room.next(now)) is not None:
        order.append(waiter)
    return order


def test_first_come_first_served() -> None:
    room = a_room()
    for at, waiter in enumerate("abc"):
        assert room.enter(waiter, NORMAL, at / 10) is None
    assert served(room, 0.3) == ["a", "b", "c"]


def test_the_higher_priority_is_first() -> None:
    room = a_room()
    for waiter, priority in (("a", LOW), ("b", NORMAL), ("c", HIGH), ("d", NORMAL)):
        room.enter(waiter, priority, 0.0)
    assert served(room, 0.1) == ["c", "b", "d", "a"]


def test_in_a_queue_that_stands_the_last_come_are_first() -> None:
    room = a_room()
    for at in range(6):
        room.enter(str(at), NORMAL, at / 10)
    assert served(room, STANDS + 0.01) == ["5", "4", "3", "2", "1", "0"]


def test_once_it_was_empty_the_queue_is_first_come_first_served_again() -> None:
    room = a_room()
    room.enter("a", NORMAL, 0.0)
    assert served(room, 0.9) == ["a"]
    room.enter("b", NORMAL, 0.9)
    room.enter("c", NORMAL, 0.95)
    assert served(room, 1.0) == ["b", "c"]


def test_a_standing_queue_of_one_priority_does_not_turn_another_one_round() -> None:
    room = a_room()
    room.enter("low", LOW, 0.0)
    room.enter("a", HIGH, 0.8)
    room.enter("b", HIGH, 0.85)
    assert served(room, 0.9) == ["a", "b", "low"]


def test_in_a_full_room_the_oldest_of_the_lowest_priority_goes() -> None:
    room = a_room(most=3)
    for waiter, priority in (("a", NORMAL), ("b", LOW), ("c", LOW)):
        room.enter(waiter, priority, 0.0)
    assert room.enter("d", NORMAL, 0.1) == "b"
    assert room.enter("e", LOW, 0.1) == "c"
    assert "b" not in room
    assert len(room) == 3


def test_who_has_a_lower_priority_than_all_in_a_full_room_is_refused() -> None:
    room = a_room(most=1)
    room.enter("a", NORMAL, 0.0)
    assert room.enter("b", LOW, 0.1) == "b"
    assert served(room, 0.1) == ["a"]


def test_who_is_late_goes_before_anybody_else_whatever_the_priority() -> None:
    room = a_room(most=2)
    room.enter("a", HIGH, 0.0)
    room.enter("b", LOW, 0.5)
    assert room.enter("c", LOW, 1.0) == "a"


def test_without_room_nobody_waits() -> None:
    room = a_room(most=0)
    assert room.enter("a", HIGH, 0.0) == "a"
    assert len(room) == 0


def test_a_room_made_smaller_lets_nobody_in_until_it_is_so_small() -> None:
    room = a_room(most=3)
    for waiter in "abc":
        room.enter(waiter, NORMAL, 0.0)
    room.most = 2
    assert room.enter("d", HIGH, 0.0) == "d"
    room.leave("a")
    assert room.enter("d", HIGH, 0.0) == "b"


def test_nobody_gets_a_place_whose_time_is_up() -> None:
    room = a_room()
    room.enter("a", HIGH, 0.0)
    room.enter("b", LOW, 0.5)
    assert served(room, 1.0) == ["b"]
    assert "a" in room, "somebody has to tell it"


def test_the_late_are_told_once() -> None:
    room = a_room()
    for at, waiter in enumerate("abc"):
        room.enter(waiter, at, at / 10)
    assert room.late(0.99) == []
    assert room.late(1.1) == ["a", "b"]
    assert room.late(1.1) == []


def test_who_has_left_is_not_served() -> None:
    room = a_room()
    room.enter("a", NORMAL, 0.0)
    assert room.leave("a")
    assert not room.leave("a")
    assert room.next(0.1) is None


def test_nobody_waits_twice() -> None:
    room = a_room()
    room.enter("a", NORMAL, 0.0)
    with pytest.raises(ValueError, match="already"):
        room.enter("a", HIGH, 0.1)


def test_a_place_for_one_kind_is_given_to_the_first_of_it() -> None:
    room = a_room()
    for at, (waiter, priority, kind) in enumerate((("a", NORMAL, 0), ("b", NORMAL, 1), ("c", HIGH, 0), ("d", NORMAL, 2),
                                                   ("e", LOW, 1))):
        room.enter(waiter, priority, at / 100, kind)
    assert room.next(0.1, {3}) is None
    assert [room.next(0.1, {1, 2}) for _ in range(4)] == ["b", "d", "e", None]
    assert served(room, 0.1) == ["c", "a"]


def test_in_a_queue_that_stands_the_last_come_of_a_kind_is_first() -> None:
    room = a_room()
    for at, kind in enumerate((1, 1, 0, 1, 0)):
        room.enter(str(at), NORMAL, at / 10, kind)
    assert [room.next(STANDS + 0.01, {1}) for _ in range(4)] == ["3", "1", "0", None]
    assert served(room, STANDS + 0.01) == ["4", "2"]


@pytest.mark.parametrize("now", [0.4, 0.8])
def test_who_is_back_has_its_old_place(now: float) -> None:
    room = a_room()
    for at, waiter in enumerate("abcd"):
        room.enter(waiter, NORMAL, at / 10)
    first = room.next(now)
    assert first == ("a" if now < STANDS else "d")
    room.back(first, NORMAL, "abcd".index(first) / 10)
    assert served(room, now) == (list("abcd") if now < STANDS else list("dcba"))


def test_who_is_back_as_another_is_among_those_who_came_when_it_did() -> None:
    room = a_room()
    room.enter("a", NORMAL, 0.0)
    for at, waiter in enumerate("bcd", 1):
        room.enter(waiter, HIGH, at / 10, kind=1)
    assert room.next(0.4, {0}) == "a"
    room.enter("x", NORMAL, 0.4)
    assert room.next(0.4, {0}) == "x"
    room.back("a", HIGH, 0.25, kind=1)
    room.back("x", HIGH, 0.4, kind=0)
    assert served(room, 0.45) == ["b", "c", "a", "d", "x"]


def test_who_is_back_is_late_when_it_would_have_been() -> None:
    room = a_room(most=2)
    room.enter("a", NORMAL, 0.0)
    room.enter("b", NORMAL, 0.9)
    assert room.next(0.95, {0}) == "b"
    room.leave("a")
    room.back("b", NORMAL, 0.9)
    assert room.late(1.85) == []
    assert room.late(1.95) == ["b"]


def test_who_is_back_goes_for_nobody_and_is_no_one_else() -> None:
    room = a_room(most=2)
    for waiter in "ab":
        room.enter(waiter, NORMAL, 0.0)
    room.most = 1
    assert room.next(0.1) == "a"
    room.back("a", NORMAL, 0.0)
    assert len(room) == 2
    with pytest.raises(ValueError, match="already"):
        room.back("a", NORMAL, 0.0)


def test_very_many_are_served_in_their_order() -> None:
    room: WaitingRoom[int] = WaitingRoom(40_000, 1.0)
    for waiter in range(40_000):
        room.enter(waiter, NORMAL, 0.0)
    assert [room.next(0.1) for _ in range(40_000)] == list(range(40_000))


class OneRoom(RuleBasedStateMachine):
    """Against a naive model: a list of (waiter, priority, entered, kind)."""

    @initialize(most=st.integers(0, 6), wait_s=st.sampled_from([0.5, 2.0]))
    def begin(self, most: int, wait_s: float) -> None:
        self.room: WaitingRoom[int] = WaitingRoom(most, wait_s)
        self.most, self.wait_s = most, wait_s
        self.now = 0.0
        self.names = 0
        self.waiting: list[tuple[int, int, float, int]] = []
        self.stands_since: dict[int, float] = {}

    def remove(self, waiter: int) -> None:
        self.waiting = [each for each in self.waiting if each[0] != waiter]
        left = {priority for _, priority, _, _ in self.waiting}
        self.stands_since = {priority: at for priority, at in self.stands_since.items() if priority in left}

    def is_late(self, each: tuple[int, int, float, int]) -> bool:
        return self.now - each[2] >= self.wait_s

    @rule(passed_s=st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 5.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s

    @rule(priority=st.integers(0, 2), times=st.integers(1, 4), kind=st.integers(0, 2))
    def some_come(self, priority: int, times: int, kind: int) -> None:
        for _ in range(times):
            self.names += 1
            goes = None
            if len(self.waiting) >= self.most:
                late = [each for each in self.waiting if self.is_late(each)]
                others = [each for each in self.waiting if each[1] <= priority]
                goes = min(late or others, key=lambda each: (each[1], each[2], each[0]), default=(self.names,))[0]
            if goes != self.names:
                if goes is not None:
                    self.remove(goes)
                self.waiting.append((self.names, priority, self.now, kind))
                self.stands_since.setdefault(priority, self.now)
            assert self.room.enter(self.names, priority, self.now, kind) == goes

    @rule(kinds=st.none() | st.sets(st.integers(0, 2)))
    def a_place_is_free(self, kinds: set[int] | None) -> None:
        expected = None
        for priority in (2, 1, 0):
            lane = [each for each in self.waiting if each[1] == priority and (kinds is None or each[3] in kinds)]
            in_time = [each for each in lane if not self.is_late(each)]
            if in_time:
                pressed = self.now - self.stands_since[priority] > STANDS * self.wait_s
                expected = in_time[-1 if pressed else 0][0]
                break
        if expected is not None:
            self.remove(expected)
        assert self.room.next(self.now, kinds) == expected

    @rule()
    def somebody_sweeps(self) -> None:
        late = {each[0] for each in self.waiting if self.is_late(each)}
        for waiter in late:
            self.remove(waiter)
        told = self.room.late(self.now)
        assert set(told) == late
        assert len(told) == len(late)

    @rule(which=st.integers(0, 5))
    def somebody_leaves(self, which: int) -> None:
        if which < len(self.waiting):
            waiter = self.waiting[which][0]
            self.remove(waiter)
            assert self.room.leave(waiter)

    @invariant()
    def they_agree(self) -> None:
        assert len(self.room) == len(self.waiting) <= self.most
        assert all(each[0] in self.room for each in self.waiting)


OneRoom.TestCase.settings = examples(80, steps=40)
test_a_room_behaves_like_a_naive_model_of_it = OneRoom.TestCase
