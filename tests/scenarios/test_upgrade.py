"""The whole program is upgraded in place: its API, its journal, its counters and its clients notice nothing."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.client import Refused
from proxy.clock import monotonic
from tests.support.deadline import wait_until
from tests.support.front import write_file
from tests.support.load import Load
from tests.support.origins import StrictOrigin, ok
from tests.support.processes import all_gone
from tests.support.turnout import Turnout, running
from tests.support.wire import Wire, refuses

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"
ROUTE = {"name": "shop", "split": {"old": 1, "new": 0}}


class Shop:
    """Turnout between an old and a new version, and its file."""

    def __init__(self, folder: Path, stack: ExitStack, settings: dict[str, Any], environ: dict[str, str]) -> None:
        self.folder = folder
        self.old, self.new = (stack.enter_context(tagged(name)) for name in (b"old", b"new"))
        self.file = self.write(**settings)
        self.turnout = stack.enter_context(running("-c", str(self.file), environ=environ))

    def write(self, **settings: Any) -> Path:
        return write_file(self.folder, {"old": self.old.url, "new": self.new.url}, [ROUTE],
                          **{"watch": "none", **settings})

    def split(self, old: float, new: float) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.turnout.admin.removeprefix("http://"), timeout=15)
        body = json.dumps({"split": {"old": old, "new": new}, "reason": "because"})
        connection.request("PUT", "/api/v1/routes/shop/split", body, {"Content-Type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def events(self) -> list[str]:
        connection = http.client.HTTPConnection(self.turnout.admin.removeprefix("http://"), timeout=15)
        connection.request("GET", "/api/v1/events")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return [event["verb"] for event in answer["events"]]

    def upgrade(self, time: int = 1) -> int:
        """Upgrade it; returns the new process, once it serves its API."""
        pid: int = self.turnout.post("/api/v1/upgrade", {"reason": "0.2.0"})["pid"]
        self.turnout.event("serving", time + 1)
        return pid


def tagged(name: bytes) -> StrictOrigin:
    return StrictOrigin(lambda _: ok(name))


@contextmanager
def shop(folder: Path, environ: dict[str, str] | None = None, **settings: Any) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(folder, stack, settings, environ or {})


def pids(turnout: Turnout) -> list[int]:
    return [worker["pid"] for worker in turnout.status()["workers"]]


def requests(turnout: Turnout) -> int:
    totals = turnout.status()["routes"][0]["totals"]
    return sum(sum(version["codes"].values()) for version in totals.values())


@pytest.mark.parametrize("state", ["memory", "folder"])
def test_an_upgrade_under_load_keeps_state_journal_and_counters_and_loses_nothing(tmp_path: Path, state: str) -> None:
    with shop(tmp_path, state_dir="memory" if state == "memory" else str(tmp_path / "state")) as it:
        turnout = it.turnout
        with Load(turnout.address, 8, GET) as load:
            load.wait_each(5)
            revision = it.split(0, 100)["revision"]
            load.wait_each(1)  # what was under way to the old version has arrived
            so_far, workers = len(it.old.requests), pids(turnout)
            it.upgrade()
            all_gone(*workers)
            load.wait_each(10)
            assert it.split(0, 90)["revision"] == revision + 1
            load.stop()
        assert (load.lost, load.strange, len(it.old.requests)) == ([], [], so_far)
        assert not any(client.refused for client in load.clients)
        assert it.events() == ["start", "split", "upgrade", "split"]
        wait_until(lambda: requests(turnout) == load.answered, "every request is counted once")
        assert turnout.wait() == 0


def test_upgrades_follow_each_other_and_the_last_one_leaves_as_the_first_would(tmp_path: Path) -> None:
    with shop(tmp_path, state_dir=str(tmp_path / "state")) as it:
        processes = [it.turnout.process.pid, *(it.upgrade(time) for time in (1, 2, 3))]
        assert len(set(processes)) == 4
        assert it.events() == ["start", "upgrade", "upgrade", "upgrade"]
        os.kill(processes[-1], signal.SIGTERM)
        all_gone(*processes)


def test_a_program_that_does_not_start_changes_nothing_and_the_answer_says_why(tmp_path: Path) -> None:
    with shop(tmp_path, state_dir=str(tmp_path / "state")) as it:
        workers = pids(it.turnout)
        it.file.write_text("listen: [")
        with pytest.raises(Refused, match="nothing has changed: the new program ended with exit code 3"):
            it.turnout.post("/api/v1/upgrade")
        it.write(admin={"listen": "192.0.2.1:1", "tokens": []}, state_dir=str(tmp_path / "state"))
        with pytest.raises(Refused, match="nothing has changed"):
            it.turnout.post("/api/v1/upgrade")
        assert it.split(0, 1)["applied"]["workers"] == 2
        assert it.turnout.ask() == (200, b"new")
        assert pids(it.turnout) == workers
        wait_until(lambda: it.events() == ["start", "upgrade-failed", "upgrade-failed", "split"], "it is journaled")


def test_what_a_reload_cannot_change_takes_effect_with_an_upgrade(tmp_path: Path) -> None:
    with shop(tmp_path, state_dir=str(tmp_path / "a")) as it, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        it.split(0, 100)
        host, before = it.turnout.address
        it.write(listen=[f"{host}:{before}", f"127.0.0.1:{port}"], workers=3, state_dir=str(tmp_path / "b"))
        it.upgrade()
        assert len(pids(it.turnout)) == 3
        for each in (before, port):
            with Wire((host, each)) as wire:
                assert wire.ask(GET).body == b"new", "what was changed at run time moves to the other journal"
        it.write(listen=f"127.0.0.1:{port}", workers=1, state_dir=str(tmp_path / "b"))
        it.upgrade(2)
        wait_until(lambda: refuses((host, before)), "nobody listens on the address that is not wanted any more")
        with Wire((host, port)) as wire:
            assert wire.ask(GET).body == b"new"


def test_of_two_upgrades_at_once_one_is_refused(tmp_path: Path) -> None:
    with shop(tmp_path) as it:
        said: list[object] = []

        def ask() -> None:
            try:
                said.append(it.turnout.post("/api/v1/upgrade")["pid"])
            except Refused as error:
                said.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [str(each) for each in said if not isinstance(each, int)]
        assert len(refused) == 1, said
        assert "an upgrade is under way" in refused[0]


def test_leaving_gives_up_an_upgrade_that_is_under_way(tmp_path: Path) -> None:
    with shop(tmp_path) as it:
        said: list[str] = []

        def ask() -> None:
            with pytest.raises(Refused) as error:
                it.turnout.post("/api/v1/upgrade")
            said.append(str(error.value))

        assert it.turnout.admin
        it.file.unlink()
        os.mkfifo(it.file)  # who reads it waits for somebody to write
        asking = threading.Thread(target=ask)
        asking.start()
        it.turnout.event("upgrading")
        it.turnout.tell(signal.SIGTERM)
        assert it.turnout.wait() == 0
        it.turnout.join()
        assert it.turnout.has_ended, "the successor, too"
        asking.join()
        assert "Turnout is leaving" in said[0]


def test_after_kill_9_a_new_program_serves_with_state_and_api_within_a_second(tmp_path: Path) -> None:
    with shop(tmp_path, state_dir=str(tmp_path / "state")) as it, Load(it.turnout.address, 8, GET) as load:
        host, port = it.turnout.address
        it.split(0, 100)
        load.wait_each(5)
        so_far = len(it.old.requests)
        it.turnout.tell(signal.SIGKILL)
        it.turnout.process.wait()
        load.wait_each(5)
        file = it.write(listen=f"{host}:{port}", state_dir=str(tmp_path / "state"))
        began = monotonic()
        with running("-c", str(file)) as second:
            assert second.status()["revision"] == 2
            took_s = monotonic() - began
            load.wait_each(10)
            load.stop()
            assert (load.lost, load.strange, len(it.old.requests)) == ([], [], so_far)
            assert not any(client.refused for client in load.clients)
            assert took_s < 10, "a second on a machine with nothing else to do"


# ---- systemd


class Manager:
    """Takes the place of systemd: what it is told, in order."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(15)

    def told(self, name: str) -> dict[str, str]:
        """The next message with this name in it."""
        while True:
            message = dict(line.split("=", 1) for line in self.sock.recv(4096).decode().split("\n"))
            if name in message:
                return message


def test_systemd_is_told_of_start_reload_upgrade_and_leaving(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    manager = Manager(path)
    with manager.sock, shop(tmp_path, {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}) as it:
        first = it.turnout.process.pid
        ready = manager.told("READY")
        assert ready["MAINPID"] == str(first)
        assert "serving 1 route on 127.0.0.1:" in ready["STATUS"]
        assert manager.told("WATCHDOG")
        it.turnout.tell(signal.SIGHUP)
        assert manager.told("RELOADING")
        assert manager.told("READY")
        it.turnout.tell(signal.SIGUSR2)
        second = int(manager.told("READY")["MAINPID"])
        assert second != first
        assert it.turnout.wait() == 0
        assert manager.told("WATCHDOG"), "the new one is alive"
        os.kill(second, signal.SIGTERM)
        assert int(manager.told("STOPPING")["EXTEND_TIMEOUT_USEC"]) > 30_000_000
        all_gone(second)
