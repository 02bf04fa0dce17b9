"""Promises that only the whole program can keep: several workers, restarts, deaths, and leaving under load."""

from __future__ import annotations

import math
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.front import write_file
from tests.support.httpbin_server import ROOT
from tests.support.load import Load
from tests.support.origins import Origin, Peer, StrictOrigin, ok
from tests.support.processes import all_gone
from tests.support.turnout import COMMAND, Turnout, between, running
from tests.support.wire import Wire, refuses

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"
ENOUGH_SIGMA = 6.0
"""How far from its expectation a count may be: by chance beyond it once in half a billion runs."""


def asking(*fields: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: shop.example.com", *fields]).encode() + b"\r\n\r\n"


def versions(stack: ExitStack, *names: str) -> dict[str, str]:
    """A server per version that answers with the version's name."""
    return {name: stack.enter_context(named(name)).url for name in names}


def named(version: str) -> StrictOrigin:
    return StrictOrigin(lambda _: ok(version.encode()))


@contextmanager
def shop(folder: Path, split: Mapping[str, float], route: Mapping[str, Any] | None = None,
         **settings: Any) -> Iterator[Turnout]:
    """Turnout with one route, and a server for each version of its split."""
    with ExitStack() as stack:
        file = write_file(folder, versions(stack, *split), [{"name": "shop", "split": dict(split), **(route or {})}],
                          **settings)
        yield stack.enter_context(running("-c", str(file)))


def close_to(count: int, share: float, of: int) -> bool:
    return abs(count - of * share) <= ENOUGH_SIGMA * math.sqrt(of * share * (1 - share))


def issued(wire: Wire, name: str = "turnout") -> tuple[str, str]:
    """What version a client without a cookie gets, and the pair `name=value` it is given."""
    answer = wire.ask(GET)
    cookie = (answer.value(b"set-cookie") or b"").decode()
    assert cookie.startswith(f"{name}="), answer
    return answer.body.decode(), cookie.partition(";")[0]


def workers_of(turnout: Turnout) -> list[dict[str, Any]]:
    view: list[dict[str, Any]] = turnout.status()["workers"]
    return view


@contextmanager
def on_every_worker(turnout: Turnout, connections: int = 8) -> Iterator[list[Wire]]:
    """Connections spread over all workers: as many as asked for, and more while one worker has none of them."""
    with ExitStack() as stack:
        wires: list[Wire] = []

        def reported() -> list[int] | None:
            counts = [worker["connections"] for worker in workers_of(turnout)]
            return counts if sum(counts) >= len(wires) else None

        while len(wires) < connections or not all(wait_until(reported, "every connection is reported")):
            wires.append(stack.enter_context(Wire(turnout.address)))
        yield wires


# ---- what goes where


def test_without_stickiness_the_weights_of_the_file_are_realised(tmp_path: Path) -> None:
    with shop(tmp_path, {"old": 70, "new": 20, "next": 10}) as turnout, on_every_worker(turnout) as wires:
        got = Counter(wires[number % len(wires)].ask(GET).body.decode() for number in range(1200))
    for version, share in (("old", 0.7), ("new", 0.2), ("next", 0.1)):
        assert close_to(got[version], share, 1200), got


def test_with_stickiness_clients_are_split_by_the_weights_of_the_file(tmp_path: Path) -> None:
    sticky = {"sticky": {"by": "cookie"}}
    with shop(tmp_path, {"old": 3, "new": 1}, sticky) as turnout, on_every_worker(turnout) as wires:
        clients = [issued(wires[number % len(wires)]) for number in range(800)]
    assert len({cookie for _, cookie in clients}) == 800
    got = Counter(version for version, _ in clients)
    assert close_to(got["new"], 0.25, 800), got


def test_a_version_of_weight_0_gets_nothing(tmp_path: Path) -> None:
    with shop(tmp_path, {"old": 1, "new": 0}) as turnout, on_every_worker(turnout) as wires:
        assert {wire.ask(GET).body for wire in wires for _ in range(20)} == {b"old"}


@pytest.mark.parametrize("mode", ["ramp", "session"])
def test_a_client_stays_with_its_version_on_every_worker_and_after_a_restart(tmp_path: Path, mode: str) -> None:
    route = {"sticky": {"by": "cookie", "mode": mode}}
    clients: list[tuple[str, str]] = []
    for _ in range(2):
        with shop(tmp_path, {"old": 1, "new": 1}, route, state_dir=str(tmp_path / "state")) as turnout:
            with on_every_worker(turnout) as wires:
                clients = clients or [issued(wires[number % len(wires)]) for number in range(24)]
                for version, cookie in clients:
                    for wire in wires:
                        answer = wire.ask(asking(f"Cookie: a=b; {cookie}"))
                        assert answer.body.decode() == version
                        assert answer.value(b"set-cookie") is None, "a client that is known needs no new cookie"
            turnout.tell(signal.SIGTERM)
            assert turnout.wait() == 0
    assert {version for version, _ in clients} == {"old", "new"}, "24 clients on one side: once in eight million"


def test_a_session_keeps_its_version_when_a_restart_brings_other_weights(tmp_path: Path) -> None:
    route = {"sticky": {"by": "cookie", "mode": "session"}}
    state = {"state_dir": str(tmp_path / "state")}
    with shop(tmp_path, {"old": 1, "new": 0}, route, **state) as turnout, Wire(turnout.address) as wire:
        version, session = issued(wire)
    with shop(tmp_path, {"old": 0, "new": 1}, route, **state) as turnout, on_every_worker(turnout) as wires:
        for wire in wires:
            assert wire.ask(asking(f"Cookie: {session}")).body.decode() == version == "old"
            assert issued(wire)[0] == "new"
            assert wire.ask(asking(f"Cookie: {session[:-1]}x")).body == b"new", "a forged session is none"


def test_raising_the_share_in_the_file_moves_clients_to_it_and_nobody_back(tmp_path: Path) -> None:
    keys = [secrets.token_hex(12) for _ in range(200)]
    seen: list[dict[str, bytes]] = []
    for weight in (10, 40, 100):
        with shop(tmp_path, {"old": 100 - weight, "new": weight}, {"sticky": {"by": "cookie"}},
                  state_dir=str(tmp_path / "state")) as turnout, Wire(turnout.address) as wire:
            seen.append({key: wire.ask(asking(f"Cookie: turnout={key}")).body for key in keys})
    for before, after in pairwise(seen):
        assert all(after[key] == b"new" for key in keys if before[key] == b"new")
    assert set(seen[-1].values()) == {b"new"}
    assert close_to(sum(body == b"new" for body in seen[1].values()), 0.4, len(keys))


def test_an_override_counts_from_its_networks_and_is_just_a_field_from_elsewhere(tmp_path: Path) -> None:
    for networks, expected in ((["127.0.0.0/8"], b"new"), (["10.0.0.0/8"], b"old")):
        route = {"override": {"header": "X-Turnout-Version", "cookie": "version", "from": networks}}
        with shop(tmp_path, {"old": 1, "new": 0}, route) as turnout, on_every_worker(turnout) as wires:
            for wire in wires:
                assert wire.ask(asking("X-Turnout-Version: new")).body == expected
                assert wire.ask(asking("Cookie: a=b; version=new")).body == expected
                assert wire.ask(asking("X-Turnout-Version: none-such")).body == b"old"
                assert wire.ask(GET).body == b"old"


def test_routes_go_by_host_path_and_method(tmp_path: Path) -> None:
    with ExitStack() as stack:
        routes = [
            {"name": "api", "match": {"host": "shop.example.com", "path": "/api"}, "split": {"api": 1}},
            {"name": "wild", "match": {"host": "*.example.org"}, "split": {"wild": 1}},
            {"name": "writes", "match": {"methods": ["DELETE"]}, "split": {"writes": 1}},
            {"name": "rest", "match": {"host": "shop.example.com"}, "split": {"rest": 1}},
        ]
        file = write_file(tmp_path, versions(stack, "api", "wild", "writes", "rest"), routes)
        turnout = stack.enter_context(running("-c", str(file)))
        for method, host, path, expected in (
            ("GET", "shop.example.com", "/api", (200, b"api")),
            ("GET", "shop.example.com", "/api/x?y", (200, b"api")),
            ("GET", "shop.example.com", "/apix", (200, b"rest")),
            ("GET", "SHOP.example.com:80", "/", (200, b"rest")),
            ("GET", "a.b.example.org", "/api", (200, b"wild")),
            ("DELETE", "elsewhere.example", "/", (200, b"writes")),
        ):
            assert turnout.ask(path, method, {"Host": host}) == expected
        assert turnout.ask("/", "GET", {"Host": "elsewhere.example"})[0] == 404


# ---- leaving and dying under load


def busy_origin() -> StrictOrigin:
    return StrictOrigin(lambda _: ok(b"x" * 2000))


POST = b"POST / HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 200000\r\n\r\n" + b"y" * 200_000


def alone(folder: Path, old: StrictOrigin | Origin) -> Path:
    """The file of a Turnout whose workers do not wait for another supervisor."""
    return write_file(folder, {"old": old.url}, [{"name": "shop", "split": {"old": 1}}], timeouts={"orphan": "0s"})


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_leaving_under_load_loses_no_request(told: signal.Signals, request_: bytes, tmp_path: Path) -> None:
    with busy_origin() as old, running("-c", str(alone(tmp_path, old))) as turnout:
        with Load(turnout.address, 12, request_) as load:
            load.wait_each(10)
            turnout.tell(told)   # of the supervisor: without it, and without time for orphans, workers leave as well
            load.wait(lambda: all(client.is_gone for client in load.clients), "every client was sent away")
        assert (load.lost, load.strange) == ([], [])
        assert all(client.refused for client in load.clients)
        assert load.answered == len(old.requests), "every request that reached the server was answered"
        if told is signal.SIGTERM:
            assert turnout.wait() == 0
            assert turnout.event("left")["connections_cut"] == 0


def test_a_worker_killed_under_load_costs_the_other_workers_connections_nothing() -> None:
    with busy_origin() as old, running(*between(old.url, old.url, workers=2)) as turnout:
        with Load(turnout.address, 20, GET) as load:
            load.wait_each(20)
            victim = workers_of(turnout)[0]["pid"]
            open_to = {client: client.connections for client in load.clients}
            os.kill(victim, signal.SIGKILL)
            load.wait_each(20)
            wait_restarts(turnout, 1)
            load.wait_each(20)
        untouched = [client for client in load.clients if client.connections == open_to[client]]
        assert untouched, "all twenty connections on one of two workers: once in a million"
        assert len(load.lost) <= len(load.clients) - len(untouched)
        assert all(len(client.lost) <= 1 for client in load.clients), "one death, at most one request of each client"
        assert not any(client.lost or client.refused for client in untouched)
        assert not any(client.refused for client in load.clients)
        assert load.strange == []
        turnout.tell(signal.SIGTERM)
        assert turnout.wait() == 0


def test_new_connections_are_answered_all_the_while_workers_die_one_after_the_other() -> None:
    with busy_origin() as old, running(*between(old.url, old.url, workers=2)) as turnout:
        for restarts in range(1, 4):
            os.kill(workers_of(turnout)[restarts % 2]["pid"], signal.SIGKILL)
            for _ in range(8):
                # The connection may wait in the queue of the dead worker for its successor; it is not reset.
                with Wire(turnout.address) as wire:
                    wire.send(GET)
                    assert wire.response().status == 200
            wait_restarts(turnout, restarts)


def wait_restarts(turnout: Turnout, count: int) -> None:
    """Wait until so many workers were replaced, and all serve."""
    def look() -> bool:
        view = turnout.status()
        return view["restarts"] == count and {worker["state"] for worker in view["workers"]} == {"serving"}
    wait_until(look, f"{count} workers were replaced")


def dripping(release: threading.Event) -> Origin:
    """A server that begins each answer and goes on when it is told to."""

    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            release.wait()
            peer.send(b"done")

    return Origin(script)


def test_without_their_supervisor_workers_finish_what_is_in_flight_and_leave(tmp_path: Path) -> None:
    release = threading.Event()
    with dripping(release) as old, running("-c", str(alone(tmp_path, old))) as turnout, ExitStack() as stack:
        wires = [stack.enter_context(Wire(turnout.address)) for _ in range(6)]
        for wire in wires:
            wire.send(GET)
            assert wire.read_until(b"half").endswith(b"half")
        pids = [worker["pid"] for worker in workers_of(turnout)]
        turnout.tell(signal.SIGKILL)
        turnout.process.wait()
        wait_until(lambda: refuses(turnout.address), "nobody new is let in")
        release.set()
        for wire in wires:
            assert wire.rest() == b"done"
        all_gone(*pids)


def test_after_its_supervisor_was_killed_a_new_one_takes_the_port_and_the_clients(tmp_path: Path) -> None:
    with shop(tmp_path, {"old": 1}) as first:
        host, port = first.address
        assert first.ask() == (200, b"old")
        pids = [worker["pid"] for worker in workers_of(first)]
        first.tell(signal.SIGKILL)
        first.process.wait()
        assert first.ask() == (200, b"old"), "the workers serve on"
        with shop(tmp_path, {"old": 1}, listen=f"{host}:{port}") as second:
            assert second.ask() == (200, b"old")
            all_gone(*pids)
            assert second.ask() == (200, b"old")


# ---- starting, or not


def run_to_its_end(*arguments: str, verb: str = "run", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, verb, *arguments], capture_output=True, text=True, timeout=30, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_turnout_on_the_same_port_says_who_is_in_the_way(tmp_path: Path, workers: int) -> None:
    with shop(tmp_path, {"old": 1}, workers=workers) as first:
        host, port = first.address
        with StrictOrigin() as origin:
            apart = tmp_path / "second"     # the first one watches its own file
            apart.mkdir()
            file = write_file(apart, {"old": origin.url}, [{"name": "shop", "split": {"old": 1}}],
                              listen=f"{host}:{port}", workers=workers)
            second = run_to_its_end("-c", str(file))
        assert second.returncode == 1
        assert f"cannot listen on {host}:{port}" in second.stderr
        named = re.search(r"\(pid ([0-9]+)\)", second.stderr)
        assert named is not None, second.stderr
        assert int(named[1]) in {first.process.pid, *(worker["pid"] for worker in workers_of(first))}
        assert "Traceback" not in second.stderr
        assert first.ask() == (200, b"old"), "the first one does not notice"


def test_a_wrong_file_is_answered_with_every_problem_in_its_place_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = tmp_path / "turnout.yaml"
    file.write_text(
        f"listen: 127.0.0.1:{port}\n"
        "wrokers: 2\n"
        f"state_dir: {tmp_path / 'state'}\n"
        "timeouts: {drain: 30 parsecs}\n"
        "versions:\n"
        "  old: {servers: ['http://127.0.0.1:1']}\n"
        "routes:\n"
        "  - name: shop\n"
        "    split: {old: 95, nwe: 5}\n"
    )
    result = run_to_its_end("-c", str(file))
    assert result.returncode == 3
    places = re.findall(rf"^{re.escape(str(file))}:([0-9]+):([0-9]+): (.*)$", result.stderr, re.MULTILINE)
    assert [int(line) for line, _, _ in places] == [2, 4, 9], result.stderr
    assert "workers" in places[0][2]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "state").exists()
    assert refuses(("127.0.0.1", port))


@pytest.mark.parametrize("content", [None, b"listen: [\n", b"\xff\xfe\x00", b"", b"- a\n- b\n", b"a: 1\na: 2\n"])
def test_a_file_that_cannot_be_read_is_exit_code_3_with_its_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "turnout.yaml"
    if content is not None:
        file.write_bytes(content)
    result = run_to_its_end("-c", str(file))
    assert result.returncode == 3
    assert result.stderr.startswith(f"{file}:"), result.stderr
    if content:
        assert re.match(rf"{re.escape(str(file))}:[0-9]+:[0-9]+: ", result.stderr), result.stderr
    assert "Traceback" not in result.stderr


def test_the_status_of_a_running_turnout_and_of_none(tmp_path: Path) -> None:
    with shop(tmp_path, {"old": 3, "new": 1}) as turnout:
        admin = turnout.admin
        shown = run_to_its_end("--admin", admin, verb="status")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "75 %" in shown.stdout
        assert "25 %" in shown.stdout
        turnout.tell(signal.SIGTERM)
        assert turnout.wait() == 0
        gone = run_to_its_end("--admin", admin, verb="status")
    assert gone.returncode == 4
    assert "turnout run" in gone.stderr
    assert gone.stdout == ""
