"""Servers made by others, for the clients made by others: WebSockets, and a web page with what belongs to it."""

from __future__ import annotations

import http.server
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol


@contextmanager
def websocket_server() -> Iterator[str]:
    """Echo every message. `close 4321 why` closes like that, `vanish` without a word. Yields its URL for Turnout."""

    def converse(connection: ServerConnection) -> None:
        for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                connection.close(int(code), reason)
            elif message == "vanish":
                connection.socket.shutdown(2)
            else:
                connection.send(message)

    def select(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return Subprotocol("chat") if "chat" in offered else None

    with serve(converse, "127.0.0.1", 0, max_size=None, select_subprotocol=select) as server:
        thread = threading.Thread(target=server.serve_forever, name="websockets")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PIXELS = (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, 0, 0, 0, 0))
          + _chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 7) * 5)) + _chunk(b"IEND", b""))
"""A white image of 7 by 5 pixels."""

PAGE = """<!doctype html><title>loading</title><p id="version">VERSION</p><img id="image" src="/page/pixels.png">
<script>
  // A headless browser's clock leaps ahead when nothing is fetched; fetches make it wait for the WebSocket.
  async function talk() {
    let said;
    overWebSocket().then(text => { said = text; });
    while (said === undefined) {
      await fetch("/page/tick");
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    return said;
  }
  function overWebSocket() {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${location.host}/ws`);
      socket.onopen = () => socket.send("ping from a page");
      socket.onmessage = event => { resolve(event.data); socket.close(); };
      socket.onclose = () => resolve("nothing said");
    });
  }
  async function load() {
    const image = document.getElementById("image");
    if (!image.complete) await new Promise(resolve => { image.onload = image.onerror = resolve; });
    const got = await (await fetch("/page/data")).text();
    const put = await (await fetch("/page/data", {method: "POST", body: "x".repeat(200000)})).text();
    document.title = `image ${image.naturalWidth}x${image.naturalHeight}; got ${got}; put ${put}; ${await talk()}`;
  }
  load().catch(error => { document.title = `failed: ${error}`; });
</script>
"""


class PageServer(http.server.ThreadingHTTPServer):
    """One version of a page. `asked`: what was asked of it, with the cookies that came along."""

    daemon_threads = True

    def __init__(self, version: str) -> None:
        super().__init__(("127.0.0.1", 0), _PageHandler)
        self.version = version
        self.asked: list[tuple[str, str]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), name=f"page {version}")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _PageHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PageServer

    def do_GET(self) -> None:
        self._note()
        match self.path:
            case "/page":
                self._answer("text/html; charset=utf-8", PAGE.replace("VERSION", self.server.version).encode())
            case "/page/pixels.png":
                self._answer("image/png", PIXELS)
            case "/page/data":
                self._answer("text/plain", f"from {self.server.version}".encode())
            case "/page/tick":
                self._answer("text/plain", b"")
            case _:
                self.send_error(404)

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("text/plain", f"{len(body)} to {self.server.version}".encode())

    def _note(self) -> None:
        self.server.asked.append((f"{self.command} {self.path}", self.headers.get("Cookie", "")))

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
