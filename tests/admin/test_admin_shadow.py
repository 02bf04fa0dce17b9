"""What the API tells of shadows, with a comparer that really compares."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from proxy.admin.control import Patience
from proxy.admin.shadow_views import Copies
from proxy.controlplane.comparer.recordings import MOST_STREAMS
from proxy.ipc.messages import Stats
from proxy.telemetry import names as counted
from proxy.telemetry.fold import Fold
from proxy.telemetry.scope import Scope
from tests.support.admin import OPERATOR, VIEWER, Asked, asked, run, settings
from tests.support.comparing import Worker, pair
from tests.support.deadline import WITHIN_S, until

SHADOW = "/api/v1/routes/shop/shadow"
HEAD = b"GET /items/1 HTTP/1.1\r\nHost: shop.example\r\n\r\n"


def shadowed(test: Callable[[Asked, Worker], Awaitable[None]], *, tokens: bool = False,
             patience: Patience = Patience()) -> None:  # noqa: B008  it is frozen
    """Run a test with a shadow of `shop`, and a worker that tells the comparer what it likes."""

    async def main(it: Asked) -> None:
        it.token = OPERATOR if tokens else None
        assert (await it.ask("PATCH", SHADOW, {"to": "new", "percent": 100})).status == 200
        comparer = it.control.comparer
        assert comparer is not None
        await until(lambda: comparer.running, "the comparer works")
        worker = Worker(it.control.supervisor.snapshot.comparer)
        with worker.sock:
            await test(it, worker)

    run(main, settings(tokens=tokens), patience=patience)


async def compared(it: Asked, count: int) -> dict[str, object]:
    """The report, once so many pairs were compared."""
    while True:
        report = (await it.get(SHADOW)).body
        if report["totals"]["compared"] >= count:
            return dict(report)
        await asyncio.sleep(0.01)


def test_without_a_shadow_the_report_says_so_at_once() -> None:
    async def test(it: Asked) -> None:
        report = (await it.get(SHADOW)).body
        assert (report["shadow"], report["fraction"], report["differences"]) == (None, 1.0, [])
        assert report["comparer"] == {"running": False, "restarts": 0, "since": None, "dropped": 0}
        assert report["totals"] == {
            "copied": 0, "compared": 0, "matched": 0, "different": 0, "noisy": 0, "skipped": {}, "match_rate": None,
            "latency": {side: {"p50_ms": None, "p99_ms": None} for side in ("primary", "shadow", "later")}}
        assert (await it.get(f"{SHADOW}/differences")).body == {"differences": [], "more": 0}
        assert (await it.get(f"{SHADOW}/rules")).body == {
            "ignore": [], "unordered": [], "because": {}, "control": False}

    run(test)


def test_the_report_has_totals_endpoints_and_the_most_frequent_differences() -> None:
    async def test(it: Asked, worker: Worker) -> None:
        worker.tell(*[pair({"a": 1}, {"a": 2})] * 3, pair({"a": 1}, {"a": 1}))
        report = await compared(it, 4)
        assert report["shadow"] == {"to": "new", "percent": 100.0, "methods": ["GET", "HEAD"]}
        totals, endpoints, differences = report["totals"], report["endpoints"], report["differences"]
        assert isinstance(totals, dict)
        assert isinstance(differences, list)
        assert (totals["matched"], totals["different"], totals["match_rate"]) == (1, 3, 0.25)
        assert 9 < totals["latency"]["shadow"]["p99_ms"] < 12
        assert 0 < totals["latency"]["later"]["p50_ms"] < totals["latency"]["shadow"]["p50_ms"]
        assert endpoints == [{"endpoint": "/items/{}", "method": "GET", "compared": 4, "matched": 1, "different": 3,
                              "skipped": {}}]
        assert [(one["path"], one["kind"], one["count"], one["rate"], one["control_rate"], one["verdict"])
                for one in differences] == [("$.a", "value", 3, 0.75, None, "different")]

    shadowed(test)


def test_copies_and_skips_of_the_workers_are_in_the_report_until_it_is_cleared() -> None:
    async def test(it: Asked, worker: Worker) -> None:
        it.control.supervisor.count(1, Stats(1, [
            (counted.SHADOW_REQUESTS, ("shop", "answered"), 7), (counted.SHADOW_REQUESTS, ("shop", "timeout"), 1),
            (counted.SHADOW_SKIPPED, ("shop", "in-flight"), 2), (counted.SHADOW_REQUESTS, ("api", "answered"), 9),
        ], [(counted.SHADOW_FRACTION, ("shop",), 0.5)]))
        it.control.supervisor.count(2, Stats(1, [], [(counted.SHADOW_FRACTION, ("shop",), 0.75)]))
        worker.tell(pair(1, 2))
        report = await compared(it, 1)
        assert isinstance(report["totals"], dict)
        assert (report["totals"]["copied"], report["totals"]["skipped"]) == (8, {"in-flight": 2})
        assert report["fraction"] == 0.5
        assert (await it.ask("DELETE", f"{SHADOW}/differences")).body == {"cleared": True}
        report = (await it.get(SHADOW)).body
        assert (report["totals"]["copied"], report["totals"]["skipped"], report["totals"]["compared"]) == (0, {}, 0)
        await it.control.commands.flush()
        assert [event.author.name for event in it.control.journal.events() if event.verb == "shadow-cleared"] == [
            "loopback"]

    shadowed(test)


def sums(fold: Fold, answered: int, shed: int) -> None:
    fold.add(1, [(counted.SHADOW_REQUESTS, ("shop", "answered"), answered),
                 (counted.SHADOW_SKIPPED, ("shop", "shed"), shed)], (), ())


def test_what_was_cleared_stays_so_in_a_successor() -> None:
    before, after = Fold(), Fold()
    sums(before, 3_601, 9)
    Copies(before).clear("shop")
    sums(before, 2, 0)
    Copies(before).clear("shop")
    sums(before, 5, 1)
    after.restore(json.loads(json.dumps(before.dump())))
    assert Copies(before).of("shop") == Copies(after).of("shop") == (5, {"shed": 1})


def test_sums_that_have_begun_again_are_not_measured_by_an_older_clear() -> None:
    fold = Fold()
    sums(fold, 1_000, 0)
    Copies(fold).clear("shop")
    fold.retain(Scope([("api", "old")], []))
    sums(fold, 10, 0)
    assert Copies(fold).of("shop") == (10, {})
    sums(fold, 2_000, 0)
    assert Copies(fold).of("shop") == (2_010, {})


def test_there_are_never_more_comparisons_than_copies() -> None:
    """The comparer tells of a pair before the worker's next report does."""
    async def test(it: Asked, worker: Worker) -> None:
        worker.tell(*[pair(1, 1)] * 3)
        report = await compared(it, 3)
        assert isinstance(report["totals"], dict)
        assert report["totals"]["copied"] == 3

    shadowed(test)


def test_differences_are_narrowed_by_what_the_query_says() -> None:
    async def test(it: Asked, worker: Worker) -> None:
        worker.tell(*[pair({"a": 1, "b": 1}, {"a": 2})] * 5)
        await compared(it, 5)

        async def asked(query: str) -> list[tuple[str, int]]:
            answer = (await it.get(f"{SHADOW}/differences?{query}")).body
            return [(one["path"], len(one["samples"])) for one in answer["differences"]]

        assert await asked("samples=0") == [("$.a", 0), ("$.b", 0)]
        assert await asked("kind=missing&samples=20") == [("$.b", 5)]
        assert await asked("endpoint=/items/{}&path=$.a") == [("$.a", 3)]
        assert await asked("endpoint=/nothing") == []
        assert (await it.get(f"{SHADOW}/differences?limit=1")).body["more"] == 1

    shadowed(test)


@pytest.mark.parametrize(("query", "place"), [
    ("samples=21", "samples"), ("limit=0", "limit"), ("kind=else", "kind"), ("all=yes", "all"), ("path=", "path"),
    ("endpoint=" + "x" * 1025, "endpoint"), ("since=1", "since"),
])
def test_a_query_that_means_nothing_is_refused_with_its_place(query: str, place: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get(f"{SHADOW}/differences?{query}")
        assert answer.status == 400
        assert list(answer.faults) == [place]

    run(test)


@pytest.mark.parametrize("sample", ["0", "0.0", "1.1", "-1", "x", "", ".", "1e5", "nan", "2"])
def test_a_sample_is_a_part(sample: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get(f"{SHADOW}/record?sample={sample}")
        assert list(answer.faults) == ["sample"]

    run(test)


def test_recorded_pairs_come_as_json_lines_and_blank_lines_say_that_it_is_alive() -> None:
    async def test(it: Asked, worker: Worker) -> None:
        async with it.session.get(f"{it.base}{SHADOW}/record", timeout=None) as response:
            assert response.content_type == "application/x-ndjson"
            assert await response.content.readline() == b"\n"
            worker.tell(pair({"a": 1}, {"a": 2}, head=HEAD))
            while (line := await asyncio.wait_for(response.content.readline(), WITHIN_S)) == b"\n":
                pass        # it beats until there is something
            recorded = json.loads(line)
            assert (recorded["method"], recorded["target"], recorded["endpoint"]) == ("GET", "/items/1", "/items/{}")
            assert (recorded["version"], recorded["to"]) == ("old", "new")
            assert recorded["shadow"]["body"] == {"text": '{"a": 2}'}
            assert await asyncio.wait_for(response.content.readline(), WITHIN_S) == b"\n"
            assert (await it.ask("PATCH", SHADOW, {"to": None})).status == 200
            rest = await asyncio.wait_for(response.content.read(), WITHIN_S)
            assert rest.strip() == b'{"ended":"off"}'

    shadowed(test, patience=Patience(lines_s=0.05))


def test_a_recording_says_when_this_process_leaves_and_a_successor_is_to_be_asked() -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as outside:
            async with asked(patience=Patience(lines_s=WITHIN_S)) as it:
                assert (await it.ask("PATCH", SHADOW, {"to": "new", "percent": 100})).status == 200
                response = await outside.get(f"{it.base}{SHADOW}/record", timeout=None)
                assert await response.content.readline() == b"\n"
            assert await asyncio.wait_for(response.content.read(), WITHIN_S) == b'{"ended":"leaving"}\n'

    asyncio.run(main())


def test_a_recording_by_a_token_that_is_taken_away_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPERATOR_TOKEN", "another-token-0123456789")
    monkeypatch.setenv("VIEWER_TOKEN", VIEWER)

    async def test(it: Asked) -> None:
        it.token = OPERATOR
        assert (await it.ask("PATCH", SHADOW, {"to": "new", "percent": 100})).status == 200
        fields = {"Authorization": f"Bearer {OPERATOR}"}
        async with it.session.get(f"{it.base}{SHADOW}/record", headers=fields, timeout=None) as response:
            assert await response.content.readline() == b"\n"
            assert (await it.ask("POST", "/api/v1/config/reload")).status == 200
            rest = await asyncio.wait_for(response.content.read(), WITHIN_S)
            assert rest.strip() == b'{"ended":"forbidden"}'

    run(test, settings(tokens=True, file=tmp_path / "turnout.yaml"), patience=Patience(lines_s=0.02))


def test_there_is_nothing_to_record_without_a_shadow() -> None:
    async def test(it: Asked) -> None:
        answer = await it.get(f"{SHADOW}/record")
        assert (answer.status, answer.kind) == (409, "no-comparison")

    run(test)


def test_only_so_many_record_at_a_time() -> None:
    async def test(it: Asked, _: Worker) -> None:
        streams = [await it.session.get(f"{it.base}{SHADOW}/record", timeout=None) for _ in range(MOST_STREAMS)]
        assert (await it.get(f"{SHADOW}/record")).status == 503
        streams[0].close()
        comparer = it.control.comparer
        assert comparer is not None
        stream = await until(lambda: comparer.record("shop", 1.0), "there is room for another")
        stream.close()
        for each in streams[1:]:
            each.close()

    shadowed(test)


def test_traffic_is_shown_to_operators_alone() -> None:
    async def test(it: Asked, _: Worker) -> None:
        for path in ("", "/differences", "/rules"):
            assert (await it.get(SHADOW + path, token=VIEWER)).status == 200
        assert (await it.get(f"{SHADOW}/record", token=VIEWER)).status == 403
        assert (await it.ask("DELETE", f"{SHADOW}/differences", token=VIEWER)).status == 403

    shadowed(test, tokens=True)


def test_a_route_that_is_not_there_has_no_report() -> None:
    async def test(it: Asked) -> None:
        for path in ("", "/differences", "/rules", "/record"):
            answer = await it.get(f"/api/v1/routes/shopp/shadow{path}")
            assert (answer.status, answer.kind) == (404, "unknown-route")

    run(test)


def test_metrics_have_the_comparer_once_it_is_needed() -> None:
    async def test(it: Asked, worker: Worker) -> None:
        worker.tell(pair(1, 2), pair(1, 1))
        fold = it.control.supervisor.fold
        await until(lambda: sum(fold.counters("turnout_shadow_compared_total").values()) == 2, "they are summed up")
        page = (await it.get("/metrics")).body
        for line in ("turnout_comparer_up 1.0", "turnout_comparer_restarts_total 0.0",
                     "turnout_comparer_dropped_total 0.0",
                     'turnout_shadow_compared_total{result="different",route="shop"} 1.0',
                     'turnout_shadow_mismatches_total{field="body:value",route="shop"} 1.0',
                     'turnout_shadow_match_ratio{route="shop"} 0.5',
                     'turnout_shadow_duration_seconds_count{route="shop",version="new"} 2.0',
                     'turnout_process_max_fds{process="comparer"}'):
            assert line in page

    shadowed(test)


def test_without_anything_to_compare_metrics_know_no_comparer() -> None:
    async def test(it: Asked) -> None:
        page = (await it.get("/metrics")).body
        assert "turnout_comparer_up" not in page
        assert "turnout_shadow_compared_total{" not in page

    run(test)
