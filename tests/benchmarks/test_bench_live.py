from __future__ import annotations

import socket
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from benchmarks import live, proc
from benchmarks.loads import admin, steady
from benchmarks.loads.wrk import LoadError
from benchmarks.peers.base import Place
from benchmarks.peers.live import Live
from benchmarks.processes import Programs
from benchmarks.scenarios import change, flood, steadiness
from benchmarks.scenarios.steadiness import Phase
from tests.support.deadline import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def account(*losses: steady.Loss, ends: tuple[int, ...] = (20, 30)) -> steady.Account:
    dues = array("q", [end - 5 for end in ends])
    by_new = array("b", [0] * len(ends))
    return steady.Account(len(ends) + len(losses), 1, losses, {}, dues, dues, array("q", ends), by_new)


def loss(port: int, at: int = 25, idle_ns: int = 0) -> steady.Loss:
    return steady.Loss(sent=at - 1, lost=at, port=port, idle_ns=idle_ns, nth=1, why="closed before an answer")


class Servant:
    """Accepts connections in turn; `answer` does with each what it likes."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self.accepted = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            self.accepted += 1
            with connection:
                self._answer(connection)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def loaded(tmp_path: Path, answer: Callable[[socket.socket], None], accepted: int) -> steady.Account:
    """What becomes of a load on one connection at a time, until so many were accepted."""
    servant = Servant(answer)
    try:
        plan = steady.Plan(servant.port, 200, str(tmp_path / "record"), connections=1)
        with steady.Running(plan, list(range(64))) as load:
            wait_until(lambda: servant.accepted >= accepted, "connections")
            return load.stop()
    finally:
        servant.close()


def test_a_connection_that_the_proxy_says_it_closes_is_not_used_again(tmp_path: Path) -> None:
    def once(connection: socket.socket) -> None:
        if connection.recv(65_536):
            connection.sendall(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    told = loaded(tmp_path, once, accepted=5)
    assert len(told.ends) >= 4
    assert not [each for each in told.losses if each.why != "no answer"]


def test_a_request_whose_connection_ends_before_an_answer_is_lost(tmp_path: Path) -> None:
    def close(connection: socket.socket) -> None:
        connection.recv(65_536)

    told = loaded(tmp_path, close, accepted=3)
    assert {each.why for each in told.losses} >= {"closed before an answer"}
    assert not told.ends


def test_a_refusal_is_told_in_turnouts_words(tmp_path: Path) -> None:
    body = b"503 Too much is asked at once.\nall places are taken\nAt fault: proxy.\n"

    def refuse(connection: socket.socket) -> None:
        if connection.recv(65_536):
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                               b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    told = loaded(tmp_path, refuse, accepted=3)
    assert {each.why for each in told.losses} >= {"answered 503 (Too much is asked at once)"}


def test_every_request_says_when_it_was_sent(tmp_path: Path) -> None:
    stamps: list[int] = []

    def read(connection: socket.socket) -> None:
        while data := connection.recv(65_536):
            stamps.append(int(data.partition(b"X-Sent: ")[2].split(b"\r\n")[0]))
            connection.sendall(ANSWER)
            if len(stamps) % 5 == 0:
                return

    before = time.monotonic_ns()
    told = loaded(tmp_path, read, accepted=3)
    assert stamps == sorted(stamps)
    assert before < stamps[0] <= stamps[-1] < time.monotonic_ns()
    assert set(told.sents) <= set(stamps)


def test_a_loss_on_a_connection_of_the_killed_worker_is_nobodys_fault() -> None:
    phase = Phase("kills", since=0, until=100, times=1, theirs={7})
    run = steadiness.judge("steadiness", phase, account(loss(7), loss(8)))
    assert (run.figures["lost"], run.figures["lost_with_victim"]) == (1, 1)
    assert run.flags == ("1 lost: closed before an answer",)


def test_a_loss_counts_in_the_phase_in_which_it_happened() -> None:
    phase = Phase("changes", since=0, until=30)
    assert steadiness.judge("steadiness", phase, account(loss(7, at=40))).figures["lost"] == 0


def test_a_loss_on_a_connection_idle_for_long_is_told_apart() -> None:
    assert live.in_words([loss(7, idle_ns=steady.STALE_NS + 1), loss(8)]) == (
        "1 lost: closed before an answer on a connection idle for long", "1 lost: closed before an answer")


@pytest.mark.parametrize(("since", "until", "found"), [(10, 20, 0), (9, 21, 2), (15, 40, 2), (50, 60, 0)])
def test_what_was_sent_between_an_answer_and_the_next_call_is_counted(since: int, until: int, found: int) -> None:
    assert change.within([10, 20, 30], since, until) == found


def test_half_of_the_flood_is_bad_and_every_request_is_whole() -> None:
    texts = flood.requests_of(9900)
    assert len(texts) == 8
    assert sum("wrong" in text or "nothing-here" in text or text.startswith("PUT") for text in texts) == 4
    for text in texts:
        head, _, body = text.partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}" in head or not body


def test_a_live_turnout_keeps_its_journal_where_it_is_told_and_its_file_changes_whole(tmp_path: Path) -> None:
    peer = Live("/somewhere", "off")
    place = Place(port=18080, folder=tmp_path, old=("127.0.0.1:9001",), new=("127.0.0.1:9002",), admin_port=19900)
    peer.write(place, new=25)
    config = yaml.safe_load((tmp_path / "turnout.yaml").read_text())
    assert config["state_dir"] == "/somewhere"
    assert config["routes"][0]["split"] == {"old": 75, "new": 25}
    assert [path.name for path in tmp_path.iterdir()] == ["turnout.yaml"]


def test_what_outlives_its_parent_is_ended_with_the_program(tmp_path: Path) -> None:
    with Programs(tmp_path) as programs:
        program = programs.start("orphaning", ["sh", "-c", "sleep 1000 & sleep 1000 & kill -9 $$"], [0])
        program.process.wait()
        wait_until(lambda: len(proc.session(program.pid)) == 2, "two orphans")
        left = proc.session(program.pid)
    wait_until(lambda: not any(proc.runs(process) for process in left), "their end")


def test_an_operators_program_says_what_it_was_refused() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    servant = Servant(refuse)
    try:
        with pytest.raises(LoadError, match="409"):
            admin.Admin(servant.port).must("POST", "/api/v1/rollback", {})
    finally:
        servant.close()
