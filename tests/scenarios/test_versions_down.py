"""Versions that are down: where their requests go, what operators are told, and how they come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.asking import Asking
from tests.support.fickle_shop import PROBE, FickleShop, Json, shop_of_two


@contextmanager
def down(folder: Path, version: Json | None = None, **route: Any) -> Iterator[FickleShop]:
    """A shop whose candidate was found dead by probes before anybody came."""
    with shop_of_two(folder, {"probe": PROBE, **(version or {})}, **route) as shop:
        shop.servers["new"][0].kill()
        shop.wait_event("version-down", version="new")
        yield shop


def test_a_candidate_that_traffic_finds_down_is_an_event_and_what_others_take_over_is_counted(tmp_path: Path) -> None:
    with shop_of_two(tmp_path) as shop, Asking(shop.address) as asking:
        asking.wait(50)
        shop.servers["new"][0].kill()
        shop.wait_event("version-down", version="new")
        shop.wait_count(1, "diverted_total", version="new")


def test_probes_alone_tell_that_a_candidate_is_down_and_up(tmp_path: Path) -> None:
    with shop_of_two(tmp_path, {"probe": PROBE, "eject": "off", "breaker": "off"}) as shop:
        shop.servers["new"][0].stop()
        shop.wait_event("version-down", version="new")
        shop.servers["new"][0].go_on()
        shop.wait_count(1, "version_up", version="new")


def test_a_candidate_that_answers_500_to_all_is_left_after_a_few(tmp_path: Path) -> None:
    with shop_of_two(tmp_path) as shop, Asking(shop.address) as asking:
        asking.wait(100)
        shop.servers["new"][0].behave("status 500")
        mark = asking.wait(200)
        shop.servers["new"][0].heal()
        asking.wait_back("new")
        assert asking.failed(mark).keys() <= {"500"}
        assert asking.failed(mark).total() <= 80


def test_while_the_candidate_is_down_the_baseline_answers(tmp_path: Path) -> None:
    with down(tmp_path, when_down="baseline") as shop, Asking(shop.address) as asking:
        asking.wait(200)
        assert asking.failed() == Counter()
        assert {asked.by for asked in asking.done} == {"old"}


def test_the_baseline_takes_over_no_more_at_once_than_it_may(tmp_path: Path) -> None:
    patient = {"probe": {**PROBE, "timeout": "1s"}}         # or slow answers would put the baseline out, too
    with down(tmp_path, patient, when_down="baseline", spill=2) as shop, Asking(shop.address, 12) as asking:
        shop.servers["old"][0].behave("after 0.05")
        asking.wait(100)
        asking.stop()
        assert asking.failed().keys() == {"503"}
        shop.wait_count(asking.failed()["503"], "shed_total", version="new", reason="spill")
        shop.wait_quiet()


def test_while_the_candidate_is_down_its_requests_fail_at_once_where_they_are_to(tmp_path: Path) -> None:
    with down(tmp_path, when_down="fail") as shop, Asking(shop.address) as asking:
        asking.wait(200)
        asking.stop()
        assert asking.failed().keys() == {"503"}
        assert all(asked.retry_after for asked in asking.done if asked.outcome == "503")
        assert shop.got("new") == []


def test_requests_that_are_held_are_answered_when_the_candidate_is_back(tmp_path: Path) -> None:
    with down(tmp_path, {"queue": {"length": 100, "wait": "10s"}}, when_down="hold") as shop, \
            Asking(shop.address) as asking:
        asking.wait_until(lambda: shop.count("queue_length", version="new") >= 2, "requests that wait")
        probed = shop.count("probes_total", version="new")
        shop.wait_count(probed + 15, "probes_total", version="new")     # longer than an answer may take
        shop.servers["new"][0].start()
        asking.wait_back("new")
        asking.stop()
        assert asking.failed() == Counter()
        shop.wait_quiet()
