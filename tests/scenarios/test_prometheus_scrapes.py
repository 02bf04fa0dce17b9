"""/metrics of the whole program, read by those it is for: Prometheus, promtool, and the parsers of its client."""

from __future__ import annotations

import gzip
import http.client
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from tests.support.deadline import WITHIN_S, wait_until
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.prometheus_server import scraping
from tests.support.promql import RULE_FILES
from tests.support.scrape import Series, promtool, samples
from tests.support.turnout import Turnout, running

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Turnout]:
    """Two workers between an old version that answers and a new one of which one server is not there."""
    with serving(tmp_path) as turnout:
        yield turnout


@contextmanager
def serving(folder: Path) -> Iterator[Turnout]:
    with ExitStack() as stack:
        old, new = (stack.enter_context(StrictOrigin(lambda _: ok(b"served"))) for _ in range(2))
        routes = [{"name": "shop", "split": {"old": 50, "new": 50}, "baseline": "old"}]
        file = write_file(folder, {"old": old.url, "new": [new.url, NOBODY]}, routes)
        yield stack.enter_context(running("-c", str(file)))


def page(turnout: Turnout, headers: Mapping[str, str] | None = None) -> tuple[http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(turnout.admin.removeprefix("http://"), timeout=WITHIN_S)
    try:
        connection.request("GET", "/metrics", headers=dict(headers or {}))
        response = connection.getresponse()
        assert response.status == 200
        return response.headers, response.read()
    finally:
        connection.close()


def growing(turnout: Turnout) -> dict[Series, float]:
    """The samples that may never become less."""
    shown = samples(page(turnout)[1])
    return {series: n for series, n in shown.items() if series[0].endswith(("_total", "_bucket", "_count", "_sum"))}


def requests_counted(turnout: Turnout) -> int:
    return int(sum(n for (name, _), n in growing(turnout).items() if name == "turnout_requests_total"))


def ask(turnout: Turnout, times: int) -> None:
    before = requests_counted(turnout)
    for _ in range(times):
        assert turnout.ask()[0] in (200, 502)
    wait_until(lambda: requests_counted(turnout) == before + times, f"{times} more requests are counted")


def test_promtool_finds_nothing_to_say_against_the_page(shop: Turnout) -> None:
    ask(shop, 20)
    headers, text = page(shop)
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"turnout_upstream_errors_total{" in text
    assert promtool("check", "metrics", given=text) == ""


def test_openmetrics_and_gzip_come_to_those_who_ask_for_them(shop: Turnout) -> None:
    ask(shop, 1)
    headers, body = page(shop, {"Accept": OPENMETRICS, "Accept-Encoding": "gzip"})
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert headers["Content-Encoding"] == "gzip"
    families = {each.name for each in parse_openmetrics(gzip.decompress(body).decode())}  # type: ignore[no-untyped-call]
    assert {"turnout_requests", "turnout_request_duration_seconds", "turnout_process_cpu_seconds"} <= families


def test_prometheus_scrapes_it_and_the_recording_rules_have_values(shop: Turnout) -> None:
    ask(shop, 10)
    with scraping(shop.admin.removeprefix("http://"), RULE_FILES) as prometheus:
        wait_until(lambda: prometheus.query('up{job="turnout"} == 1'), "the first scrape")
        assert [target["lastError"] for target in prometheus.ask("targets")["activeTargets"]] == [""]
        ask(shop, 10)
        wait_until(lambda: 20.0 in prometheus.query("sum(turnout_requests_total)").values(), "all requests are scraped")
        rates = wait_until(lambda: prometheus.query("route_version:turnout_requests:rate2m > 0"), "a rule is evaluated")
        assert {dict(labels)["version"] for labels in rates} <= {"old", "new"}
        alive = prometheus.query("turnout_process_resident_memory_bytes > 1e6")
        assert {dict(labels)["process"] for labels in alive} == {"supervisor", "worker-0", "worker-1"}
        assert prometheus.query('turnout_workers{state="serving"}').popitem()[1] == 2


def test_nothing_on_the_page_goes_backwards_when_a_worker_is_killed(shop: Turnout) -> None:
    ask(shop, 20)
    before = growing(shop)
    victim = shop.status()["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    replaced = ("turnout_worker_restarts_total", (("process", "worker-0"),))
    wait_until(lambda: growing(shop)[replaced] == 1, "it is replaced")
    wait_until(lambda: samples(page(shop)[1])["turnout_workers", (("state", "serving"),)] == 2, "both serve again")
    ask(shop, 5)
    after = growing(shop)
    assert {series: (n, after.get(series, -1)) for series, n in before.items() if after.get(series, -1) < n} == {}
