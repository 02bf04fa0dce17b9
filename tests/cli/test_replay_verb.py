from __future__ import annotations

import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.support.origins import Origin, Peer
from tests.support.scripted_api import turnout
from tests.support.shadow_answers import answer, pair, write_pairs
from tests.support.strict import Message

Json = dict[str, Any]
ROOT = str(Path(__file__).resolve().parents[2])


class Server:
    """Answers every request on every connection with the same body; keeps what it was asked."""

    def __init__(self, body: str = '{"price": 10}', status: int = 200, fields: str = "") -> None:
        self.asked: list[Message] = []
        self._answer = (f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{fields}"
                        f"Content-Length: {len(body)}\r\n\r\n{body}").encode()

    def __call__(self, peer: Peer) -> None:
        while (request := peer.request()) is not None:
            self.asked.append(request)
            peer.send(self._answer)


def replayed(server: Callable[[Peer], None], tmp_path: Path, pairs: list[Json | str], *options: str) -> Result:
    file = write_pairs(tmp_path / "shop.jsonl", pairs)
    with Origin(server) as origin:
        return turnout("replay", file, "--to", origin.url, *options, admin="")


def test_the_same_answers_are_a_success(tmp_path: Path) -> None:
    server = Server()
    result = replayed(server, tmp_path, [pair(f"/items/{number}") for number in range(40)])
    assert result.exit_code == 0, result.output
    assert "40 requests sent" in result.stdout
    assert "100 % match: 40 compared, 40 matched, 0 different; 40 sent" in result.stdout
    assert result.stdout.endswith("No differences.\n")
    assert {request.target for request in server.asked} == {b"/items/%d" % number for number in range(40)}


def test_other_answers_are_a_failure_and_grouped(tmp_path: Path) -> None:
    result = replayed(Server('{"price": "10", "more": 1}'), tmp_path, [pair("/items/1"), pair("/items/2")])
    assert result.exit_code == 1
    assert "0 % match: 2 compared, 0 matched, 2 different" in result.stdout
    assert "GET /items/{}  $.price  type\n    2 times, 100 %;" in result.stdout
    assert "GET /items/{}  $.more  extra" in result.stdout


def test_a_request_is_sent_as_it_was_but_for_the_connection_it_came_over(tmp_path: Path) -> None:
    server = Server()
    sent = pair("/items/1?q=a%2Fb&x", "POST", body={"text": '{"a": 1}'}, head={
        "Host": ["shop.example.com"], "X-Two": ["1", "2"], "Content-Length": ["8"], "Transfer-Encoding": ["chunked"],
        "Connection": ["keep-alive, X-Hop"], "X-Hop": ["1"], "User-Agent": ["curl/8"], "Content-Type": ["text/x"]})
    assert replayed(server, tmp_path, [sent]).exit_code == 0
    request, = server.asked
    assert (request.method, request.target, request.body) == (b"POST", b"/items/1?q=a%2Fb&x", b'{"a": 1}')
    assert request.value(b"host") == b"shop.example.com"
    assert request.values(b"x-two") == [b"1", b"2"]
    assert request.value(b"x-hop") is None
    assert (request.value(b"user-agent"), request.value(b"content-type")) == (b"curl/8", b"text/x")
    assert request.value(b"x-turnout-shadow") == b"1"
    assert request.value(b"accept-encoding") is None


def test_bytes_that_are_no_ascii_and_an_empty_query_are_sent_as_they_were(tmp_path: Path) -> None:
    heads: list[bytes] = []

    def serve(peer: Peer) -> None:
        while head := peer.read_head():
            heads.append(head)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
                      b'{"price": 10}')

    fields = {"Host": ["h"], "X-Latin": ["caf\xe9"], "X-Utf-8": ["café".encode().decode("latin-1")], "x-Case": [""]}
    targets = ["/a?", "/a#b?", "/%7e/../\xe9%2F//b?%c3=\xff", "//h/x"]
    pairs: list[Json | str] = [pair(target, head=fields) for target in targets]
    assert replayed(serve, tmp_path, pairs, "--concurrency", "1").exit_code == 0
    assert heads == [
        f"GET {target} HTTP/1.1\r\nHost: h\r\nX-Latin: ".encode("latin-1") + b"caf\xe9\r\nX-Utf-8: caf\xc3\xa9\r\n"
        b"x-Case: \r\nX-Turnout-Shadow: 1\r\n\r\n" for target in targets]


def test_a_request_without_a_host_asks_for_the_one_it_goes_to(tmp_path: Path) -> None:
    server = Server()
    file = write_pairs(tmp_path / "r", [pair(head={})])
    with Origin(server) as origin:
        assert turnout("replay", file, "--to", origin.url, admin="").exit_code == 0
    assert server.asked[0].value(b"host") == origin.url.removeprefix("http://").encode()


@pytest.mark.parametrize("more", [
    {"target": "/a b"}, {"target": "/a\r\nX: 1"}, {"target": "/\u0100"}, {"method": "GET /"},
    {"head": {"X": ["1\r\nY: 2"]}}, {"head": {"X Y": ["1"]}}, {"head": {"X": ["\u0100"]}},
])
def test_what_would_be_another_request_on_the_wire_is_none(more: Json, tmp_path: Path) -> None:
    server = Server()
    result = replayed(server, tmp_path, [pair(**more)])
    assert (result.exit_code, server.asked) == (1, [])
    assert "one that can be sent" in result.stderr


def test_a_request_whose_body_is_not_in_the_recording_is_not_sent_and_told_with_why(tmp_path: Path) -> None:
    server = Server()
    reasons = ["streamed", "streamed", "costly", "coding", "framing", "\x1b[2J"]
    pairs: list[Json | str] = [pair("/x", "POST", body={"left_out": reason}) for reason in reasons]
    pairs.append(pair("/x", "POST", body={"text": ""}, head={"Content-Length": ["12"]}))
    pairs.append(pair("/y", "POST", body={"text": ""}, head={"Host": ["h"], "Content-Length": ["0"]}))
    result = replayed(server, tmp_path, pairs)
    assert [(request.target, request.value(b"content-length")) for request in server.asked] == [(b"/y", b"0")]
    assert result.exit_code == 0
    for words in ("2 not sent: their bodies are not in the recording: they were too long to be held",
                  "1 not sent: their bodies are not in the recording: in a content coding that is not read",
                  "1 not sent: their bodies are not in the recording: an earlier version did not say why"):
        assert words in result.stdout
    assert "\x1b" not in result.output
    view = json.loads(replayed(server, tmp_path, pairs, "--json").stdout)
    assert view["totals"]["skipped"]["body_streamed"] == 2
    assert view["sent"] == 1


def test_a_body_that_was_decoded_is_not_sent_as_if_it_were_not(tmp_path: Path) -> None:
    server = Server()
    coded = {"Host": ["h"], "Content-Encoding": ["gzip"]}
    assert replayed(server, tmp_path, [pair("/x", "POST", body={"text": "plain"}, head=coded)]).exit_code == 0
    assert (server.asked[0].body, server.asked[0].value(b"content-encoding")) == (b"plain", None)


@pytest.mark.parametrize("then", ['"<redacted 1a2b3c4d>"', "<redacted 1a2b3c4d>"])
def test_an_answer_that_is_hidden_as_a_whole_is_no_match(then: str, tmp_path: Path) -> None:
    wide = '{"token": "x"}'.encode("utf-16")

    def serve(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                      % len(wide) + wide)

    hidden = pair(primary=answer(then))
    result = replayed(serve, tmp_path, [hidden])
    assert result.exit_code == 1
    assert "Nothing was compared; 1 sent" in result.stdout
    assert "1 not compared: answer_hidden (one of the two answers is hidden as a whole)" in result.stdout
    assert replayed(serve, tmp_path, [hidden], "--ignore", "body").exit_code == 0
    other = replayed(Server(status=201), tmp_path, [hidden])
    assert "GET /items/{}  status  status" in other.stdout


def test_answers_in_every_framing_are_read(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    body = b'{"price": 10}'
    answers = {
        b"/sized": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head + b"Content-Length: 13\r\n\r\n" + body,
        b"/chunked": head + b"Transfer-Encoding: chunked\r\n\r\n4\r\n" + body[:4] + b"\r\n9;x=y\r\n" + body[4:]
                    + b"\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"/head": head + b"Content-Length: 13\r\n\r\n",
        b"/close": head + b"\r\n" + body,
    }

    def serve(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            peer.send(answers[request.target])
            if request.target == b"/close":
                return

    pairs: list[Json | str] = [pair(target.decode(), "HEAD", primary=answer("")) if target == b"/head"
                               else pair(target.decode()) for target in answers]
    result = replayed(serve, tmp_path, pairs * 2, "--concurrency", "1")
    assert "8 compared, 8 matched" in result.stdout


def test_a_kept_connection_that_has_ended_is_no_failure_of_what_may_be_sent_again(tmp_path: Path) -> None:
    def serve(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if peer.number == 0 and request.target == b"/second":
                peer.reset()
                return
            peer.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"price": 10}')

    pairs: list[Json | str] = [pair("/first"), pair("/second")]
    assert replayed(serve, tmp_path, pairs, "--concurrency", "1").exit_code == 0
    pairs[1] = pair("/second", "POST")
    assert "1 without an answer: broken off" in replayed(serve, tmp_path, pairs, "--concurrency", "1").stdout


def test_the_host_can_be_another_one(tmp_path: Path) -> None:
    server = Server()
    replayed(server, tmp_path, [pair()], "--host", "staging.example.com")
    assert server.asked[0].value(b"host") == b"staging.example.com"


def test_fields_that_held_secrets_are_left_out_and_requests_whose_content_did_are_not_sent(tmp_path: Path) -> None:
    server = Server()
    secret_field = pair("/items/1", head={"Host": ["h"], "Cookie": ["a=<redacted 1a2b3c4d>; b=1"], "X-A": ["1"]})
    secret_body = pair("/items/2", "POST", body={"text": '{"password": "<redacted 1a2b3c4d>"}'})
    secret_target = pair("/items/3?token=redacted-1a2b3c4d")
    result = replayed(server, tmp_path, [secret_field, secret_body, secret_target])
    assert [(request.target, request.value(b"cookie"), request.value(b"x-a")) for request in server.asked] == [
        (b"/items/1", None, b"1")]
    assert result.exit_code == 0
    assert "1 of them without header fields that held secrets" in result.stdout
    assert "2 not sent: their target or body held secrets (--send-redacted" in result.stdout


def test_requests_with_marks_in_place_of_secrets_are_sent_when_told(tmp_path: Path) -> None:
    server = Server()
    body = '{"password": "<redacted 1a2b3c4d>"}'
    replayed(server, tmp_path, [pair("/x", "POST", body={"text": body})], "--send-redacted")
    assert server.asked[0].body == body.encode()


def test_a_secret_in_an_answer_is_equal_to_any_other_and_shown_nowhere(tmp_path: Path) -> None:
    then = answer('{"token": "<redacted 1a2b3c4d>", "n": 1}', Set_Cookie="sid=<redacted 00000000>; Path=/")
    now = Server('{"token": "hunter2-hunter2", "n": 2}', fields="Set-Cookie: sid=hunter2; Path=/\r\n")
    result = replayed(now, tmp_path, [pair(primary=then)], "--json")
    view = json.loads(result.stdout)
    assert [one["path"] for one in view["differences"]] == ["$.n"]
    assert "hunter2" not in result.output


def test_a_compressed_answer_is_compared_by_its_content(tmp_path: Path) -> None:
    body = gzip.compress(b'{"price": 10}')

    def serve(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(body) + body)

    assert replayed(serve, tmp_path, [pair()]).exit_code == 0


def test_rules_come_from_the_route_of_a_file_and_from_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "turnout.yaml"
    config.write_text("versions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}}\nroutes:\n"
                      "  - {name: shop, split: {old: 1, new: 0}, shadow: {to: new, percent: 1, compare: "
                      "{ignore: [$.at]}}}\n")
    now = Server('{"price": 11, "at": 3}')
    pairs: list[Json | str] = [pair(primary=answer('{"price": 10, "at": 1}'))]
    assert replayed(now, tmp_path, pairs).exit_code == 1
    assert replayed(now, tmp_path, pairs, "-c", str(config)).exit_code == 1
    assert replayed(now, tmp_path, pairs, "-c", str(config), "--ignore", "$.price").exit_code == 0
    assert replayed(now, tmp_path, pairs, "--ignore", "$.price", "--ignore", "$.at").exit_code == 0
    unknown = replayed(now, tmp_path, pairs, "-c", str(config), "--route", "shpo")
    assert (unknown.exit_code, "has no route `shpo`: there are shop" in unknown.stderr) == (2, True)


def test_nobody_there_is_exit_code_4(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = write_pairs(tmp_path / "r", [pair(), pair()])
    result = turnout("replay", file, "--to", f"http://127.0.0.1:{port}", admin="")
    assert result.exit_code == 4
    assert "2 without an answer: nobody took the connection" in result.stdout
    assert result.stdout.endswith("Nothing was compared; 2 sent\n")


def test_an_answer_that_does_not_come_is_a_failure(tmp_path: Path) -> None:
    def serve(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if request.target == b"/broken":
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                return
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
                      b'{"price": 10}')

    result = replayed(serve, tmp_path, [pair(), pair("/broken")])
    assert result.exit_code == 1
    assert "1 without an answer: broken off" in result.stdout


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    def serve(peer: Peer) -> None:
        peer.request()
        peer.read_to_end()      # the client gives up, and closes

    result = replayed(serve, tmp_path, [pair()], "--timeout", "0.2")
    assert result.exit_code == 1
    assert "1 without an answer: no answer in time" in result.stdout


def test_a_longer_answer_than_is_compared_is_not_read_to_its_end(tmp_path: Path) -> None:
    def serve(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 400_000)
        peer.read_to_end()

    result = replayed(serve, tmp_path, [pair()], "--timeout", "20", "--ignore", "header:content-type")
    assert "1 not compared: answer_cut" in result.stdout


def test_what_is_no_recorded_request_is_named_by_its_line_and_makes_no_success(tmp_path: Path) -> None:
    lines: list[Json | str] = [pair(), '{"lost": 3}', "nonsense", '{"at": 1}', pair(target="http://evil/"), ""]
    result = replayed(Server(), tmp_path, lines)
    assert result.exit_code == 1
    assert [line.partition(" is no")[0].rpartition("shop.jsonl:")[2] for line in result.stderr.splitlines()] == [
        "3:", "4:", "5:"]
    assert "3 lines are no recorded requests" in result.stdout


def test_an_empty_recording_proves_nothing(tmp_path: Path) -> None:
    assert replayed(Server(), tmp_path, []).exit_code == 1


def test_no_more_requests_are_under_way_than_asked_for(tmp_path: Path) -> None:
    most = []
    open_connections: set[int] = set()

    def serve(peer: Peer) -> None:
        while peer.request() is not None:
            open_connections.add(peer.number)
            most.append(len(open_connections))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
                      b'{"price": 10}')

    assert replayed(serve, tmp_path, [pair() for _ in range(30)], "--concurrency", "2").exit_code == 0
    assert max(most) <= 2
    assert len(most) == 30


def test_a_rate_changes_when_requests_are_sent_and_nothing_else(tmp_path: Path) -> None:
    result = replayed(Server(), tmp_path, [pair(), pair(), pair()], "--rate", "50")
    assert "3 compared, 3 matched" in result.stdout


def test_ctrl_c_tells_what_was_compared_and_is_no_success(tmp_path: Path) -> None:
    stuck = threading.Event()

    def serve(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            if request.target == b"/stuck":
                stuck.set()
                peer.read_to_end()
                return
            peer.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"price": 10}')

    file = write_pairs(tmp_path / "r", [pair(), pair("/stuck"), pair()])
    with Origin(serve) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "replay", file, "--to", origin.url, "--concurrency", "1"],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": ROOT},
    ) as process:
        assert stuck.wait(30)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, "")
    assert "ended before the end of the recording" in output
    assert "100 % match: 1 compared, 1 matched, 0 different; 2 sent" in output


@pytest.mark.parametrize("to", [
    "localhost:80", "http://h/path", "ftp://h", "http://", "http://a:b@h", "http://[::1", "http://h:99999",
    "http://h:abc", "http://h:0", "http://h:-1", "http://a..b", "http://a b", "http://h#x",
])
def test_where_to_is_a_whole_address(to: str, tmp_path: Path) -> None:
    result = turnout("replay", write_pairs(tmp_path / "r", []), "--to", to, admin="")
    assert result.exit_code == 2
    assert "is not http://host:port" in result.stderr


@pytest.mark.parametrize("options", [
    ("--timeout", "inf"), ("--timeout", "nan"), ("--timeout", "0"), ("--rate", "nan"), ("--rate", "1e-300"),
    ("--host", "a b"), ("--host", "a\r\nX: 1"), ("--host", "é"), ("--host", ""),
])
def test_numbers_and_hosts_are_what_can_be_meant(options: tuple[str, str], tmp_path: Path) -> None:
    file = write_pairs(tmp_path / "r", [pair(), pair()])
    result = turnout("replay", file, "--to", f"unix:{tmp_path}/s", *options, admin="")
    assert (result.exit_code, options[0] in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_recording_may_come_through_a_pipe(name: str, tmp_path: Path) -> None:
    config = tmp_path / "turnout.yaml"
    config.write_text("versions: {old: {servers: ['http://h:1']}}\nroutes:\n"
                      "  - {name: shop, split: {old: 1}, shadow: {to: old, percent: 1, "
                      "compare: {ignore: [$.price]}}}\n")
    lines = "nonsense\n" + json.dumps(pair()) + "\n" + json.dumps(pair()) + "\n"
    with Origin(Server('{"price": 11}')) as origin:
        result = subprocess.run(
            [sys.executable, "-P", "-m", "proxy", "replay", name, "--to", origin.url, "-c", str(config)],
            input=lines, text=True, capture_output=True, timeout=30, check=False, env={"PYTHONPATH": ROOT})
    assert "2 compared, 2 matched" in result.stdout
    assert "1 lines are no recorded requests" in result.stdout
    assert (result.returncode, f"{name}:1: is no recorded request" in result.stderr) == (1, True)


def test_a_recording_that_names_no_route_cannot_say_by_which_rules(tmp_path: Path) -> None:
    file = write_pairs(tmp_path / "r", ["nonsense"])
    result = turnout("replay", file, "--to", "http://h", "-c", file, admin="")
    assert (result.exit_code, "holds no recorded request" in result.stderr) == (2, True)


def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    server = Server()
    file = write_pairs(tmp_path / "r", [pair()])
    with Origin(server, unix_path=tmp_path / "s"):
        assert turnout("replay", file, "--to", f"unix:{tmp_path}/s", admin="").exit_code == 0
    assert server.asked[0].value(b"host") == b"shop.example.com"
