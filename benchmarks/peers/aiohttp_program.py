"""A reverse proxy as written in an afternoon: aiohttp server, one ClientSession, bodies streamed, split by cookie.

Usage: aiohttp_program.py PORT OLD NEW  (addresses as host:port)
"""

from __future__ import annotations

import sys
import zlib

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, hdrs, web
from multidict import CIMultiDict

HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
              "Transfer-Encoding", "Upgrade")
PORT, OLD, NEW = int(sys.argv[1]), f"http://{sys.argv[2]}", f"http://{sys.argv[3]}"
SESSION = web.AppKey("session", ClientSession)


def end_to_end(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    for name in HOP_BY_HOP:
        headers.popall(name, None)
    return headers


async def forward(request: web.Request) -> web.StreamResponse:
    key = request.cookies.get("uid", "")
    base = NEW if zlib.crc32(key.encode()) % 100 < 10 else OLD
    headers = end_to_end(CIMultiDict(request.headers))
    headers["X-Forwarded-For"] = request.remote or ""
    headers["X-Forwarded-Proto"] = request.scheme
    headers["X-Forwarded-Host"] = request.host
    body = request.content if request.can_read_body else None
    async with request.app[SESSION].request(
            request.method, base + request.raw_path, headers=headers, data=body, allow_redirects=False) as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason,
                                      headers=end_to_end(CIMultiDict(answer.headers)))
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def client(app: web.Application):  # type: ignore[no-untyped-def]
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False, cookie_jar=DummyCookieJar(),
                             skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
                             timeout=ClientTimeout(total=None, connect=2, sock_read=60)) as session:
        app[SESSION] = session
        yield


def main() -> None:
    app = web.Application()
    app.cleanup_ctx.append(client)
    app.router.add_route("*", "/{path:.*}", forward)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=PORT, access_log=None, print=None, backlog=4096, keepalive_timeout=75)


if __name__ == "__main__":
    main()
