from __future__ import annotations

import json

from proxy.telemetry import names as metric
from proxy.telemetry.fold import Fold
from proxy.telemetry.scope import Scope


def test_counters_of_a_dead_worker_stay_and_its_gauges_leave() -> None:
    fold = Fold()
    fold.add(1, [("n_total", ("a",), 3)], [("open", (), 5)], [])
    fold.add(2, [("n_total", ("a",), 4)], [("open", (), 7)], [])
    assert fold.gauges("open") == {(): 12}
    fold.forget(1)
    assert fold.counters("n_total") == {("a",): 7}
    assert fold.gauges("open") == {(): 7}


def test_a_gauge_is_what_was_said_last() -> None:
    fold = Fold()
    fold.add(1, [], [("open", (), 5), ("inflight", ("a",), 2)], [])
    fold.add(1, [], [("open", (), 6)], [])
    assert fold.gauge(1, "open") == 6
    assert fold.gauge(1, "inflight", ("a",)) is None


def test_a_delay_is_the_worst_of_all_workers() -> None:
    fold = Fold()
    assert fold.worst("lag") == 0.0
    fold.add(1, [], [("lag", (), 0.1)], [])
    fold.add(2, [], [("lag", (), 0.3)], [])
    assert fold.worst("lag") == 0.3


def test_histograms_of_all_workers_add_up() -> None:
    fold = Fold()
    fold.add(1, [], [], [("d", ("a",), {3: 1, 4: 2}, 0.5)])
    fold.add(2, [], [], [("d", ("a",), {4: 5}, 1.5)])
    histogram = fold.histograms("d")["a",]
    assert histogram.buckets == {3: 1, 4: 7}
    assert histogram.sum == 2.0


def test_a_copy_does_not_see_what_is_added_later() -> None:
    fold = Fold()
    fold.add(1, [("n_total", ("a",), 3)], [("open", (), 5)], [("d", ("a",), {3: 1}, 0.5)])
    copy = fold.copy()
    fold.add(1, [("n_total", ("a",), 3)], [("open", (), 6)], [("d", ("a",), {3: 1}, 0.5)])
    assert copy.counters("n_total") == {("a",): 3}
    assert copy.gauges("open") == {(): 5}
    assert copy.histograms("d")["a",].buckets == {3: 1}


def test_sums_of_what_left_the_configuration_are_let_go() -> None:
    fold = Fold()
    for route in ("stays", "goes"):
        for version in ("old", "new"):
            fold.add(1, [(metric.REQUESTS, (route, version, "200"), 1)], [],
                     [(metric.DURATION, (route, version), {3: 1}, 0.5)])
    fold.add(1, [(metric.UPSTREAM_ERRORS, ("old", server, "refused"), 1) for server in ("a", "b")], [], [])
    fold.add(1, [(metric.REFUSALS, ("no-route",), 1)], [], [])
    fold.add(1, [(metric.QUEUED, (version,), 1) for version in ("old", "older")], [], [])
    fold.retain(Scope([("stays", "old")], [("old", "a")]))
    assert set(fold.counters(metric.REQUESTS)) == {("stays", "old", "200")}
    assert set(fold.histograms(metric.DURATION)) == {("stays", "old")}
    assert set(fold.counters(metric.UPSTREAM_ERRORS)) == {("old", "a", "refused")}
    assert fold.counters(metric.REFUSALS) == {("no-route",): 1}
    assert fold.counters(metric.QUEUED) == {("old",): 1}


def test_what_a_successor_restores_goes_on_from_there() -> None:
    before, after = Fold(), Fold()
    before.add(1, [("n_total", ("a", "b"), 3)], [("open", (), 5)], [("d", ("a",), {3: 1, 4: 2}, 0.5)])
    after.add(1, [("n_total", ("a", "b"), 1)], [], [])
    after.restore(json.loads(json.dumps(before.dump())))
    assert after.counters("n_total") == {("a", "b"): 4}
    assert after.histograms("d")["a",].buckets == {3: 1, 4: 2}
    assert after.histograms("d")["a",].sum == 0.5
    assert after.gauges("open") == {}


def test_histograms_of_a_release_with_other_buckets_start_anew() -> None:
    before, after = Fold(), Fold()
    before.add(1, [("n_total", (), 3)], [], [("d", (), {3: 1}, 0.5)])
    after.restore({**before.dump(), "buckets": 17})
    assert (after.counters("n_total"), after.histograms("d")) == ({(): 3}, {})
