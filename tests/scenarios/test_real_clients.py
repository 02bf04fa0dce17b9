"""Clients that others made, through the whole program: what they make of it is what users will see."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.front import write_file
from tests.support.httpbin_server import httpbin
from tests.support.origins import Origin, answering_once
from tests.support.real_servers import PageServer, websocket_server
from tests.support.turnout import running
from tests.support.wire import DEADLINE_S

MIB = 1 << 20
PIECES = (b"one ", b"two ", b"x" * 100_000)
"""The body of uploads that are made while they are sent."""
WHOLE = b"".join(PIECES)
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop"
"""The answer of a server that is not going to look at the body, nor at anything after it."""


@dataclass(frozen=True)
class Front:
    """Turnout, seen from outside."""

    url: str
    url_6: str
    unix_path: str
    pages: tuple[PageServer, ...]

    @property
    def socket_url(self) -> str:
        return self.url.replace("http://", "ws://") + "/ws"


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # short enough for a Unix socket
        pages = (PageServer("old"), PageServer("new"))
        for page in pages:
            stack.callback(page.end)
        servers = {
            "bin": f"http://127.0.0.1:{stack.enter_context(httpbin())}",
            "ws": stack.enter_context(websocket_server()),
            "early": stack.enter_context(Origin(answering_once(TOO_LARGE))).url,
            **{page.version: page.url for page in pages},
        }
        routes = [
            {"name": "ws", "match": {"path": "/ws"}, "split": {"ws": 1}},
            {"name": "page", "match": {"path": "/page"}, "split": {"old": 1, "new": 1}, "sticky": {"by": "cookie"}},
            {"name": "early", "match": {"path": "/early"}, "split": {"early": 1}},
            {"name": "rest", "split": {"bin": 1}},
        ]
        unix_path = str(folder / "front")
        file = write_file(folder, servers, routes, listen=["127.0.0.1:0", "[::1]:0", f"unix:{unix_path}"])
        turnout = stack.enter_context(running("-c", str(file)))
        first, second, _ = turnout.event("serving")["listen"]
        yield Front(f"http://{first}", f"http://{second}", unix_path, pages)


# ---- curl


def curl(*arguments: str, stdin: bytes | None = None) -> bytes:
    """What curl prints. It fails the test when curl does, be it for a body that is not whole."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", *arguments], input=stdin or b"", capture_output=True,
        check=False, env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def echo(*arguments: str, stdin: bytes | None = None) -> dict[str, Any]:
    """What httpbin saw of curl's request."""
    seen: dict[str, Any] = json.loads(curl(*arguments, stdin=stdin))
    return seen


def test_curl_gets(front: Front) -> None:
    seen = echo(f"{front.url}/get?a=1")
    assert seen["args"] == {"a": "1"}
    assert seen["headers"]["User-Agent"].startswith("curl/")


def test_curl_asks_for_a_head(front: Front) -> None:
    answer = curl("--head", f"{front.url}/image/png").decode()
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert re.search(r"(?im)^content-length: [1-9][0-9]+\r$", answer)


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
@pytest.mark.parametrize("size", [0, 10, 2 * MIB])
def test_curl_posts_whether_it_asks_first_or_not(front: Front, tmp_path: Path, expect: str, size: int) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"x" * size)
    seen = echo("--header", expect, "--header", "Content-Type: text/plain", "--data-binary", f"@{file}",
                f"{front.url}/post")
    assert seen["data"] == "x" * size


def test_curl_uploads_from_a_pipe_in_chunks(front: Front) -> None:
    seen = echo("--upload-file", "-", f"{front.url}/put", stdin=b"y" * MIB)
    assert seen["data"] == "y" * MIB
    assert "Content-Length" not in seen["headers"]


def test_curl_uploads_a_file_and_a_form(front: Front, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("z" * MIB)
    assert echo("--upload-file", str(file), f"{front.url}/put")["data"] == "z" * MIB
    seen = echo("--form", f"upload=@{file}", "--form", "note=hello", f"{front.url}/post")
    assert (seen["files"], seen["form"]) == ({"upload": "z" * MIB}, {"note": "hello"})


@pytest.mark.parametrize("target", ["/get", "/stream-bytes/100000?seed=7", "/bytes/102400?seed=7"])
def test_curl_speaks_http_1_0(front: Front, target: str) -> None:
    assert curl("--http1.0", f"{front.url}{target}")
    if target != "/get":
        assert curl("--http1.0", f"{front.url}{target}") == curl(f"{front.url}{target}")


def test_curl_offers_http_2_and_stays_with_what_it_is_given(front: Front) -> None:
    seen = json.loads(curl("--http2", "--write-out", "", f"{front.url}/headers"))["headers"]
    assert not {"Upgrade", "Http2-Settings", "Connection"} & set(seen)


@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "X-Framing: sized"])
def test_curl_reads_an_answer_that_comes_before_it_has_sent_everything(
        front: Front, tmp_path: Path, expect: str, framing: str) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"x" * 8 * MIB)
    said = curl("--upload-file", str(file), "--header", expect, "--header", framing, "--write-out", " %{http_code}",
                f"{front.url}/early")
    assert said == b"stop 413"


@pytest.mark.parametrize("target", ["/gzip", "/deflate", "/brotli"])
def test_curl_decodes_what_was_encoded(front: Front, target: str) -> None:
    assert echo("--compressed", f"{front.url}{target}")["method"] == "GET"


def test_curl_keeps_its_connection(front: Front) -> None:
    urls = [f"{front.url}{target}" for target in ("/get", "/stream/3", "/status/204", "/status/404", "/bytes/9?seed=7")]
    outputs = [argument for _ in urls for argument in ("--output", "/dev/null")]
    said = curl("--write-out", "%{num_connects} %{http_code}\n", *outputs, *urls).decode().split("\n")
    assert said == ["1 200", "0 200", "0 204", "0 404", "0 200", ""]


def test_curl_comes_over_a_unix_socket(front: Front) -> None:
    seen = echo("--unix-socket", front.unix_path, "http://shop.example.com/anything")
    assert seen["url"] == "http://shop.example.com/anything"


def test_curl_comes_over_ipv6(front: Front) -> None:
    assert echo(f"{front.url_6}/get")["url"] == f"{front.url_6}/get"


def test_curl_sends_a_path_as_it_is(front: Front) -> None:
    assert echo("--path-as-is", f"{front.url}/anything/a/../b//./c")["url"].endswith("/anything/a/../b//./c")


def test_curl_takes_it_for_a_forward_proxy(front: Front) -> None:
    seen = echo("--proxy", front.url, "http://shop.example.com/anything?a=1")
    assert seen["url"] == "http://shop.example.com/anything?a=1"
    assert "Proxy-Connection" not in seen["headers"]


def test_curl_follows_keeps_cookies_and_takes_ranges(front: Front) -> None:
    assert echo("--location", f"{front.url}/redirect/3")["url"].endswith("/get")
    assert echo("--location", "--cookie", "", f"{front.url}/cookies/set?one=1")["cookies"] == {"one": "1"}
    whole = curl(f"{front.url}/range/1024")
    assert curl("--range", "100-199", f"{front.url}/range/1024") == whole[100:200]


# ---- requests


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_requests_in_a_session(front: Front, session: requests.Session) -> None:
    for _ in range(3):
        assert session.get(f"{front.url}/get", timeout=DEADLINE_S).status_code == 200
    assert session.post(f"{front.url}/post", data={"a": "1"}, timeout=DEADLINE_S).json()["form"] == {"a": "1"}
    assert session.put(f"{front.url}/put", json=[1], timeout=DEADLINE_S).json()["json"] == [1]
    assert session.head(f"{front.url}/get", timeout=DEADLINE_S).content == b""
    assert session.delete(f"{front.url}/delete", timeout=DEADLINE_S).status_code == 200
    assert "OPTIONS" in session.options(f"{front.url}/get", timeout=DEADLINE_S).headers["Allow"]
    assert session.get(f"{front.url}/status/503", timeout=DEADLINE_S).status_code == 503


def test_requests_streams_down_and_up(front: Front, session: requests.Session) -> None:
    with session.get(f"{front.url}/stream-bytes/102400?seed=7", stream=True, timeout=DEADLINE_S) as answer:
        assert sum(map(len, answer.iter_content(1000))) == 102_400
    with session.get(f"{front.url}/stream/20", stream=True, timeout=DEADLINE_S) as answer:
        assert [json.loads(line)["id"] for line in answer.iter_lines()] == list(range(20))
    seen = session.post(f"{front.url}/post", data=iter(PIECES), timeout=DEADLINE_S).json()
    assert seen["data"].encode() == WHOLE


def test_requests_follows_redirects_and_keeps_cookies(front: Front, session: requests.Session) -> None:
    answer = session.get(f"{front.url}/redirect/5", timeout=DEADLINE_S)
    assert (answer.status_code, len(answer.history)) == (200, 5)
    answer = session.get(f"{front.url}/absolute-redirect/2", timeout=DEADLINE_S)
    assert answer.url == f"{front.url}/get", "the server builds its URLs with the host that the client used"
    session.get(f"{front.url}/cookies/set?one=1&two=2", timeout=DEADLINE_S)
    assert session.get(f"{front.url}/cookies", timeout=DEADLINE_S).json()["cookies"] == {"one": "1", "two": "2"}


def test_requests_keeps_its_version_with_the_cookie_it_was_given(front: Front, session: requests.Session) -> None:
    versions = {session.get(f"{front.url}/page/data", timeout=DEADLINE_S).text for _ in range(20)}
    assert len(versions) == 1
    assert [cookie.name for cookie in session.cookies] == ["turnout"]


def test_requests_and_httpx_read_an_answer_that_comes_before_they_have_sent_everything(
        front: Front, session: requests.Session) -> None:
    body = b"x" * 4 * MIB
    for _ in range(3):
        answer = session.post(f"{front.url}/early", data=body, timeout=DEADLINE_S)
        assert (answer.status_code, answer.content) == (413, b"stop")
        other = httpx.post(f"{front.url}/early", content=body, timeout=DEADLINE_S, trust_env=False)
        assert (other.status_code, other.content) == (413, b"stop")
    assert session.get(f"{front.url}/get", timeout=DEADLINE_S).status_code == 200


# ---- httpx


def test_httpx_in_a_pool(front: Front) -> None:
    with httpx.Client(base_url=front.url, trust_env=False, timeout=DEADLINE_S) as client:
        assert client.get("/get", params={"a": "ä b"}).json()["args"] == {"a": "ä b"}
        assert client.post("/post", content=iter(PIECES)).json()["data"].encode() == WHOLE
        assert client.post("/post", files={"a": b"file"}).json()["files"] == {"a": "file"}
        assert client.get("/redirect/2", follow_redirects=True).status_code == 200
        with client.stream("GET", "/stream-bytes/100000", params={"seed": 7}) as answer:
            assert sum(map(len, answer.iter_raw())) == 100_000
        with client.stream("GET", "/drip", params={"numbytes": 3, "duration": 0.1}) as answer:
            assert b"".join(answer.iter_bytes()) == b"***"


def test_httpx_over_a_unix_socket(front: Front) -> None:
    transport = httpx.HTTPTransport(uds=front.unix_path)
    with httpx.Client(transport=transport, base_url="http://shop.example.com", trust_env=False) as client:
        assert client.get("/get").json()["url"] == "http://shop.example.com/get"


def test_httpx_asks_many_things_at_once(front: Front) -> None:
    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=front.url, limits=limits, trust_env=False, timeout=DEADLINE_S) as client:
            answers = await asyncio.gather(*(client.get("/get", params={"number": number}) for number in range(60)))
            return [int(answer.json()["args"]["number"]) for answer in answers]

    assert asyncio.run(ask()) == list(range(60))


def test_httpx_streams_both_ways_without_threads(front: Front) -> None:
    async def talk() -> tuple[int, bytes]:
        async with httpx.AsyncClient(base_url=front.url, trust_env=False, timeout=DEADLINE_S) as client:
            async with client.stream("GET", "/stream-bytes/100000?seed=7") as answer:
                size = sum([len(piece) async for piece in answer.aiter_raw()])
            sent = await client.put("/put", content=made_while_sent())
            return size, sent.json()["data"].encode()

    assert asyncio.run(talk()) == (100_000, WHOLE)


async def made_while_sent() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece
        await asyncio.sleep(0)


# ---- aiohttp


def test_aiohttp_uploads_in_chunks_and_streams_down(front: Front) -> None:
    async def talk() -> tuple[bytes, int]:
        async with aiohttp.ClientSession(front.url) as session:
            async with session.post("/post", data=made_while_sent()) as answer:
                seen = (await answer.json())["data"].encode()
            async with session.get("/stream-bytes/100000?seed=7") as answer:
                size = sum([len(piece) async for piece in answer.content.iter_chunked(1000)])
            async with session.post("/post", data=b"late", expect100=True) as answer:
                assert (await answer.json())["data"] == "late"
            return seen, size

    assert asyncio.run(talk()) == (WHOLE, 100_000)


def test_aiohttp_asks_many_things_at_once(front: Front) -> None:
    async def one(session: aiohttp.ClientSession, number: int) -> bool:
        async with session.post("/anything", params={"number": str(number)}, data=b"%d" % number * number) as answer:
            seen = await answer.json()
            return bool(seen["args"] == {"number": str(number)} and seen["data"] == str(number) * number)

    async def ask() -> list[bool]:
        connector = aiohttp.TCPConnector(limit=30)
        async with aiohttp.ClientSession(front.url, connector=connector) as session:
            return await asyncio.gather(*(one(session, number) for number in range(100)))

    assert all(asyncio.run(ask()))


def test_aiohttp_talks_over_a_websocket(front: Front) -> None:
    async def talk() -> tuple[str, bytes, int | None]:
        async with aiohttp.ClientSession(front.url) as session, session.ws_connect("/ws") as socket:
            await socket.send_str("hello")
            text = await socket.receive_str()
            await socket.send_bytes(b"\x00" * 70_000)
            data = await socket.receive_bytes()
            await socket.send_str("close 4001 enough")
            await socket.receive()
            return text, data, socket.close_code

    assert asyncio.run(talk()) == ("hello", b"\x00" * 70_000, 4001)


# ---- websockets


def test_a_websocket_echoes_texts_and_large_messages(front: Front) -> None:
    large = os.urandom(MIB)
    with connect(front.socket_url, proxy=None, max_size=None, subprotocols=[Subprotocol("chat")]) as socket:
        assert socket.subprotocol == "chat"
        for message in ("hello", "", "ä" * 1000, b"", large, large.hex()):
            socket.send(message)
            assert socket.recv(DEADLINE_S) == message
        assert socket.ping().wait(DEADLINE_S)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_websocket_that_the_server_closes_says_why(front: Front, code: int) -> None:
    with connect(front.socket_url, proxy=None) as socket:
        socket.send(f"close {code} so it is")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(DEADLINE_S)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "so it is")


def test_a_websocket_that_the_client_closes_is_answered_in_kind(front: Front) -> None:
    with connect(front.socket_url, proxy=None) as socket:
        socket.close(4002, "bye")
    assert (socket.close_code, socket.close_reason) == (4002, "bye")
    assert socket.protocol.close_rcvd is not None


def test_a_websocket_whose_server_vanishes_ends_without_a_close(front: Front) -> None:
    with connect(front.socket_url, proxy=None) as socket:
        socket.send("vanish")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(DEADLINE_S)
    assert closed.value.rcvd is None


def test_many_websockets_talk_at_once(front: Front) -> None:
    async def talk(number: int) -> bool:
        async with websockets.asyncio.client.connect(front.socket_url, proxy=None) as socket:
            for turn in range(10):
                await socket.send(f"{number} {turn}")
                if await socket.recv() != f"{number} {turn}":
                    return False
            return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(talk(number) for number in range(30)))

    assert all(asyncio.run(all_of_them()))


# ---- a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this host: install Debian's `chromium` to run this test")
def test_a_browser_loads_a_page_with_all_that_belongs_to_it_from_one_version(front: Front, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         "--no-proxy-server", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom",
         f"{front.url}/page"],
        capture_output=True, text=True, timeout=60, check=False,
    )
    page = re.search(r"<title>(.*?)</title>.*?<p id=\"version\">(old|new)</p>", done.stdout, re.DOTALL)
    assert page is not None, f"{done.stdout}\n{done.stderr}"
    version = page[2]
    said = html.unescape(page[1])
    assert said == f"image 7x5; got from {version}; put 200000 to {version}; ping from a page"

    asked = {server.version: [one for one in server.asked if one[0].startswith(("GET /page", "POST /page"))]
             for server in front.pages}[version]
    browsed = asked[asked.index(("GET /page", "")):]
    assert {what for what, _ in browsed} == {
        "GET /page", "GET /page/data", "GET /page/pixels.png", "GET /page/tick", "POST /page/data"}
    cookies = {cookie for _, cookie in browsed[1:]}
    assert len(cookies) == 1
    assert re.fullmatch(r"turnout=[0-9a-z]{24}", cookies.pop())
