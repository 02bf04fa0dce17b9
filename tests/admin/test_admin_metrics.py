from __future__ import annotations

import asyncio

import pytest

from proxy.controlplane.events import Author
from tests.support.admin import Asked, run
from tests.support.deadline import until


def value(page: str, series: str) -> float:
    (line,) = [line for line in page.splitlines() if line.startswith(series + " ")]
    return float(line.rpartition(" ")[2])


def test_the_metrics_show_the_shares_in_force_the_revision_and_what_happened() -> None:
    async def test(it: Asked) -> None:
        await until(lambda: it.control.supervisor.fold.counters("turnout_requests_total"), "the workers have counted")
        await it.split({"old": 75, "new": 25}, confirm_within="10m")
        await it.post("/api/v1/routes/shop/undo")
        page = (await it.get("/metrics")).body
        assert value(page, 'turnout_split_share{route="shop",version="new"}') == 0.05
        assert value(page, "turnout_config_revision") == 3
        assert value(page, 'turnout_events_total{verb="split"}') == 1
        assert value(page, 'turnout_events_total{verb="undo"}') == 1
        assert value(page, 'turnout_requests_total{code="200",route="shop",version="old"}') >= 1

    run(test)


@pytest.mark.parametrize(("accept", "media"), [
    ("", "text/plain"), ("*/*", "text/plain"),
    ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
])
def test_a_scraper_gets_the_format_it_asks_for(accept: str, media: str) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get("/metrics", Accept=accept)
        assert answer.headers["Content-Type"].startswith(media)
        assert answer.body.endswith("# EOF\n") is media.startswith("application")
        assert "Accept-Encoding" in answer.headers["Vary"]

    run(test, start=False)


@pytest.mark.parametrize(("takes", "squeezed"), [
    ("gzip", True), ("deflate, gzip;q=0.5", True), ("identity", False), ("gzip;q=0", False), ("gzip; q=0.0, br", False),
])
def test_it_is_compressed_for_who_takes_it(takes: str, squeezed: bool) -> None:
    async def test(it: Asked) -> None:
        answer = await it.get("/metrics", Accept_Encoding=takes)
        assert ("Content-Encoding" in answer.headers) is squeezed
        assert answer.body.startswith("# HELP")

    run(test, start=False)


def test_many_scrapes_at_once_are_all_answered() -> None:
    async def test(it: Asked) -> None:
        answers = await asyncio.gather(*(it.get("/metrics") for _ in range(30)))
        assert {answer.status for answer in answers} == {200}

    run(test, start=False)


def test_a_scrape_right_after_a_change_shows_it_however_fresh_the_page_before_is() -> None:
    async def test(it: Asked) -> None:
        for revision in range(2, 12):
            await it.split({"old": 100 - revision, "new": revision})
            for takes in ("gzip", "identity"):
                page = (await it.get("/metrics", Accept_Encoding=takes)).body
                assert value(page, "turnout_config_revision") == revision
                assert value(page, 'turnout_split_share{route="shop",version="new"}') == revision / 100

    run(test)


def test_events_that_never_reached_the_journal_are_counted() -> None:
    async def test(it: Asked) -> None:
        it.control.journal.close()
        for _ in range(3):
            it.control.commands.record("note", Author("tester"))
        await it.control.commands.flush()
        page = (await it.get("/metrics")).body
        assert value(page, "turnout_events_lost_total") == 3
        assert 'turnout_events_total{verb="note"}' not in page

    run(test)


def test_events_are_counted_also_when_more_come_at_once_than_anybody_can_follow() -> None:
    async def test(it: Asked) -> None:
        for number in range(50):
            it.control.commands.record("note", Author("tester"), str(number))
        await it.control.commands.flush()
        await it.split({"old": 1, "new": 1})
        page = (await it.get("/metrics")).body
        assert value(page, 'turnout_events_total{verb="note"}') == 50

    run(test)
