from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proxy.comparison.answers import fields_of
from proxy.comparison.backlog import Backlog
from proxy.comparison.book import Book
from proxy.comparison.recording import MOST_WAITING, Recording, line_of
from proxy.comparison.shelf import FEW, MOST_KEPT, Shelf
from proxy.comparison.telling import tell
from proxy.ipc.comparing import Record, Recorded, Watched
from proxy.ipc.pairs import Answered
from tests.support.comparing import JSON_HEAD, pair

SHOP = Watched("shop", "new", False, "{}")


@given(st.lists(st.one_of(st.none(), st.binary(max_size=2_000))))
def test_the_backlog_never_holds_more_than_it_may_and_keeps_the_order(steps: list[bytes | None]) -> None:
    backlog: Backlog[str] = Backlog(5_000)
    held: list[bytes] = []
    for step in steps:
        if step is not None:
            if backlog.put("a", step):
                held.append(step)
        elif held:
            assert backlog.take() == ("a", held.pop(0))
        assert backlog.bytes <= 5_000
        assert sum(map(len, held)) <= backlog.bytes
        assert len(backlog) == len(held)


@given(st.binary())
def test_whatever_a_head_is_its_fields_are_read(head: bytes) -> None:
    assert all(b":" not in name for name, _ in fields_of(head))


def test_fields_lose_their_blanks_and_keep_their_order() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: 1 \r\nb:2\r\nA:\t3\r\n\r\n"
    assert fields_of(head) == ((b"A", b"1"), (b"b", b"2"), (b"A", b"3"))


def test_news_are_told_once_also_when_templates_are_brought_together() -> None:
    book = Book(SHOP, 0.0)
    for number in range(40):
        book.take(pair({"a": 1}, {"a": 2}, target=b"/pages/" + bytes([97 + number % 26]) * (number // 26 + 1)))
        if number == 20:
            assert book.news(1.0).different == 21
            assert book.new_mismatches() == {"body:value": 21}
    assert book.news(2.0).different == 19
    assert book.new_mismatches() == {"body:value": 19}
    assert book.new_mismatches() == {}
    assert list(book.groups.endpoints) == ["GET /pages/{}"]


def test_the_window_forgets_after_a_minute() -> None:
    book = Book(SHOP, 0.0)
    book.take(pair(1, 2))
    book.news(0.0)
    book.take(pair(1, 1))
    book.news(30.0)
    assert book.window(59.0) == (2, 1)
    assert book.window(61.0) == (1, 1)
    assert book.window(91.0) == (0, 0)


def test_results_of_shadows_that_ended_are_kept_within_a_bound() -> None:
    shelf = Shelf()
    shelf.configure([Watched(f"route{n}", "new", False, "{}") for n in range(MOST_KEPT + 5)], 0.0)
    shelf.configure([], 1.0)
    assert len(shelf.kept) == MOST_KEPT
    assert "route0" not in shelf.kept


def test_a_route_that_comes_back_as_it_was_goes_on_with_its_result() -> None:
    shelf = Shelf()
    shelf.configure([SHOP], 0.0)
    shelf.take(pair(1, 2))
    shelf.configure([], 1.0)
    shelf.configure([SHOP], 2.0)
    assert (tell(shelf, "report", "shop", {}, 3.0) or {})["compared"] == 1
    shelf.configure([Watched("shop", "newer", False, "{}")], 4.0)
    assert (tell(shelf, "report", "shop", {}, 5.0) or {})["compared"] == 0


def test_a_book_that_gives_way_keeps_its_most_frequent_groups() -> None:
    book = Book(SHOP, 0.0)
    for number in range(600):
        often = {"often": 2}
        book.take(pair({"often": 1}, {**often, "x" * (number % 25 + 1): 1}, target=b"/"))
    before = book.groups.bytes
    book.shrink()
    assert book.groups.bytes <= before // 2
    assert "$.often" in {key.path for key, _ in book.groups.items()}


def test_books_that_forget_places_compare_as_before() -> None:
    shelf = Shelf()
    shelf.configure([Watched(f"route{n}", "new", False, '{"ignore":["$.a"]}') for n in range(FEW + 1)], 0.0)
    for _ in range(2):
        shelf.take(pair({"a": 1, "b": 1}, {"a": 2, "b": 2}, route="route0"))
        shelf.make_room()
    report = tell(shelf, "report", "route0", {}, 1.0)
    assert report is not None
    assert [(one["path"], one["count"]) for one in report["differences"]] == [("$.b", 2)]


def test_differences_can_be_asked_for_by_endpoint_path_and_kind() -> None:
    shelf = Shelf()
    shelf.configure([SHOP], 0.0)
    for target, one, other in ((b"/a", {"x": 1}, {"x": 2}), (b"/b", {"x": 1}, {"x": "1"}), (b"/b", {"y": 1}, {})):
        shelf.take(pair(one, other, target=target))

    def asked(**options: object) -> set[tuple[str, str, str]]:
        found = tell(shelf, "differences", "shop", options, 1.0)
        assert found is not None
        return {(one["endpoint"], one["path"], one["kind"]) for one in found["differences"]}

    assert len(asked()) == 3
    assert asked(endpoint="/a") == asked(endpoint="GET /a") == {("/a", "$.x", "value")}
    assert asked(path="$.y") == {("/b", "$.y", "missing")}
    assert asked(kind="type") == {("/b", "$.x", "type")}
    assert (tell(shelf, "differences", "shop", {"limit": 1}, 1.0) or {})["more"] == 2


def test_a_recorded_request_says_why_its_body_is_not_there() -> None:
    request = b"POST / HTTP/1.1\r\n\r\n"
    streamed = structs.replace(pair(b"", b"", head=request), body_left_out="streamed")
    assert json.loads(line_of(streamed, "/"))["body"] == {"left_out": "streamed"}
    assert json.loads(line_of(structs.replace(streamed, body_left_out=""), "/"))["body"] == {"text": ""}


def test_a_slow_reader_of_a_recording_loses_lines_that_are_counted() -> None:
    told: list[Recorded] = []
    takes = False

    def send(recorded: Recorded) -> bool:
        if takes:
            told.append(recorded)
        return takes

    recording = Recording(send)
    recording.begin(Record(1, "shop", 1.0))
    one = pair(b"x" * 100_000, b"", head=b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(20):
        recording.take(one, "/")
        recording.flush()
    takes = True
    recording.flush()
    (recorded,) = told
    assert sum(map(len, recorded.lines)) <= MOST_WAITING
    assert len(recorded.lines) + recorded.lost == 20
    assert recorded.lost > 0


def test_a_sample_takes_a_part_and_only_of_its_route() -> None:
    told: list[Recorded] = []
    draws = iter([0.05, 0.5, 0.09])

    def send(recorded: Recorded) -> bool:
        told.append(recorded)
        return True

    recording = Recording(send, lambda: next(draws))
    recording.begin(Record(1, "shop", 0.1))
    for route in ("shop", "cart", "shop", "shop"):
        recording.take(pair(1, 1, route=route, head=b"GET / HTTP/1.1\r\n\r\n"), "/")
    recording.flush()
    assert [len(recorded.lines) for recorded in told] == [2]


def test_a_body_that_was_cut_is_skipped_by_a_name_of_its_own() -> None:
    shelf = Shelf()
    shelf.configure([SHOP], 0.0)
    shelf.take(pair({"a": 1}, Answered(200, JSON_HEAD, b"{", False, 0.1)))
    report = tell(shelf, "report", "shop", {}, 1.0)
    assert report is not None
    assert (report["compared"], report["skipped"]) == (0, {"answer_cut": 1})
    assert report["endpoints"][0]["skipped"] == {"answer_cut": 1}
    assert shelf.books["shop"].new_skips(shelf.books["shop"].news(0.0)) == {"answer_cut": 1}
