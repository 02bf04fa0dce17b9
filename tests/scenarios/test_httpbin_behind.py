"""httpbin behind the whole program: whatever it is asked, the answer through Turnout is the one it gives itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.direct_and_via import Request, ask
from tests.support.httpbin_server import httpbin
from tests.support.turnout import between, running


@dataclass(frozen=True)
class Ports:
    """The two ways to httpbin."""

    direct: int
    via: int


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    with httpbin() as port:
        url = f"http://127.0.0.1:{port}"
        with running("--no-sticky", *between(url, url, 50, workers=2)) as turnout:
            yield Ports(port, turnout.address[1])


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PART = {"Content-Type": "multipart/form-data; boundary=edge"}
MULTIPART = (b'--edge\r\nContent-Disposition: form-data; name="note"; filename="a.txt"\r\n'
             b"Content-Type: text/plain\r\n\r\nsome text\r\n--edge--\r\n")

REQUESTS = [
    *(Request(target) for target in (
        "/", "/get", "/get?a=1&a=2&b=%C3%A9&empty=&flag", "/headers", "/ip", "/user-agent", "/html", "/xml", "/json",
        "/robots.txt", "/encoding/utf8", "/gzip", "/deflate", "/stream/20", "/stream-bytes/10000?seed=7&chunk_size=100",
        "/stream-bytes/1?seed=7", "/stream-bytes/0?seed=7", "/bytes/102400?seed=7", "/bytes/0", "/bytes/1?seed=7",
        "/drip?numbytes=20&duration=0.2&delay=0", "/drip?numbytes=5&duration=0.1&code=500", "/delay/1",
        "/links/5/0", "/cache/60", "/etag/abc", "/image/png", "/image/jpeg", "/image/svg", "/image/webp",
        "/cookies/set?one=1&two=2", "/cookies/delete?one", "/redirect/3", "/absolute-redirect/2",
        "/relative-redirect/2", "/redirect-to?url=http%3A%2F%2Fa.example%2F&status_code=307",
        "/response-headers?X-One=1&X-One=2&X-Empty=&Set-Cookie=a%3Db", "/basic-auth/me/secret", "/bearer",
        "/hidden-basic-auth/a/b", "/range/1024", "/forms/post", "/deny", "/nothing/here", "/base64/VHVybm91dA==",
        # Paths that a careless proxy would tidy up.
        "/anything/a%2Fb", "/anything/a//b", "/anything/./x", "/anything/x/../y", "/anything/%2e%2e/z",
        "/anything/%7Etilde/~tilde", "/anything/a;b=c?d=e;f", "/anything?x=/../&y=//", "/anything/?", "/anything/a+%20",
        "/anything/!$&'()*+,;=:@", "//anything", "/anything/%C3%A9%E2%82%AC", "/anything/" + "long/" * 400,
    )),
    *(Request(f"/status/{code}") for code in (
        200, 201, 204, 205, 206, 301, 302, 303, 304, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410,
        412, 413, 415, 418, 422, 429, 500, 501, 502, 503, 504, 599)),
    *(Request(target, "HEAD") for target in (
        "/json", "/bytes/1000?seed=7", "/stream/5", "/status/204", "/status/304", "/status/404", "/image/png",
        "/stream-bytes/1000?seed=7", "/redirect/1")),
    *(Request("/anything", method, body=b'{"a": [1, 2]}', headers={"Content-Type": "application/json"})
      for method in ("POST", "PUT", "PATCH", "DELETE")),
    *(Request("/anything", method, pieces=(b"one ", b"two ", b"t" * 70_000))
      for method in ("POST", "PUT", "PATCH", "DELETE")),
    Request("/get", "OPTIONS"),
    Request("/anything", "OPTIONS"),
    Request("/delete", "DELETE"),
    Request("/post", "POST", body=b""),
    Request("/post", "POST", FORM, b"a=1&b=two+words&c=%26"),
    Request("/post", "POST", PART, MULTIPART),
    Request("/post", "POST", body=bytes(range(256)) * 4096),
    Request("/post", "POST", {"Expect": "100-continue"}, b"after a 100"),
    Request("/put", "PUT", body=b"\x00\xff"),
    Request("/status/418", "PUT", body=b"tea"),
    Request("/post"),
    Request("/get", "POST", body=b"not allowed there"),
    Request("/headers", headers={"Accept": "*/*", "X-Odd": 'a "b", c;d=e', "Accept-Language": "de, en;q=0.5"}),
    Request("/headers", headers={"X-Latin": "\xe9", "Referer": 'http://a.example/?q="', "Authorization": "Basic x"}),
    Request("/headers", headers={"Cookie": "a=b; c=\"d e\"; f", "DNT": "1", "Upgrade-Insecure-Requests": "1"}),
    Request("/headers", headers={f"X-Field-{number}": "v" * 100 for number in range(100)}),
    Request("/cookies", headers={"Cookie": "one=1; two=2"}),
    Request("/basic-auth/me/secret", headers={"Authorization": "Basic bWU6c2VjcmV0"}),
    *(Request("/range/1024", headers={"Range": wanted}) for wanted in (
        "bytes=0-9", "bytes=1000-", "bytes=-24", "bytes=2000-", "bytes=9-0", "lines=1-2")),
    Request("/range/1024?chunk_size=100&duration=0", headers={"Range": "bytes=100-899"}),
    Request("/etag/abc", headers={"If-None-Match": '"abc"'}),
    Request("/etag/abc", headers={"If-None-Match": 'W/"x", "abc"'}),
    Request("/etag/abc", headers={"If-Match": '"other"'}),
    Request("/cache", headers={"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}),
    Request("/image", headers={"Accept": "image/webp"}),
    Request("/image", headers={"Accept": "audio/ogg"}),
    Request("/bytes/3000", varies=True),
]


def described(request: Request) -> str:
    extra = "+".join(request.headers) if len(request.headers) < 4 else f"{len(request.headers)}-fields"
    body = "chunked" if request.pieces else "" if request.body is None else str(len(request.body))
    return " ".join(part for part in (request.method, request.target[:50], extra, body) if part)


@pytest.mark.parametrize("request_", REQUESTS, ids=described)
def test_through_turnout_the_answer_is_that_of_the_server_itself(ports: Ports, request_: Request) -> None:
    assert ask(ports.via, request_) == ask(ports.direct, request_)
