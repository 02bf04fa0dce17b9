"""Response heads: from bytes to a `Response`, or to the refusal that says what the server did wrong.

The same care as for requests (invariant 10): a head that could be read in two ways is not passed on.
"""

from __future__ import annotations

import re

import httptools

from proxy.errors import BAD_GATEWAY, RefusedError
from proxy.http1.fields import RESPONSE_FIELDS, scanner, tokens, without_fields
from proxy.http1.request import CHUNKED
from proxy.http1.shape import SHAPES_KEPT, Shape

UNTIL_CLOSE = -2
"""`length` of a body that ends with the connection."""

_LENGTH = re.compile(rb"[0-9]{1,19}\r")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*)?\r").match
"""RFC 9112 §4; llhttp lets any byte pass in a reason."""
_STATUS = {b"%d" % status: status for status in range(100, 1000)}
_BEGINNING = b"HTTP/1."
_ONE = ord("1")
_KEEP_ALIVE = frozenset({b"keep-alive\r", b"Keep-Alive\r"})


class ResponseShape(Shape):
    """A combination of field names in responses, and whether it needs more than a glance."""

    __slots__ = ("gone", "length", "plain")

    def __init__(self, raw_names: tuple[bytes, ...]) -> None:
        super().__init__(raw_names, RESPONSE_FIELDS)
        self.gone = tuple(sorted(self.hop_by_hop()))
        lengths = self.places(b"content-length")
        self.length = lengths[0] if len(lengths) == 1 else 0
        self.plain = (self.length > 0 and len(self.connection) <= 1
                      # llhttp takes Proxy-Connection for Connection
                      and not self.places(b"transfer-encoding", b"upgrade", b"proxy-connection"))


class Response:
    """One response head, valid. `length`: of the body as the server frames it: bytes, CHUNKED or UNTIL_CLOSE.

    `keep_alive`: the server's connection may carry another request after this. `plain`: nothing about it needs thought.
    """

    __slots__ = ("keep_alive", "length", "minor", "parts", "plain", "shape", "status", "upgrade")

    def __init__(self, status: int, parts: list[bytes], shape: ResponseShape) -> None:
        self.status = status
        self.parts = parts
        self.shape = shape
        self.minor = 1
        self.length = 0
        self.keep_alive = True
        self.plain = False
        self.upgrade: bytes | None = None


class ResponseParser:
    """Parses response heads under bounds: `head` in bytes, `fields` in number."""

    def __init__(self, *, head: int, fields: int) -> None:
        self._head = head
        self._newlines = fields + 2
        self._few = 4 * fields  # a field takes four bytes at least
        self._split = scanner(RESPONSE_FIELDS)
        self._shapes: dict[tuple[bytes, ...], ResponseShape] = {}
        self._llhttp = httptools.HttpResponseParser(self)

    def parse(self, data: bytes, end: int, method: bytes) -> Response:
        """Read one whole head, `data` up to `end`, that answers a request with this method. Raises RefusedError.

        What follows the head in `data` is looked at only to see whether the answer is complete: llhttp then comes out
        at the start of a message again and can be used for the next, which saves making a new one.
        """
        head = data if end == len(data) else data[:end]
        if end > self._head:
            self.check_begun(head)
        started = _STATUS_LINE(head)
        if started is None:
            raise RefusedError(BAD_GATEWAY, "the server's answer does not begin with an HTTP/1.1 status line")
        if end > self._few and head.count(b"\n") > self._newlines:
            raise RefusedError(BAD_GATEWAY, f"the server's answer has more than {self._newlines - 2} fields")
        status = _STATUS[started[1]]
        parts = self._split(head)
        shape = self._shapes.get(tuple(parts[1::3])) or self._learn(tuple(parts[1::3]))
        response = Response(status, parts, shape)
        if (shape.plain and status >= 200 and status != 204 and head[7] == _ONE
                and (not shape.connection or parts[shape.connection[0]] in _KEEP_ALIVE)
                and _LENGTH.fullmatch(parts[shape.length])):
            response.plain = True
            length = int(parts[shape.length])
            if method != b"HEAD" and status != 304:
                response.length = length
                if len(data) - end == length:
                    try:
                        self._llhttp.feed_data(data)
                    except httptools.HttpParserError as error:
                        self._llhttp = httptools.HttpResponseParser(self)
                        raise _not_a_head(error) from None
                    return response
            self._validate(head)
        else:
            self._validate(head)
            self._interpret(response, method, head)
        return response

    def _validate(self, head: bytes) -> None:
        """Have llhttp look at a head after which it will wait for a body, or for nothing ever again."""
        try:
            httptools.HttpResponseParser(self).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # a 101: whether it was asked for is for the caller to say
        except httptools.HttpParserError as error:
            raise _not_a_head(error) from None

    def check_begun(self, data: bytes) -> None:
        """Look at a head that is not complete. Raises RefusedError when it can no longer become one."""
        if len(data) > self._head:
            raise RefusedError(BAD_GATEWAY, f"the head of the server's answer is larger than {self._head} bytes")
        if not _BEGINNING.startswith(data[:7]):
            raise RefusedError(BAD_GATEWAY, "the server's answer does not begin with an HTTP/1.1 status line")
        if b"\n" in data and data.count(b"\n") != data.count(b"\r\n"):
            raise RefusedError(BAD_GATEWAY, "the server's answer has a line that does not end with CRLF")

    def _learn(self, names: tuple[bytes, ...]) -> ResponseShape:
        shape = ResponseShape(names)
        if len(self._shapes) < SHAPES_KEPT:
            self._shapes[names] = shape
        return shape

    def _interpret(self, response: Response, method: bytes, head: bytes) -> None:
        """What the fast path leaves out: HTTP/1.0, connection options, framing other than a length."""
        response.minor = head[7] - 0x30
        options = tokens(_value(response, b"connection") or b"")
        response.keep_alive = b"close" not in options and (response.minor == 1 or b"keep-alive" in options)
        named = frozenset(options) - {b"close", b"keep-alive", b"upgrade"}
        if named:
            response.parts = self._split(without_fields(head, named))
            response.shape = self._learn(tuple(response.parts[1::3]))
        if b"upgrade" in options or response.status == 426:
            response.upgrade = _value(response, b"upgrade")
        response.length = _body_length(response, method)
        if response.length == UNTIL_CLOSE:
            response.keep_alive = False


def _not_a_head(error: httptools.HttpParserError) -> RefusedError:
    return RefusedError(BAD_GATEWAY, f"the server's answer is not a response head: {error}")


def _value(response: Response, name: bytes) -> bytes | None:
    places = response.shape.values.get(name)
    return b",".join(response.parts[at].strip(b" \t\r") for at in places) if places else None


def _body_length(response: Response, method: bytes) -> int:
    """RFC 9112 §6.3; both a length and a coding, or two lengths, are refused as possible smuggling."""
    coding, length = _value(response, b"transfer-encoding"), _value(response, b"content-length")
    if coding is not None and length is not None:
        raise RefusedError(BAD_GATEWAY, "the server's answer has both Content-Length and Transfer-Encoding")
    if length is not None and not _LENGTH.fullmatch(length + b"\r"):
        raise RefusedError(BAD_GATEWAY, "the Content-Length of the server's answer is not one plain number")
    if coding is not None and (coding.lower() != b"chunked" or response.minor == 0):
        raise RefusedError(BAD_GATEWAY, "the server's answer has a transfer coding other than `chunked`")
    if method == b"HEAD" or response.status in (204, 304) or response.status < 200:
        return 0
    if coding is not None:
        return CHUNKED
    return int(length) if length is not None else UNTIL_CLOSE
