from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from proxy.clock import monotonic
from proxy.telemetry import names as metric
from proxy.telemetry import shadowing
from proxy.telemetry.counters import Counters
from proxy.telemetry.exposition import ComparerFacts, Exposition, Page, ServerFacts, WorkerFacts
from proxy.telemetry.families import FAMILIES, series_names
from proxy.telemetry.fold import Fold
from proxy.telemetry.histogram import BOUNDS
from tests.support.scrape import BUCKETS, Series, facts, samples

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
NEW = (("route", "shop"), ("version", "new"))
SERVER = ("new", "http://127.0.0.1:9002")
OF_SERVER = (("server", SERVER[1]), ("version", "new"))
EJECTED = ServerFacts(*SERVER, state="ejected", up=False, suspicion=7.5, probes={"ok": 40, "timeout": 2},
                      probe_s=0.004, ejections=3)

names = st.text(st.sampled_from('ab\\"\nü%{}, '), min_size=1, max_size=6)
numbers = st.floats(0, 1e18) | st.integers(0, 10**12) | st.just(float("inf"))


def counted(times: int = 1) -> Counters:
    """A worker that has counted one of everything, so many times."""
    counters = Counters()
    for _ in range(times):
        tally = counters.tally("shop", "new")
        tally.inflight += 1
        tally.done(502, 0.05)
        tally.retries += 1
        counters.accepted += 1
        counters.refused("connect-failed")
        counters.upstream_error("new", "http://127.0.0.1:9002", "connect-failed")
    return counters


def folded(times: int = 1, process: int = 1) -> Fold:
    fold = Fold()
    fold.add(process, *counted(times).collect())
    return fold


def shadowed(fold: Fold) -> Fold:
    """The same with what shadows add: copies made by two workers, and what became of them."""
    for process, fraction in ((5, 0.5), (6, 0.75)):
        fold.add(process, [(metric.SHADOW_REQUESTS, ("shop", "answered"), 3),
                           (metric.SHADOW_SKIPPED, ("shop", "in-flight"), 1)],
                 [(metric.SHADOW_FRACTION, ("shop",), fraction)], [])
    fold.add(7, [(shadowing.COMPARED, ("shop", "matched"), 5), (shadowing.MISMATCHES, ("shop", "status"), 1)],
             [(shadowing.MATCH_RATIO, ("shop",), 0.75)], [(shadowing.DURATION, ("shop", "newest"), {3: 1}, 0.5)])
    return fold


def pressed(fold: Fold) -> Fold:
    """The same with what two workers say of a version that has more to do than it can."""
    for process in (8, 9):
        fold.add(process, [(metric.ATTEMPTS, ("shop", "new", "reset"), 2), (metric.SHED, ("new", "queue-full"), 3),
                           (metric.CLIENT_LIMITED, ("rate",), 1)],
                 [(metric.CONCURRENCY_LIMIT, ("new",), 16), (metric.QUEUE_LENGTH, ("new",), 4),
                  (metric.SERVER_INFLIGHT, SERVER, 8)], [])
    return fold


@given(
    st.lists(st.tuples(names, names), min_size=1, max_size=4, unique=True),
    st.lists(numbers, min_size=6, max_size=6),
    st.dictionaries(st.integers(0, len(BOUNDS)), st.integers(1, 10**7), max_size=6),
)
def test_a_page_is_byte_for_byte_what_the_clients_own_encoders_make_of_it(
    pairs: list[tuple[str, str]], values: list[float], buckets: dict[int, int]
) -> None:
    fold = Fold()
    fold.add(
        1,
        [(metric.REQUESTS, (*pair, "200"), values[0]) for pair in pairs] + [(metric.SENT, pairs[0], values[1])],
        [(metric.INFLIGHT, pairs[-1], values[2]), (metric.LAG, (), values[3])],
        [(metric.DURATION, pairs[0], buckets, values[4]), (shadowing.DURATION, pairs[0], buckets, values[4])],
    )
    told = replace(facts(pairs, workers=[WorkerFacts(0, None, "serving", 3, life=1)]), health=(EJECTED,))
    page = Exposition(fold, BUCKETS).take(replace(told, started_at=values[5]))
    assert page.text(None)[0] == generate_latest(page)
    assert page.text(OPENMETRICS)[0] == generate_openmetrics(page)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("accept", "content_type"), [
    (None, "text/plain; version=0.0.4"),
    ("", "text/plain; version=0.0.4"),
    ("*/*", "text/plain; version=0.0.4"),
    ("text/html", "text/plain; version=0.0.4"),
    (OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
    ("application/openmetrics-text; version=0.0.1", "text/plain; version=0.0.4"),
])
def test_the_accept_field_chooses_the_format(accept: str | None, content_type: str) -> None:
    text, given_type = Exposition(folded(), BUCKETS).render(facts(), accept)
    assert given_type.startswith(content_type)
    assert text.endswith(b"# EOF\n") == ("openmetrics" in content_type)


def test_the_strict_parser_of_openmetrics_reads_the_page() -> None:
    text, _ = Exposition(folded(), BUCKETS).render(facts(supervisor_pid=os.getpid()), OPENMETRICS)
    found = {family.name: family for family in parse_openmetrics(text.decode())}  # type: ignore[no-untyped-call]
    assert found["turnout_request_duration_seconds"].unit == "seconds"
    assert found["turnout_build"].type == "info"


def test_the_collector_can_be_registered_with_prometheus_client() -> None:
    registry = CollectorRegistry()
    registry.register(Exposition(folded(3), BUCKETS).take(facts()))
    assert registry.get_sample_value("turnout_requests_total", {**dict(NEW), "code": "502"}) == 3


def test_every_metric_that_a_worker_counts_has_a_type_and_a_meaning() -> None:
    assert set(metric.LABELS) <= set(FAMILIES)
    for name, labels in metric.LABELS.items():
        assert FAMILIES[name].labels == (labels or FAMILIES[name].labels)


def test_names_end_and_texts_read_as_prometheus_asks() -> None:
    for family in FAMILIES.values():
        assert family.name.startswith("turnout_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.name.endswith("_info") == (family.kind == "info")
        assert family.help.endswith(".")
        assert not set('\\"\n') & set(family.help)  # written unescaped


def test_a_full_page_shows_every_metric_of_the_table() -> None:
    told = replace(
        facts(supervisor_pid=os.getpid(), workers=[WorkerFacts(0, os.getpid(), "serving", 2, life=1)]),
        connections_limit=20_000, pending={"shop": 1_700_000_600.0}, events={"split": 4},
        shadows=(("shop", "newest"),), comparer=ComparerFacts(None, True, 1), health=(EJECTED,),
    )
    shown = {name for name, _ in samples(Exposition(pressed(shadowed(folded())), BUCKETS).render(told, None)[0])}
    assert shown == {name for family in FAMILIES.values() for name in series_names(family)}


def test_a_version_without_traffic_is_there_with_zeros() -> None:
    page = samples(Exposition(Fold(), BUCKETS).render(facts(), None)[0])
    assert page["turnout_retries_total", NEW] == 0
    assert page["turnout_inflight_requests", NEW] == 0
    assert page["turnout_request_duration_seconds_count", NEW] == 0
    assert page["turnout_connections_accepted_total", ()] == 0
    assert page["turnout_split_share", NEW] == 0.5
    assert page["turnout_route_version_info", (("role", "candidate"), *NEW)] == 1


def test_what_left_the_configuration_is_not_shown() -> None:
    text, _ = Exposition(folded(), BUCKETS).render(facts(pairs=[("blog", "old")], servers=[]), None)
    assert b"shop" not in text
    assert b"9002" not in text
    assert b"blog" in text


def test_a_status_that_is_none_is_counted_under_other() -> None:
    fold = Fold()
    fold.add(1, [(metric.REQUESTS, ("shop", "new", code), 1) for code in ("99", "600", "999", "0", "418")], [], [])
    page = samples(Exposition(fold, BUCKETS).render(facts(), None)[0])
    codes = {dict(labels)["code"]: n for (name, labels), n in page.items() if name == "turnout_requests_total"}
    assert codes == {"other": 4, "418": 1}


def test_a_worker_that_dies_takes_its_gauges_along_and_nothing_that_was_reported() -> None:
    fold = folded(5, process=1)
    fold.add(2, [], [(metric.CONNECTIONS, (), 3), (metric.LAG, (), 0.5)], [])
    exposition = Exposition(fold, BUCKETS)
    workers = [WorkerFacts(0, None, "serving", 0, life=1), WorkerFacts(1, None, "serving", 0, life=2)]
    before = samples(exposition.render(facts(workers=workers), None)[0])
    assert before["turnout_connections", ()] == 3
    assert before["turnout_event_loop_lag_seconds", (("process", "worker-1"),)] == 0.5
    fold.forget(2)
    fold.forget(1)
    workers = [WorkerFacts(0, None, "dead", 1), WorkerFacts(1, None, "dead", 1)]
    after = samples(exposition.render(facts(workers=workers), None)[0])
    assert after["turnout_connections", ()] == 0
    assert after["turnout_workers", (("state", "dead"),)] == 2
    assert not any(name == "turnout_event_loop_lag_seconds" for name, _ in after)
    assert all(growing(after)[series] >= count for series, count in growing(before).items())


def growing(page: dict[Series, float]) -> dict[Series, float]:
    """The samples that may never become less."""
    return {series: n for series, n in page.items() if series[0].endswith(("_total", "_bucket", "_count", "_sum"))}


steps = st.lists(
    st.tuples(st.sampled_from(["serve", "report", "die", "scrape"]), st.integers(0, 1), st.floats(0, 3)), max_size=40
)


@given(steps)
def test_no_counter_goes_backwards_and_a_death_loses_only_what_was_not_yet_reported(
    history: list[tuple[str, int, float]]
) -> None:
    fold = Fold()
    exposition = Exposition(fold, BUCKETS)
    lives, working, served, lost = [1, 2], [Counters(), Counters()], 0, [0, 0]
    last: dict[Series, float] = {}
    for step, place, seconds in [*history, ("report", 0, 0.0), ("report", 1, 0.0), ("scrape", 0, 0.0)]:
        match step:
            case "serve":
                tally = working[place].tally("shop", "new")
                tally.inflight += 1
                tally.done(200, seconds)
                served, lost[place] = served + 1, lost[place] + 1
            case "report":
                fold.add(lives[place], *working[place].collect())
                lost[place] = 0
            case "die":
                fold.forget(lives[place])
                served, lost[place] = served - lost[place], 0
                lives[place], working[place] = max(lives) + 1, Counters()
            case _:
                page = growing(samples(exposition.render(facts(), None)[0]))
                assert all(page[series] >= n for series, n in last.items())
                last = page
    assert last["turnout_request_duration_seconds_count", NEW] == served


def test_a_page_stays_as_it_was_taken_while_the_fold_goes_on() -> None:
    fold = folded()
    page = Exposition(fold, BUCKETS).take(facts())
    before = page.text(None)[0]
    fold.add(1, *counted(9).collect())
    assert page.text(None)[0] == before


def test_pages_are_written_in_another_thread_while_workers_report() -> None:
    fold = folded(3)
    exposition = Exposition(fold, BUCKETS)
    failures: list[str] = []
    for _ in range(20):
        page = exposition.take(facts())
        expected = fold.histograms(metric.DURATION)["shop", "new"].count

        def write(page: Page = page, expected: int = expected) -> None:
            count = samples(page.text(None)[0])["turnout_request_duration_seconds_count", NEW]
            if count != expected:
                failures.append(f"{count} instead of {expected}")

        thread = threading.Thread(target=write)
        thread.start()
        while thread.is_alive():
            fold.add(1, *counted(2).collect())
        thread.join()
    assert not failures


def test_a_thousand_routes_take_no_tenth_of_a_second() -> None:
    pairs = [(f"route-{number}", version) for number in range(1000) for version in ("old", "new")]
    fold = Fold()
    fold.add(
        1,
        [(metric.REQUESTS, (*pair, code), 5.0) for pair in pairs for code in ("200", "404", "502")],
        [(metric.INFLIGHT, pair, 2) for pair in pairs],
        [(metric.DURATION, pair, dict.fromkeys(range(20, 50), 3), 1.5) for pair in pairs],
    )
    exposition, told = Exposition(fold, [0.001 * 2**power for power in range(14)]), facts(pairs)
    took = []
    for _ in range(5):
        began = monotonic()
        page = exposition.take(told)
        taken = monotonic()
        page.text(OPENMETRICS)
        took.append((monotonic() - began, taken - began))
    # Four times what an idle machine needs; a busy one is not to fail this.
    assert min(whole for whole, _ in took) < 0.25
    assert min(copy for _, copy in took) < 0.02


def test_shadows_show_the_worker_that_sheds_most_and_results_from_the_start() -> None:
    told = replace(facts(), shadows=(("shop", "newest"), ("blog", "new")), comparer=ComparerFacts(None, False, 2))
    shown = samples(Exposition(shadowed(folded()), BUCKETS).render(told, None)[0])
    assert shown["turnout_shadow_fraction", (("route", "shop"),)] == 0.5
    assert shown["turnout_shadow_requests_total", (("outcome", "answered"), ("route", "shop"))] == 6
    assert shown["turnout_shadow_compared_total", (("result", "different"), ("route", "blog"))] == 0
    assert shown["turnout_comparer_up", ()] == 0


def test_a_shadow_that_is_no_more_leaves_the_page() -> None:
    shown = samples(Exposition(shadowed(folded()), BUCKETS).render(facts(), None)[0])
    assert not [labels for name, labels in shown if ("version", "newest") in labels]
    assert not [name for name, _ in shown if name == "turnout_shadow_fraction"]


def test_attempts_and_answers_are_told_apart_and_a_version_that_never_failed_has_a_zero() -> None:
    shown = samples(Exposition(pressed(Fold()), BUCKETS).render(facts(), None)[0])
    assert shown["turnout_attempts_total", (("outcome", "reset"), *NEW)] == 4
    assert shown["turnout_attempts_total", (("outcome", "error"), *NEW)] == 0
    assert not [name for name, _ in shown if name == "turnout_requests_total"]
    assert shown["turnout_rescues_total", (("outcome", "answered"), *NEW)] == 0
    assert ("turnout_rescues_total", (("outcome", "answered"), ("route", "shop"), ("version", "old"))) not in shown


def test_queues_limits_and_servers_are_summed_over_the_workers() -> None:
    shown = samples(Exposition(pressed(Fold()), BUCKETS).render(facts(), None)[0])
    of_new = (("version", "new"),)
    assert shown["turnout_concurrency_limit", of_new] == 32
    assert shown["turnout_queue_length", of_new] == 8
    assert shown["turnout_server_inflight", OF_SERVER] == 16
    assert shown["turnout_shed_total", (("reason", "queue-full"), *of_new)] == 6
    assert shown["turnout_shed_total", (("reason", "spill"), *of_new)] == 0
    assert shown["turnout_client_limited_total", (("limit", "connections"),)] == 0


def test_a_version_without_a_limit_shows_none_and_one_without_traffic_an_empty_queue() -> None:
    shown = samples(Exposition(Fold(), BUCKETS).render(facts(), None)[0])
    assert ("turnout_concurrency_limit", (("version", "new"),)) not in shown
    assert shown["turnout_queue_length", (("version", "new"),)] == 0
    assert shown["turnout_server_inflight", OF_SERVER] == 0


def test_a_server_has_one_state_and_a_version_is_up_unless_it_is_told_to_be_down() -> None:
    told = replace(facts(), health=(EJECTED,), down=frozenset({"new"}))
    shown = samples(Exposition(Fold(), BUCKETS).render(told, None)[0])
    states = {dict(labels)["state"]: n for (name, labels), n in shown.items() if name == "turnout_server_state"}
    assert (states["ejected"], sum(states.values()), len(states)) == (1, 1, 7)
    assert shown["turnout_server_up", OF_SERVER] == 0
    assert shown["turnout_server_suspicion", OF_SERVER] == 7.5
    assert shown["turnout_probes_total", (("outcome", "timeout"), *OF_SERVER)] == 2
    assert shown["turnout_version_up", (("version", "new"),)] == 0
    well = samples(Exposition(Fold(), BUCKETS).render(facts(), None)[0])
    assert well["turnout_version_up", (("version", "new"),)] == 1


def test_the_effective_share_is_the_share_unless_another_is_told() -> None:
    told = facts()
    moved = tuple(replace(share, effective=0.0 if share.version == "new" else 1.0) for share in told.shares)
    shown = samples(Exposition(Fold(), BUCKETS).render(replace(told, shares=moved), None)[0])
    assert (shown["turnout_split_share", NEW], shown["turnout_split_effective_share", NEW]) == (0.5, 0.0)
    assert samples(Exposition(Fold(), BUCKETS).render(told, None)[0])["turnout_split_effective_share", NEW] == 0.5


def test_what_versions_counted_that_left_the_configuration_is_not_shown() -> None:
    shown = samples(Exposition(pressed(Fold()), BUCKETS).render(facts(servers=[("old", "http://a")]), None)[0])
    assert {dict(labels)["version"] for name, labels in shown if name == "turnout_queue_length"} == {"old"}
    assert ("turnout_shed_total", (("reason", "queue-full"), ("version", "new"))) not in shown
