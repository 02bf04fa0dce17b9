"""The comparer as a real process, fed over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from proxy.controlplane.comparer.door import open_door
from proxy.controlplane.comparer.process import COMPARER_COMMAND, NoAnswer
from proxy.ipc.frames import frame
from proxy.ipc.pairs import FRAME_LIMIT, Answered, Wanted
from proxy.telemetry import names as counted
from proxy.telemetry import shadowing
from tests.support.comparing import Bench, answered, pair, run, shadowed
from tests.support.deadline import until

ROOT = Path(__file__).resolve().parents[2]


def test_differences_are_grouped_by_endpoint_path_and_kind() -> None:
    async def test(it: Bench) -> None:
        worker = it.worker()
        worker.tell(*(pair({"price": 1, "n": n}, {"price": 2, "n": n}, target=b"/items/%d" % n) for n in range(10)))
        worker.tell(*(pair({"n": n}, {"n": n}, target=b"/about") for n in range(5)))
        report = await it.compared(15)
        assert (report["matched"], report["different"]) == (5, 10)
        assert [(one["endpoint"], one["compared"]) for one in report["endpoints"]] == [("/items/{}", 10), ("/about", 5)]
        (found,) = report["differences"]
        assert {name: found[name] for name in ("method", "endpoint", "path", "kind", "count", "rate", "verdict")} == {
            "method": "GET", "endpoint": "/items/{}", "path": "$.price", "kind": "value", "count": 10, "rate": 1.0,
            "verdict": "different"}
        assert found["samples"] == [{"at": 1_700_000_000.0, "id": "id-1", "primary": "1", "shadow": "2"}]

    run(test)


def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits() -> None:
    async def test(it: Bench) -> None:
        worker = it.worker()
        await asyncio.to_thread(worker.tell, *(pair({"n": n}, {"n": -n}) for n in range(1, 3_001)))
        await until(lambda: sum(it.sums.of(shadowing.COMPARED).values())
                    + it.sums.of(shadowing.DROPPED).get((), 0) == 3_000, "all are accounted for")
        dropped = it.sums.of(shadowing.DROPPED)[()]
        assert dropped > 0
        assert it.sums.of(counted.SHADOW_SKIPPED) == {("shop", "comparer_busy"): dropped}
        report = await it.compared(1)
        assert report["skipped"] == {"comparer_busy": dropped}

    run(test, more=("--queue", "20000"))


@pytest.mark.parametrize("garbage", [
    (FRAME_LIMIT + 1).to_bytes(4, "big"), frame(b"\xc1 no msgpack"), frame(msgspec.msgpack.encode(["pair", 1])),
    frame(msgspec.msgpack.encode({"type": "else"})), b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
], ids=["too-long", "no-msgpack", "no-pair", "no-message", "http"])
def test_who_sends_garbage_is_parted_from_and_the_others_are_heard(garbage: bytes) -> None:
    async def test(it: Bench) -> None:
        other, hostile = it.worker(), it.worker()
        other.tell(pair(1, 1))
        hostile.sock.sendall(garbage + frame(msgspec.msgpack.encode(pair(1, 2))))
        assert await hostile.ended()
        other.tell(pair(2, 2))
        report = await it.compared(2)
        assert report["different"] == 0

    run(test)


def test_connections_that_were_closed_for_what_they_sent_are_counted_once_each() -> None:
    async def test(it: Bench) -> None:
        for _ in range(2):
            hostile = it.worker()
            hostile.sock.sendall(frame(b"\xc1") * 3)
            assert await hostile.ended()
        await until(lambda: it.sums.of(shadowing.BROKEN).get(()) == 2, "both are counted")

    run(test)


def test_one_that_is_killed_is_followed_by_another_at_the_same_place() -> None:
    async def test(it: Bench) -> None:
        before = it.worker()
        before.tell(pair(1, 2))
        await it.compared(1)
        assert it.comparer.pid is not None
        os.kill(it.comparer.pid, signal.SIGKILL)
        await until(lambda: it.comparer.restarts == 1 and it.comparer.running, "there is another")
        assert await before.ended()
        after = it.worker()
        after.tell(pair(1, 1))
        report = await it.compared(1)
        assert (report["compared"], report["different"]) == (1, 0)
        assert it.events == [("comparer-replaced", None, "because it was ended by signal 9, restarts 1")]
        assert len(it.sums.gone) == 1

    run(test)


def test_it_leaves_when_its_supervisor_is_gone() -> None:
    ours, theirs = socket.socketpair()
    door, _ = open_door()
    with door, theirs:
        process = subprocess.Popen(
            [*COMPARER_COMMAND, "--channel", str(theirs.fileno()), "--listen", str(door.fileno())],
            pass_fds=[theirs.fileno(), door.fileno()], env={"PYTHONPATH": str(ROOT)})
    assert len(ours.recv(4)) == 4       # its first words: it works
    ours.close()
    assert process.wait(15.0) == 0


def test_questions_are_answered_while_pairs_keep_coming() -> None:
    async def test(it: Bench) -> None:
        body = {f"name{n}": n for n in range(200)}
        pairs = [pair(body, {**body, "name1": -1})] * 4_000
        flood = asyncio.create_task(asyncio.to_thread(it.worker().tell, *pairs), name="flood")
        answers = 0
        while not flood.done() or answers < 20:
            assert await it.comparer.ask("report", "shop") is not None    # or NoAnswer
            answers += 1
        await flood

    run(test)


def test_changed_rules_begin_afresh_and_others_go_on() -> None:
    async def test(it: Bench) -> None:
        worker = it.worker()
        worker.tell(pair({"a": 1}, {"a": 2}), pair({"a": 1}, {"a": 2}, route="cart"))
        await it.compared(1)
        await it.compared(1, "cart")
        it.configure(shadowed("shop", compare='{"ignore":["$.a"]}'), shadowed("cart"))
        worker.tell(pair({"a": 1}, {"a": 2}), pair({"a": 1}, {"a": 2}, route="cart"))
        cart = await it.compared(2, "cart")
        shop = await it.compared(1)
        assert (shop["compared"], shop["different"]) == (1, 0)
        assert cart["different"] == 2

    run(test, shadowed("shop"), shadowed("cart"))


def test_the_result_of_a_shadow_that_ended_can_be_read_until_it_is_cleared() -> None:
    async def test(it: Bench) -> None:
        it.worker().tell(pair(1, 2))
        await it.compared(1)
        it.configure(shadowed(to=None))
        assert (await it.compared(1))["different"] == 1
        assert await it.comparer.ask("clear", "shop") == {"cleared": True}
        assert await it.comparer.ask("report", "shop") is None

    run(test)


def test_a_pair_for_a_shadow_of_before_is_not_compared() -> None:
    async def test(it: Bench) -> None:
        it.worker().tell(pair(1, 2, to="older"), pair(1, 1, route="nobodys"), pair(1, 1))
        report = await it.compared(1)
        assert (report["different"], report["skipped"]) == (0, {"outdated": 1})

    run(test)


def test_summaries_have_results_ratio_durations_and_fields() -> None:
    async def test(it: Bench) -> None:
        slow = answered({"a": 1}, took_s=0.5)
        it.worker().tell(*[pair({"a": 1}, slow)] * 3, pair({"a": 1}, answered({"a": 1}, status=201)))
        await until(lambda: sum(it.sums.of(shadowing.COMPARED).values()) == 4, "all are summed up")
        assert it.sums.of(shadowing.COMPARED) == {("shop", "matched"): 3, ("shop", "different"): 1}
        assert it.sums.of(shadowing.MISMATCHES) == {("shop", "status"): 1}
        assert it.sums.fold.gauges(shadowing.MATCH_RATIO) == {("shop",): 0.75}
        durations = it.sums.fold.histograms(shadowing.DURATION)
        assert {labels: one.count for labels, one in durations.items()} == {("shop", "old"): 4, ("shop", "new"): 4}

    run(test)


def test_a_copy_that_got_no_answer_is_a_difference_and_has_no_duration() -> None:
    async def test(it: Bench) -> None:
        none = Answered(0, b"", b"closed", True, 0.0)
        it.worker().tell(pair({"a": 1}, {"a": 1}), pair({"a": 1}, none))
        await until(lambda: sum(it.sums.of(shadowing.COMPARED).values()) == 2, "both are summed up")
        assert it.sums.of(shadowing.COMPARED) == {("shop", "matched"): 1, ("shop", "different"): 1}
        durations = it.sums.fold.histograms(shadowing.DURATION)
        assert {labels: one.count for labels, one in durations.items()} == {("shop", "old"): 1, ("shop", "new"): 1}

    run(test)


def test_a_match_rate_that_falls_below_its_bound_is_told_once_and_so_is_its_return() -> None:
    async def test(it: Bench) -> None:
        worker = it.worker()
        worker.tell(*[pair(1, 2)] * 50, *[pair(1, 1)] * 50)
        await until(lambda: it.events, "the fall is told")
        worker.tell(*[pair(1, 1)] * 900)
        await until(lambda: len(it.events) == 2, "the return is told")
        assert [(verb, route) for verb, route, _ in it.events] == [
            ("shadow-mismatch", "shop"), ("shadow-match", "shop")]
        assert it.events[0][2] == ("50.00% of the answers match (50 of 100 in the last minute differ); "
                                   "the bound is 90%")

    run(test, shadowed(alert_below=0.9))


def test_workers_are_asked_for_requests_while_somebody_records() -> None:
    async def test(it: Bench) -> None:
        worker = it.worker()
        worker.tell(pair(1, 1))
        await it.compared(1)
        stream = it.comparer.record("shop", 1.0)
        assert stream is not None
        wanted = frame(msgspec.msgpack.encode(Wanted(("shop",))))
        assert await asyncio.to_thread(worker.sock.recv, 1024) == wanted
        late = it.worker()
        assert await asyncio.to_thread(late.sock.recv, 1024) == wanted
        late.tell(pair(1, 1), pair({"a": 1}, b"\xff", head=b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", target=b"/items/7"))
        lines = await stream.take(15.0)
        assert lines is not None
        line = msgspec.json.decode(lines)
        assert (line["endpoint"], line["target"], line["head"]) == ("/items/{}", "/items/7", {"Host": ["a"]})
        assert line["primary"]["body"] == {"text": '{"a": 1}'}
        assert line["shadow"]["body"] == {"base64": "/w=="}
        stream.close()
        assert await asyncio.to_thread(worker.sock.recv, 1024) == frame(msgspec.msgpack.encode(Wanted()))

    run(test)


def test_a_recording_ends_with_the_shadow_and_goes_on_with_another_comparer() -> None:
    async def test(it: Bench) -> None:
        stream = it.comparer.record("shop", 1.0)
        assert stream is not None
        it.comparer.kill("a test says so")
        await until(lambda: it.comparer.restarts == 1 and it.comparer.running, "there is another")
        it.worker().tell(pair(1, 1, head=b"GET / HTTP/1.1\r\n\r\n"))
        assert await stream.take(15.0)
        it.configure(shadowed(to=None))
        assert await stream.take(15.0) is None

    run(test)


def test_what_a_predecessor_knew_goes_on_in_its_successor() -> None:
    async def test(it: Bench) -> None:
        it.worker().tell(pair({"a": 1}, {"a": 2}), pair(1, 1))
        before = await it.compared(2)
        saved = msgspec.json.decode(msgspec.json.encode(await it.comparer.save()))    # as the line carries it
        later = Bench(COMPARER_COMMAND)
        later.comparer.inherit(saved)
        later.configure(shadowed())
        try:
            await later.running()
            after = await later.compared(2)
            later.worker().tell(pair(1, 1))
            await later.compared(3)
            await until(lambda: later.sums.of(shadowing.COMPARED), "a summary came")
            counted_there = later.sums.of(shadowing.COMPARED)
        finally:
            await later.stop()
        assert after == before
        assert counted_there == {("shop", "matched"): 1}

    run(test)


def test_nobody_answers_where_none_runs() -> None:
    async def test(it: Bench) -> None:
        await it.comparer.stop()
        with pytest.raises(NoAnswer):
            await it.comparer.ask("report", "shop")
        assert await it.comparer.save() == {}

    run(test)


def test_one_that_stands_still_does_not_answer_in_time() -> None:
    async def test(it: Bench) -> None:
        assert it.comparer.pid is not None
        os.kill(it.comparer.pid, signal.SIGSTOP)
        with pytest.raises(NoAnswer):
            await it.comparer.ask("report", "shop")

    run(test)


def test_it_yields_to_workers() -> None:
    async def test(it: Bench) -> None:
        assert it.comparer.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, it.comparer.pid) >= 10

    run(test)
