"""Request heads: from bytes to a `Request`, or to the refusal that answers them.

llhttp decides whether the bytes are a head at all; the policy here refuses what it lets through and what could be
read in two ways (invariant 10). A parser sees whole heads only, never bodies, so one serves all connections of a
worker; whenever a head could have left state behind (a body announced, an upgrade, a close, an error) it is thrown
away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import httptools

from proxy.errors import (
    BAD_REQUEST,
    EXPECTATION_FAILED,
    HEAD_TOO_LARGE,
    NOT_IMPLEMENTED,
    TARGET_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    RefusedError,
    TurnoutError,
)
from proxy.http1.fields import EMPTY_LINE, HOP_BY_HOP, REQUEST_FIELDS, TOKEN, scanner, tokens, without_fields
from proxy.http1.shape import SHAPES_KEPT, Shape, joined
from proxy.http1.target import AUTHORITY, reduce_absolute

CHUNKED = -1
"""`length` of a body whose end is told by its framing."""

END_OF_HEAD = b"\r\n\r\n"

_KEEP_ALIVE = frozenset({b"keep-alive\r", b"Keep-Alive\r"})
_LENGTH = re.compile(rb"[0-9]{1,19}")
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]\r", re.DOTALL)
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})


class Request:
    """One request head, valid, with what its fields mean. `raw` is the head as it came, `parts` the same in pieces.

    `length`: 0 without a body, the number of its bytes, or CHUNKED. `upgrade`: the protocols asked for, or None.
    `target`: what routes look at and servers get: the bytes after scheme and authority, as they came.
    """

    __slots__ = ("asks_upgrade", "client", "expects_continue", "host", "keep_alive", "length", "method",
                 "minor", "parts", "raw", "shape", "takes_trailers", "target")

    def __init__(self, raw: bytes, method: bytes, target: bytes, host: bytes, parts: list[bytes],
                 shape: RequestShape) -> None:
        self.raw = raw
        self.method = method
        self.target = target
        self.host = host
        self.parts = parts
        self.shape = shape
        self.client = ""
        self.minor = 1
        self.length = 0
        self.keep_alive = True
        self.expects_continue = False
        self.takes_trailers = False
        self.asks_upgrade: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        """The value of a field the parser was told to look for (name in lower case), or None where it is absent."""
        places = self.shape.values.get(name)
        if places is None:
            return None
        if len(places) == 1:
            return self.parts[places[0]].strip(b" \t\r")
        return joined(self.parts, places, b"; " if name == b"cookie" else b", ")


class RequestShape(Shape):
    """A combination of field names in requests, and whether it needs more than a glance."""

    __slots__ = ("from_anyone", "from_trusted", "host", "plain")

    def __init__(self, raw_names: tuple[bytes, ...], known: frozenset[bytes]) -> None:
        super().__init__(raw_names, known)
        hosts = self.places(b"host")
        self.host = hosts[0] if len(hosts) == 1 else 0
        gone = self.hop_by_hop() + self.places(b"expect", b"content-length")
        claims = self.places(*(n for n in self.names if n.startswith((b"x-forwarded-", b"forwarded", b"x-real-ip"))))
        rewritten = self.places(b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
        self.from_anyone = tuple(sorted({*gone, *claims, *rewritten}))
        """Fields of a stranger that do not go on: his claims about who he is are not believed."""
        self.from_trusted = tuple(sorted({*gone, *rewritten}))
        self.plain = (self.host > 0 and len(self.connection) <= 1
                      and not self.places(b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"te",
                                          b"proxy-connection"))  # llhttp takes the last for Connection


class SeveralHeadsError(TurnoutError):
    """There is an empty line before the end: what was taken for one head is more than one, or a head and a body."""


class RequestParser:
    """Parses request heads under bounds: `line` and `head` in bytes, `fields` in number."""

    def __init__(self, *, line: int, head: int, fields: int, wanted: Iterable[bytes] = ()) -> None:
        self._line = line
        self._head = head
        self._newlines = fields + 2
        self._known = REQUEST_FIELDS | frozenset(wanted)
        self._split = scanner(self._known, prefixes=(b"x-forwarded-",))
        self._shapes: dict[tuple[bytes, ...], RequestShape] = {}
        self._llhttp = httptools.HttpRequestParser(self)

    def parse(self, head: bytes) -> Request:
        """Read one whole head, up to and with its empty line. Raises RefusedError, and SeveralHeadsError.

        It must begin with a letter: llhttp skips empty lines, and the connection has seen to those already.
        """
        parts = self._split(head)
        shape = self._shapes.get(tuple(parts[1::3])) or self._learn(tuple(parts[1::3]))
        if len(head) > self._head:
            raise self.oversized(head)
        try:
            self._llhttp.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._renew()
        except httptools.HttpParserError as error:
            self._renew()
            raise _malformed(head, error) from None
        try:
            method, target, rest = parts[0].split(b" ", 2)
        except ValueError:
            self._renew()
            raise RefusedError(BAD_REQUEST, "the request line is not `METHOD target HTTP/1.1`") from None
        request = Request(head, method, target, parts[shape.host].strip(b" \t\r"), parts, shape)
        if not (shape.plain
                and rest.startswith(b"HTTP/1.1\r")
                and (not shape.connection or parts[shape.connection[0]] in _KEEP_ALIVE)):
            self._renew()
            self._interpret(request, rest)
        if head.count(b"\n") > self._newlines:
            self._renew()
            raise RefusedError(HEAD_TOO_LARGE, f"more than {self._newlines - 2} fields")
        if len(target) > self._line:
            self._renew()
            raise self.oversized(head)
        if (not target.startswith(b"/") or b"#" in target or not target.isascii() or not request.host
                or method in _REFUSED_METHODS):
            self._renew()
            _check_target(request)
        if request.minor == 0 or request.target is not target:
            request.parts[0] = b"%b %b HTTP/1.1%b" % (method, request.target, request.parts[0].split(b" ", 2)[2][8:])
        return request

    def oversized(self, data: bytes) -> RefusedError:
        """The refusal for a head, complete or not, that is larger than allowed: says which part is."""
        line_end = data.find(b"\r\n")
        if line_end < 0 or line_end > self._line:
            return RefusedError(TARGET_TOO_LONG, f"the request line is longer than {self._line} bytes")
        return RefusedError(HEAD_TOO_LARGE, f"the head is larger than {self._head} bytes")

    def _renew(self) -> None:
        self._llhttp = httptools.HttpRequestParser(self)

    def _learn(self, names: tuple[bytes, ...]) -> RequestShape:
        if any(name.startswith(EMPTY_LINE) for name in names):
            raise SeveralHeadsError
        shape = RequestShape(names, self._known)
        if len(self._shapes) < SHAPES_KEPT:
            self._shapes[names] = shape
        return shape

    def _interpret(self, request: Request, rest: bytes) -> None:
        """What the fast path leaves out: versions, framing, connection options, expectations."""
        _check_version(request, rest)
        options = tokens(request.header(b"connection") or b"")
        named = frozenset(options) - HOP_BY_HOP - {b"close"}
        if named:
            # RFC 9110 §7.6.1: these fields are meant for this hop only. They go before anything else is read or added.
            request.parts = self._split(without_fields(b"".join(request.parts), named))
            request.shape = self._learn(tuple(request.parts[1::3]))
        _check_host(request)
        request.keep_alive = b"close" not in options and (request.minor == 1 or b"keep-alive" in options)
        request.length = _body_length(request)
        if request.minor == 0:
            return
        _check_expectation(request)
        request.takes_trailers = b"trailers" in tokens(request.header(b"te") or b"")
        upgrade = request.header(b"upgrade")
        if upgrade and b"upgrade" in options and b"h2c" not in tokens(upgrade):
            request.asks_upgrade = upgrade


def _malformed(head: bytes, error: httptools.HttpParserError) -> RefusedError:
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        method, _, rest = head.partition(b" ")
        if TOKEN.fullmatch(method) and b" HTTP/1." in rest.partition(b"\r\n")[0]:
            return RefusedError(NOT_IMPLEMENTED, "the method is unknown")
    return RefusedError(BAD_REQUEST, f"not a request head: {error}")


def _check_version(request: Request, rest: bytes) -> None:
    if rest.startswith(b"HTTP/1.1\r"):
        return
    if not rest.startswith(b"HTTP/1.0\r"):
        if _VERSION.match(rest):
            raise RefusedError(VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise RefusedError(BAD_REQUEST, "the request line is not `METHOD target HTTP/1.1`")
    request.minor = 0


def _check_host(request: Request) -> None:
    hosts = len(request.shape.values.get(b"host", ()))
    if hosts == 1:
        return
    if hosts > 1:
        raise RefusedError(BAD_REQUEST, "more than one Host field")
    if request.minor == 1:
        raise RefusedError(BAD_REQUEST, "no Host field")  # RFC 9112 §3.2
    request.host = b""


def _body_length(request: Request) -> int:
    """RFC 9112 §6.3, and nothing that it only tolerates."""
    values = request.shape.values
    if b"transfer-encoding" in values:
        if b"content-length" in values:
            raise RefusedError(BAD_REQUEST, "both Content-Length and Transfer-Encoding")
        if request.minor == 0:
            raise RefusedError(BAD_REQUEST, "Transfer-Encoding in an HTTP/1.0 request")
        coding = (request.header(b"transfer-encoding") or b"").lower()
        if coding != b"chunked":
            known = len(values[b"transfer-encoding"]) == 1 and coding.endswith((b", chunked", b",chunked"))
            raise RefusedError(NOT_IMPLEMENTED if known and b"identity" not in coding else BAD_REQUEST,
                               "the only transfer coding understood is `chunked`, alone")
        return CHUNKED
    if b"content-length" in values:
        length = request.header(b"content-length") or b""
        if len(values[b"content-length"]) > 1 or not _LENGTH.fullmatch(length):
            raise RefusedError(BAD_REQUEST, "Content-Length is not one plain number")
        return int(length)
    return 0


def _check_expectation(request: Request) -> None:
    expectation = request.header(b"expect")
    if expectation is None:
        return
    if expectation.lower() != b"100-continue":
        raise RefusedError(EXPECTATION_FAILED, "the only expectation understood is `100-continue`")
    request.expects_continue = request.length != 0


def _check_target(request: Request) -> None:
    """Every form of RFC 9112 §3.2 but the plain one."""
    method, target = request.method, request.target
    if method in _REFUSED_METHODS:
        raise RefusedError(NOT_IMPLEMENTED, "CONNECT and TRACE are not served here")
    if not request.host and request.minor == 1:
        raise RefusedError(BAD_REQUEST, "the Host field is empty")
    if not target.isascii() or b"#" in target:
        raise RefusedError(BAD_REQUEST, "the target has a byte that no request target may have")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return
    reduced = reduce_absolute(target)
    if reduced is None:
        raise RefusedError(BAD_REQUEST, "the target is neither a path nor an absolute http URL")
    authority, path = reduced
    if request.host and authority.lower() != request.host.lower():
        raise RefusedError(BAD_REQUEST, "Host and the authority of the target differ")
    if not AUTHORITY.fullmatch(authority):
        raise RefusedError(BAD_REQUEST, "the authority of the target is not a host with an optional port")
    request.host = authority
    for at in request.shape.values.get(b"host", ()):
        request.parts[at] = authority + b"\r"  # RFC 9112 §3.2.2: the target's word counts
    if not path.startswith(b"/"):
        # RFC 9112 §3.2.1 and §3.2.4: an empty path is `/`, except for OPTIONS, where it means the server itself
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    request.target = path
