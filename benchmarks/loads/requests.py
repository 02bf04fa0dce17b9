"""The requests that every load sends: a browser's thirteen headers, a cookie out of 10,000, an id of its own each.

One template for wrk, for the open-loop load and for the checks before a measurement, so that all do the same work.
"""

from __future__ import annotations

COOKIES = 10_000
COOKIE_NAME = "uid"
HEAD = (
    "GET {path} HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/131.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: http://shop.example.com/catalogue?page=3&sort=price\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"
    "Cookie: consent=analytics:0|ads:0; uid={cookie}; "
    "session=5f1c0b7de2a94c3f8e60d7b1a2c49f3e5b8d7c60a1f24e3b; "
    "theme=dark; basket=8d3f0a4be1c6471f9a25; _ga=GA1.1.1184023467.1731\r\n"
    "X-Request-Id: "
)                                               # the id and the end of the head follow


def cookie(number: int) -> str:
    """The value of cookie `number`: ten digits without a pattern that a proxy's hash could profit from."""
    return f"{number * 2_654_435_761 % 2**32:010d}"


def path_for(number: int, path: str, routes: int) -> str:
    """With several routes each cookie goes to one of them; the paths are the same however many are configured."""
    return f"/r{number % routes}{path}" if routes > 1 else path


def head(number: int, path: str, routes: int = 1) -> str:
    """A request's head up to its id."""
    return HEAD.format(path=path_for(number, path, routes), cookie=cookie(number))


def request(number: int, path: str, request_id: str, routes: int = 1) -> bytes:
    """One whole request."""
    return f"{head(number % COOKIES, path, routes)}{request_id}\r\n\r\n".encode()


def write_heads(path: str, routes: int) -> str:
    """All heads as a text that the Lua script reads: one after another, each ended by a NUL."""
    return "".join(f"{head(number, path, routes)}\0" for number in range(COOKIES))
