"""Servers that stop, die and break, in front of the whole program and at every byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deadline import wait_until
from tests.support.faults import in_threads, sockets_to, whole_program, wires, workers_of
from tests.support.origins import Origin, Peer
from tests.support.story import Story, get, request
from tests.support.wire import Wire


def test_late_answers_of_a_server_that_stood_still_reach_nobody_else(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml", timeouts="response_head: 1s") as (turnout, backend), \
            wires(turnout.address, 20) as clients:
        for number, client in enumerate(clients):
            assert client.ask(get(f"/before/{number}")).body == b"/before/%d" % number
        backend.stop()
        for number, client in enumerate(clients):
            client.send(get(f"/lost/{number}"))
        assert {client.response().status for client in clients} == {504}
        backend.go_on()
        for turn in range(5):
            for number, client in enumerate(clients):
                client.send(get(f"/after/{turn}/{number}"))
            for number, client in enumerate(clients):
                answer = client.response()
                assert (answer.status, answer.body) == (200, b"/after/%d/%d" % (turn, number))


def test_a_server_killed_in_the_middle_of_its_answers_leaves_cut_answers_and_a_clean_pool(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml") as (turnout, backend), wires(turnout.address, 10) as clients:
        for client in clients:
            client.send(get(f"/?big={1 << 30}"))
            assert client.read_until(b"\r\n\r\n")
        backend.kill()
        for client in clients:
            assert len(client.rest()) < 1 << 30
        assert turnout.ask("/")[0] == 502
        (worker,) = workers_of(turnout)
        for _ in range(50):
            assert turnout.ask("/")[0] == 502
        wait_until(lambda: sockets_to(worker, backend.port) == 0, "every connection to the server closed")


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
ANSWERS = {
    "sized": b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world",
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-T: 1\r\n\r\n"),
    "interim": HINTS + b"HTTP/1.1 204 No Content\r\n\r\n",
}


def breaking_at_every_byte(story: Story, whole: bytes, *, resets: bool) -> Origin:
    """`/N` gets the first N bytes of the answer and the end of the connection; every other target a whole answer."""
    def script(peer: Peer) -> None:
        while head := peer.read_head():
            target = head.split(b" ")[1][1:]
            if target.isdigit():
                peer.send(whole[:int(target)])
                if resets:
                    peer.reset()
                return
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
    return story.origin(script)


@pytest.mark.parametrize("framing", ANSWERS)
@pytest.mark.parametrize("end", ["FIN", "RST"])
def test_an_answer_that_breaks_at_any_byte_never_looks_whole(story: Story, framing: str, end: str) -> None:
    whole = ANSWERS[framing]
    worker = story.worker(breaking_at_every_byte(story, whole, resets=end == "RST"))
    for size in range(len(whole)):
        for version in ("1.1", "1.0"):
            client = story.client(worker)
            client.send(request("GET", f"/{size}", "Connection: close", version=version))
            got = received(client)
            final = got.removeprefix(HINTS)
            assert b" 200 " not in final[:20] or not looks_whole(final), (size, version, got)
            assert b" 204 " not in final, (size, version, got)
        assert story.client(worker).ask(get("/after")).body == b"after"


def received(client: Wire) -> bytes:
    """Everything until the end; a reset is written down as one."""
    data = b""
    try:
        while piece := client.sock.recv(65536):
            data += piece
    except ConnectionResetError:
        data += b"<RST>"
    return data


def looks_whole(answer: bytes) -> bool:
    """Whether somebody would take this for an answer that has ended."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end or answer.endswith(b"<RST>"):
        return False
    if b"Content-Length: 11" in head:
        return len(body) == 11
    return not (b"chunked" in head and not body.endswith(b"\r\n\r\n"))


def test_answers_that_drip_byte_by_byte_arrive_whole(story: Story) -> None:
    def script(peer: Peer) -> None:
        while peer.read_head():
            for answer in ANSWERS.values():
                for place in range(len(answer)):
                    peer.send(answer[place:place + 1])
                if answer is not ANSWERS["interim"]:
                    peer.read_head()

    client = story.client(story.worker(story.origin(script)))
    assert client.ask(get()).body == b"hello world"
    assert client.ask(get()).trailers == ((b"x-t", b"1"),)
    assert client.ask(get()).status == 204


def test_many_clients_and_a_server_that_comes_and_goes_keep_to_their_own_answers(tmp_path: Path) -> None:
    with whole_program(config=tmp_path / "t.yaml", timeouts="response_head: 500ms", workers=2) as (turnout, backend):
        def ask(number: int) -> None:
            with Wire(turnout.address) as client:
                for turn in range(40):
                    answer = client.ask(get(f"/{number}/{turn}"))
                    assert answer.status in (200, 504)
                    if answer.status == 200:
                        assert answer.body == b"/%d/%d" % (number, turn)

        def come_and_go(_: int) -> None:
            for _ in range(2):
                backend.stop()
                with Wire(turnout.address) as client:
                    assert client.ask(get("/while/stopped")).status == 504
                backend.go_on()
                with Wire(turnout.address) as client:
                    assert client.ask(get("/while/running")).status == 200

        in_threads(9, lambda number: ask(number) if number else come_and_go(number))
        assert turnout.ask("/after") == (200, b"/after")
