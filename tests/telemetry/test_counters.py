from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import names as metric
from proxy.telemetry.counters import Counters
from proxy.telemetry.fold import Fold
from proxy.telemetry.names import LABELS

_requests = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["old", "new"]), st.sampled_from([200, 404, 503]),
              st.floats(0, 10), st.booleans()),
    max_size=40,
)


@given(_requests)
def test_every_request_is_in_exactly_one_delta_whenever_they_are_collected(
    requests: list[tuple[str, str, int, float, bool]],
) -> None:
    counters, fold = Counters(), Fold()
    for route, version, code, seconds, collect in requests:
        tally = counters.tally(route, version)
        tally.inflight += 1
        tally.done(code, seconds)
        if collect:
            fold.add(1, *counters.collect())
    fold.add(1, *counters.collect())
    expected: dict[tuple[str, ...], int] = {}
    for route, version, code, _, _ in requests:
        labels = (route, version, str(code))
        expected[labels] = expected.get(labels, 0) + 1
    assert dict(fold.counters(metric.REQUESTS)) == expected
    assert sum(each.count for each in fold.histograms(metric.DURATION).values()) == len(requests)


def test_every_reported_series_has_the_labels_of_its_metric() -> None:
    counters = Counters()
    tally = counters.tally("shop", "new")
    tally.inflight = 3
    tally.retries = 1
    tally.done(200, 0.2)
    tally.received = tally.sent = tally.tunnels = tally.withdrawn = 1
    counters.accepted = 1
    counters.log_dropped = 1
    counters.refused("head-too-large")
    counters.upstream_error("new", "http://127.0.0.1:1", "connect-failed")
    shadow = counters.shadow("shop")
    shadow.outcomes["answered"] = shadow.skipped["memory"] = 1
    tally.attempt_failed("reset")
    tally.rescued("answered")
    tally.diverted = 1
    counters.budget_exhausted("shop")
    counters.limited("rate")
    fleet = counters.fleet("new")
    fleet.shed("queue-full")
    fleet.queued = fleet.waiting = fleet.limit = 1
    fleet.in_flight["http://127.0.0.1:1"] = 1
    delta = counters.collect()
    series = [(name, labels) for name, labels, _ in delta.counters + delta.gauges]
    series += [(name, labels) for name, labels, _, _ in delta.histograms]
    assert {name for name, _ in series} == set(LABELS)
    assert all(len(labels) == len(LABELS[name]) for name, labels in series)


def test_an_attempt_that_failed_is_not_counted_among_the_good_answers() -> None:
    counters, fold = Counters(), Fold()
    tally = counters.tally("shop", "new")
    tally.inflight = 3
    tally.done(200, 0.1)
    tally.done(502, 0.1)
    tally.not_good += 1
    tally.attempt_failed("connect")
    tally.done(200, 0.1)
    fold.add(1, *counters.collect())
    assert fold.counters(metric.ATTEMPTS) == {("shop", "new", "answered"): 2, ("shop", "new", "connect"): 1}


def test_an_idle_worker_reports_gauges_only() -> None:
    counters = Counters()
    counters.tally("shop", "new")
    counters.connections = 4
    delta = counters.collect()
    assert delta.counters == []
    assert delta.histograms == []
    assert (metric.CONNECTIONS, (), 4) in delta.gauges


def test_a_version_that_left_the_configuration_is_kept_until_its_last_request_was_collected() -> None:
    counters = Counters()
    tally = counters.tally("shop", "old")
    tally.inflight += 1
    counters.retain([])
    counters.collect()
    tally.done(200, 0.1)
    assert (metric.REQUESTS, ("shop", "old", "200"), 1) in counters.collect().counters
    assert counters.tally("shop", "old") is not tally


def test_a_version_that_stays_keeps_its_tally() -> None:
    counters = Counters()
    tally = counters.tally("shop", "old")
    counters.retain([("shop", "old")])
    counters.collect()
    assert counters.tally("shop", "old") is tally


def test_counting_does_not_import_what_workers_must_not() -> None:
    program = (
        "import sys; import proxy.telemetry.counters, proxy.telemetry.sink, proxy.ipc.channel;"
        "heavy = {'structlog', 'prometheus_client', 'pydantic', 'aiohttp', 'click', 'yaml'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
