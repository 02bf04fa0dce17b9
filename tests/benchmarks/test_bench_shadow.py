from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks import origin, shadowed
from benchmarks.bars import BAD_SHADOWS, SHADOW_BARS
from benchmarks.loads import client, noisy_service, odd_service, steady, uploads
from benchmarks.loads.plants import NOISE, PLAIN, PLANTS, TYPES, Plant
from benchmarks.peers.base import Place
from benchmarks.peers.live import Live
from benchmarks.processes import free_port
from benchmarks.scenarios import shadow, shadow_found, shadow_memory
from benchmarks.scenarios.shadow import Span
from proxy.core.compare.pair import CompiledRules, compare
from proxy.core.compare.values import Answer, Rules
from proxy.settings.load import load_bytes
from tests.support.deadline import wait_until

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.contextmanager
def odd(part: str) -> Iterator[int]:
    """The odd service in this part, on a port of its own."""
    port = free_port()
    process = subprocess.Popen([sys.executable, odd_service.__file__, json.dumps({part: port})], text=True,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def span(case: str, since: int, cpu_s: float, fraction: float = 1.0, **counts: float) -> Span:
    return Span(case, since, since + 1000, cpu_s, 0.5, counts, fraction)


def account(latency: dict[int, int]) -> steady.Account:
    """Three answers per span, which took as long as it says for the moment at which the span began."""
    dues = array("q", [since + place for since in latency for place in range(3)])
    ends = array("q", [since + place + took for since, took in latency.items() for place in range(3)])
    return steady.Account(len(dues), 1, (), {}, dues, dues, ends, array("b", [0] * len(dues)))


# ---- what is measured


def test_a_span_is_divided_by_the_mean_of_its_two_neighbours() -> None:
    spans = [span("off", 0, 1.0), span("copied", 2000, 3.0, copies_answered=3), span("off", 4000, 2.0)]
    runs = list(shadow.judge("shadow", 0, spans, account({0: 10, 2000: 60, 4000: 30})))
    assert [run.case for run in runs] == ["off", "copied", "off"]
    assert runs[1].figures["p99_ms_ratio"] == pytest.approx(3.0)
    assert runs[1].figures["cpu_us_ratio"] == pytest.approx(2.0)
    assert runs[0].round != runs[2].round


def test_a_span_in_which_nothing_was_copied_proves_nothing() -> None:
    spans = [span("off", 0, 1.0), span("dead", 2000, 1.0, skipped_shed=3), span("off", 4000, 1.0)]
    flags = list(shadow.judge("shadow", 0, spans, account({0: 10, 2000: 10, 4000: 10})))[1].flags
    assert flags == ("no copy was made at all: nothing was proved",)


@pytest.mark.parametrize(("case", "flags"), [("copied", 1), ("dead", 0)])
def test_a_healthy_shadow_that_was_shed_marks_its_figures(case: str, flags: int) -> None:
    spans = [span("off", 0, 1.0), span(case, 2000, 1.0, fraction=0.5, copies_any=3), span("off", 4000, 1.0)]
    runs = list(shadow.judge("shadow", 0, spans, account({0: 10, 2000: 10, 4000: 10})))
    assert len(runs[1].flags) == flags


def test_the_comparer_is_charged_for_what_it_compared() -> None:
    spans = [span("off", 0, 1.0), span("compared", 2000, 1.0, copies_answered=3, compared_matched=1000),
             span("off", 4000, 1.0)]
    figures = list(shadow.judge("shadow", 0, spans, account({0: 10, 2000: 10, 4000: 10})))[1].figures
    assert figures["comparer_us"] == 500


def test_every_way_of_being_bad_has_a_route_and_its_bars() -> None:
    assert set(BAD_SHADOWS) == set(shadow.BAD)
    assert {bar.above.case for bar in SHADOW_BARS} >= set(shadow.BAD)


def test_the_file_has_a_route_for_each_case_and_is_one_that_turnout_takes(tmp_path: Path) -> None:
    cases = [*shadow.CASES, *shadow_memory.CASES[:1], shadow_found.ROUTE]
    ports = {**dict.fromkeys(shadow.PARTS, 9001), "dead": 9002, "candidate": 9003}
    peer = Live("memory", "off", shadowed.versions(ports), shadowed.routes(cases))
    place = Place(port=18080, folder=tmp_path, old=("127.0.0.1:9001",), new=("127.0.0.1:9002",), admin_port=19900)
    text = peer.config(place)
    routes = {route["name"]: route for route in yaml.safe_load(text)["routes"]}
    assert routes["slow"]["shadow"]["to"] == "slow"
    assert "shadow" not in routes["plain"]
    assert routes["picked"]["shadow"]["compare"] == {"ignore": ["$.request"]}
    load_bytes(text.encode(), "turnout.yaml")


def test_counts_are_read_by_route_and_outcome() -> None:
    text = ('# HELP turnout_shadow_requests_total x\nturnout_shadow_requests_total{outcome="answered",route="a"} 7.0\n'
            'turnout_shadow_requests_total{outcome="answered",route="b"} 9.0\n'
            'turnout_shadow_skipped_total{reason="shed",route="a"} 1.0\n')
    after = shadowed.parse_counts(text)
    assert shadowed.of_route(after, {("a", "copies_answered"): 2.0}, "a") == {"copies_answered": 5, "skipped_shed": 1}


def test_json_answers_are_two_kib_and_never_the_same_bytes() -> None:
    document = origin.document()
    assert document.count("$request_id") == document.count("$") == 1
    assert len(document.replace("$request_id", "0" * 32)) == 2048
    assert "'" not in document
    json.loads(document)


# ---- the load


def test_a_load_goes_on_with_the_path_that_it_is_told(tmp_path: Path) -> None:
    paths: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            while data := connection.recv(65_536):
                paths.append(data.split()[1].decode())
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    plan = steady.Plan(listening.getsockname()[1], 100, str(tmp_path / "record"), connections=1, paths=("/a", "/b"),
                       paused=True)
    with listening, steady.Running(plan, list(range(64))) as load:
        load.switch(1)
        wait_until(lambda: len(paths) >= 3, "requests")
        load.switch(0)
        wait_until(lambda: paths[-1] == "/a", "requests to the other path")
        load.stop()
    assert paths == sorted(paths, reverse=True)


def test_uploads_arrive_whole_and_all_at_once() -> None:
    with odd("sink") as port:
        assert uploads.run(uploads.Plan(port, 20, 300_000)) | {"seconds": 0} == {
            "answered": 20, "failed": 0, "seconds": 0}


def test_an_upload_that_is_refused_has_failed() -> None:
    with odd("garbage") as port:
        assert uploads.run(uploads.Plan(port, 2, 1000))["failed"] == 2


# ---- services that behave badly


def test_a_full_service_lets_nobody_in() -> None:
    with odd("full") as port, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()


def test_garbage_is_no_http() -> None:
    with odd("garbage") as port, client.connect(port) as connection:
        connection.sendall(ASK)
        assert not connection.recv(5).startswith(b"HTTP/")


def test_a_dripping_service_begins_with_a_byte() -> None:
    with odd("dripping") as port, client.connect(port) as connection:
        connection.sendall(ASK)
        assert connection.recv(100) == b"H"


def test_a_sink_answers_what_it_read_whole_and_goes_on() -> None:
    with odd("sink") as port, client.connect(port) as connection:
        for _ in range(2):
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
            assert client.exchange(connection, b"cd").status == 200
        assert client.exchange(connection, ASK).status == 200


# ---- planted differences


def answer_of(kind: noisy_service.Kind, seed: int) -> Answer:
    head, _, body = kind.answer(random.Random(seed)).partition(b"\r\n\r\n")
    status, fields = client.parse_head(head)
    assert int(fields["content-length"]) == len(body)
    return Answer(status, tuple((name.encode(), value.encode()) for name, value in fields.items()), body)


def test_there_are_fifty_plants_each_in_a_place_of_its_own() -> None:
    assert len(PLANTS) == len({plant.key for plant in PLANTS}) == 50


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.path} {plant.kind}")
def test_a_plant_brings_what_it_says_and_else_only_noise(plant: Plant) -> None:
    rules = CompiledRules(Rules(headers=("*",)))
    plain, planted = noisy_service.Kind(None, plant.endpoint), noisy_service.Kind(plant, plant.endpoint)
    found = {(each.path, each.kind.value) for seed in range(6)
             for each in compare(rules, answer_of(plain, seed), answer_of(planted, seed + 100)).differences}
    assert (plant.path, plant.kind) in found
    mine = {(plant.path, plant.kind), *plant.with_it}
    assert all(path.startswith(tuple(f"$.{name}" for name in NOISE)) for path, _ in found - mine)


def test_two_plain_answers_differ_in_the_five_noisy_fields_alone() -> None:
    rules, plain = CompiledRules(Rules(headers=("*",))), noisy_service.Kind(None, PLAIN)
    found = {each.path.partition("[")[0].removeprefix("$.") for seed in range(40)
             for each in compare(rules, answer_of(plain, seed), answer_of(plain, seed + 100)).differences}
    assert found == set(NOISE)


@pytest.mark.parametrize("endpoint", TYPES)
def test_one_answer_in_so_many_carries_a_plant(endpoint: str) -> None:
    answers = noisy_service.new_answers(endpoint, every=5)
    planted = [kind._plant for kind, _ in zip(answers, range(250), strict=False)]
    assert sum(plant is not None for plant in planted) == 50
    assert all(planted[place] is not None for place in range(4, 250, 5))


def test_what_is_reported_is_judged_against_what_was_planted() -> None:
    first = PLANTS[0]
    groups = [{"endpoint": first.endpoint, "path": first.path, "kind": first.kind, "verdict": "different"},
              {"endpoint": PLAIN, "path": "$.served_at", "kind": "value", "verdict": "noise"},
              {"endpoint": PLAIN, "path": "$.stock", "kind": "value", "verdict": "different"},
              {"endpoint": PLAIN, "path": "$.codes[*]", "kind": "extra", "verdict": "different"}]
    figures, flags = shadow_found.judge(groups)
    assert (figures["found"], figures["missed"], figures["false_groups"], figures["noise_groups"]) == (1, 49, 1, 1)
    assert f"false: {PLAIN} $.stock value" in flags


def test_it_runs_until_each_difference_has_had_its_turns() -> None:
    plants = sum(plant.endpoint == PLAIN for plant in PLANTS)
    sent = shadow_found.planted_in(50)
    mine = sent * shadow_found.SHARES[PLAIN] / sum(shadow_found.SHARES.values())
    assert mine / 50 / plants >= shadow_found.TURNS
