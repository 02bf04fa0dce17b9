from __future__ import annotations

import json
from pathlib import Path

from benchmarks.loads import openloop, requests, wrk
from benchmarks.loads.client import parse_head


def test_a_browser_like_request_has_thirteen_headers_and_its_own_id() -> None:
    request = requests.request(7, "/", "id-7")
    lines = request.decode().split("\r\n")
    assert len(lines) == 1 + 13 + 2
    assert lines[-3] == "X-Request-Id: id-7"
    assert len(request) > 700


def test_ten_thousand_cookies_are_all_different_and_of_one_length() -> None:
    cookies = {requests.cookie(number) for number in range(requests.COOKIES)}
    assert len(cookies) == requests.COOKIES
    assert {len(cookie) for cookie in cookies} == {10}


def test_a_tenth_of_the_cookies_ends_with_the_digit_that_caddy_splits_by() -> None:
    share = sum(requests.cookie(number).endswith("7") for number in range(requests.COOKIES)) / requests.COOKIES
    assert 0.09 < share < 0.11


def test_requests_spread_over_all_routes() -> None:
    assert {requests.path_for(number, "/item", 1000) for number in range(requests.COOKIES)} == {
        f"/r{route}/item" for route in range(1000)}
    assert requests.path_for(5, "/item", 1) == "/item"


def report(**errors: int) -> str:
    every = dict.fromkeys(("connect", "read", "write", "timeout", "status"), 0) | errors
    return json.dumps({"requests": 1000, "sent": 1064, "bytes": 1, "errors": every})


def test_requests_before_the_warm_point_are_not_counted() -> None:
    load = wrk.Load(port=1, connections=64, seconds=1)
    outcome = wrk.parse_report(report(), load, warm_said=True, seconds=0.5, cpu_s=0.1)
    assert outcome.requests == 1064 - 3 * 64
    assert outcome.flags == ()
    assert round(outcome.figures["cpu_us"]) == round(0.1 / 872 * 1e6)


def test_a_run_with_errors_is_flagged() -> None:
    load = wrk.Load(port=1, connections=64, seconds=1)
    assert wrk.parse_report(report(status=2), load, True, 1, 1).flags == ("2 status errors",)


def test_a_run_that_never_warmed_up_is_flagged() -> None:
    load = wrk.Load(port=1, connections=64, seconds=1)
    assert "too slow" in wrk.parse_report(report(), load, False, 1, 1).flags[0]


def test_wrk_reads_its_heads_from_a_file(tmp_path: Path) -> None:
    command = wrk.arguments(wrk.Load(port=18080, connections=8, seconds=1), tmp_path)
    heads = Path(command[-2]).read_bytes().split(b"\0")
    assert len(heads) == requests.COOKIES + 1
    assert heads[0].startswith(b"GET / HTTP/1.1\r\nHost: ")


def test_an_open_loop_plan_keeps_its_rate_and_repeats_itself() -> None:
    plan = openloop.Plan(port=1, rate=5000, seconds=2, seed=3)
    moments = openloop.schedule(plan)
    assert abs(len(moments) / (2 + openloop.WARM_S) - 5000) < 250
    assert moments == sorted(moments) == openloop.schedule(plan)
    assert openloop.schedule(openloop.Plan(port=1, rate=5000, seconds=2, seed=4)) != moments


def test_field_names_are_read_in_lower_case() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nX-Version: old\r\nContent-Length: 5") == (
        200, {"x-version": "old", "content-length": "5"})
