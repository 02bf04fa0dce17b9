"""What other parsers make of the same bytes, what we make of them, and where the two must be one.

For requests and answers alike: what h11 and aiohttp's own parser both refuse, we refuse; what we pass on has one
canonical reading (`strict`, h11), and it is the one we went by; where another parser accepts the original as well, it
reads the same out of it.
"""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from typing import Any, NamedTuple
from unittest.mock import Mock

import h11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy, HttpResponseParserPy

from proxy.errors import RefusedError
from proxy.http1.body import Body, ChunkBounds, body_of
from proxy.http1.chunked import ChunkedError
from proxy.http1.fields import PROTECTED
from proxy.http1.forward import Hop, request_head, response_head, with_host
from proxy.http1.request import CHUNKED, RequestParser, SeveralHeadsError
from proxy.http1.response import ResponseParser
from proxy.http1.target import host_name
from tests.support.strict import Fields, Message, take_request, take_response

BOUNDS = ChunkBounds(4096, 16384, 16384, 64)
HOP = Hop("192.0.2.7", trusted=False)
PLAIN_REQUEST = b"GET /plain HTTP/1.1\r\nHost: plain\r\n\r\n"
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain"

_OURS = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id", b"via"}
_REWRITTEN = {b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
              b"upgrade", b"http2-settings", b"content-length", b"expect"}
_CLAIMS = (b"x-forwarded-", b"forwarded", b"x-real-ip")
_VIA = (b"via", b"1.1 turnout")


class Reading(NamedTuple):
    """What a parser read: start line, fields, body; `left` is what it did not take."""

    start: tuple[bytes, bytes]
    fields: Fields
    body: bytes
    left: bytes


def read_by_h11(data: bytes, role: Any, method: bytes = b"GET") -> Reading | str:
    """What h11 reads out of a whole message, `refused`, or `unfinished`."""
    reader = h11.Connection(role, max_incomplete_event_size=1 << 20)
    if role is h11.CLIENT:
        reader.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
        reader.send(h11.EndOfMessage())
    head, body = None, []
    try:
        reader.receive_data(data)
        if role is h11.CLIENT and data:
            reader.receive_data(b"")
        while True:
            event = reader.next_event()
            match event:
                case h11.Request() | h11.Response() | h11.InformationalResponse():
                    head = event
                    if isinstance(event, h11.InformationalResponse):
                        break
                case h11.Data(data=piece):
                    body.append(bytes(piece))
                case h11.EndOfMessage():
                    break
                case _:
                    return "unfinished" if head is not None else "no head"
    except h11.RemoteProtocolError:
        return "refused" if head is None else "broken body"
    assert head is not None
    start = (head.method, head.target) if isinstance(head, h11.Request) else (b"%d" % head.status_code, head.reason)
    fields = tuple((bytes(name).lower(), bytes(value)) for name, value in head.headers.raw_items())
    return Reading((bytes(start[0]), bytes(start[1])), fields, b"".join(body), bytes(reader.trailing_data[0]))


class AiohttpParser:
    """aiohttp's parsers in Python, for heads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def reads(self, head: bytes, kind: type[HttpRequestParserPy | HttpResponseParserPy]) -> Any:
        """The message it reads out of a whole head, None when it refuses."""
        parser = kind(Mock(), self._loop, 1 << 16, max_line_size=1 << 16, max_field_size=1 << 16)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                messages, _, _ = parser.feed_data(head)
            except (HttpProcessingError, ValueError):
                return None
        return messages[0][0] if messages else None


def _take_body(body: Body, data: bytes, *, closed: bool) -> tuple[bytes, bytes] | None:
    """What is written of a body, and what is left; None when it does not end, "broken" raises."""
    out = body.feed(data)
    while body.more:
        out += body.feed(b"")
    if not body.done and closed:
        ending = body.close()
        if ending is None:
            return None
        out += ending
    return (out, body.rest) if body.done else None


class Judge:
    """Holds parsers that live as long as those of a worker, so that one message could spoil the next."""

    def __init__(self) -> None:
        self.requests = RequestParser(line=16384, head=32768, fields=128, wanted=[b"cookie"])
        self.responses = ResponseParser(head=65536, fields=256)
        self.aiohttp = AiohttpParser()
        self.seen: Counter[str] = Counter()

    def close(self) -> None:
        self.aiohttp.close()

    # ---- requests

    def request(self, head: bytes, after: bytes) -> None:
        """Judge one request; an AssertionError says what does not agree."""
        head = head.removeprefix(b"\r\n")
        if head[0] < ord("A"):
            self.seen["refused by its first byte"] += 1  # the connection sees to both before it parses
            return
        by_h11 = read_by_h11(head + after, h11.SERVER)
        by_aiohttp = self.aiohttp.reads(head, HttpRequestParserPy)
        try:
            ours = self.requests.parse(head)
        except (RefusedError, SeveralHeadsError):
            self.seen["refused"] += 1
            self.seen["refused, h11 accepts"] += isinstance(by_h11, Reading)
            self.seen["refused, aiohttp accepts"] += by_aiohttp is not None
            self._still_sane()
            return
        self._still_sane()
        if ours.host and host_name(ours.host) is None:
            self.seen["refused by its host"] += 1
            return
        assert not (by_h11 == "refused" and by_aiohttp is None), "both others refuse what we accept"
        if by_aiohttp is not None:
            self._same_as_aiohttp(ours, by_aiohttp)
        length, target, host, method = ours.length, ours.target, ours.host, ours.method
        out = request_head(ours, HOP, b"id")
        if not host:
            out = with_host(out, b"server")
        try:
            taken = _take_body(body_of(length, BOUNDS, reframed=True), after, closed=False)
        except ChunkedError:
            self.seen["broken body"] += 1
            return
        if taken is None:
            self.seen["unfinished"] += 1
            assert not isinstance(by_h11, Reading), "h11 sees a whole body where we do not"
            return
        framed, left = taken
        message = take_request(out + framed)
        assert message is not None, "what we send is not whole"
        assert message.raw == out + framed, "what we send has more than one message in it"
        assert message.start == (method, target)
        assert (message.value(b"host") or b"").lower() == (host or b"server").lower()
        self.seen["passed on"] += 1
        if isinstance(by_h11, Reading):
            self.seen["passed on, h11 agrees"] += 1
            self._same_as_h11_request(message, by_h11, left)

    def _same_as_aiohttp(self, ours: Any, theirs: Any) -> None:
        assert theirs.method.encode() == ours.method
        if theirs.chunked:
            assert ours.length == CHUNKED
        else:
            assert ours.length == int(theirs.headers.get("Content-Length", "0"))
        self.seen["aiohttp agrees"] += 1

    def _same_as_h11_request(self, message: Message, theirs: Reading, left: bytes) -> None:
        assert theirs.start[0] == message.method
        target, query = theirs.start[1], theirs.start[1].partition(b"?")[2]
        assert target.endswith(message.target) or message.target in (b"*", b"/", b"/?" + query)
        assert (theirs.body, theirs.left) == (message.body, left)
        passed_on = [field for field in message.fields if field[0] not in _REWRITTEN | _OURS or field[0] == b"via"]
        claims = {name for name, _ in theirs.fields if _plain(name).startswith(_CLAIMS) or _plain(name) in _OURS}
        dropped = claims - {b"via"}
        assert passed_on == [*(field for field in _end_to_end(theirs.fields) if field[0] not in dropped), _VIA]

    def _still_sane(self) -> None:
        assert self.requests.parse(PLAIN_REQUEST).target == b"/plain", "the next request is spoiled"

    # ---- answers

    def answer(self, head: bytes, after: bytes, method: bytes) -> None:
        """Judge one answer that is followed by the end of the connection."""
        by_h11 = read_by_h11(head + after, h11.CLIENT, method)
        by_aiohttp = self.aiohttp.reads(head, HttpResponseParserPy)
        try:
            ours = self.responses.parse(head + after, len(head), method)
        except RefusedError:
            self.seen["refused"] += 1
            self.seen["refused, h11 accepts"] += isinstance(by_h11, Reading)
            self._next_answer_is_sane()
            return
        self._next_answer_is_sane()
        assert not (by_h11 == "refused" and by_aiohttp is None), "both others refuse what we accept"
        if ours.status < 200:
            out = response_head(ours, keep_alive=True, to_minor=1, chunked=False, set_cookie=None)
            assert ours.status == 101 or take_response(out + PLAIN_ANSWER) is not None
            self.seen["interim"] += 1
            return
        chunked = ours.length < 0
        status, length = ours.status, ours.length
        out = response_head(ours, keep_alive=True, to_minor=1, chunked=chunked, set_cookie=None)
        try:
            taken = _take_body(body_of(length, BOUNDS, reframed=chunked), after, closed=True)
        except ChunkedError:
            self.seen["broken body"] += 1
            return
        if taken is None:
            self.seen["unfinished"] += 1
            assert not isinstance(by_h11, Reading), "h11 sees a whole body where we do not"
            return
        message = take_response(out + taken[0], method)
        assert message is not None, "what we send is not whole"
        assert message.raw == out + taken[0], "what we send has more than one message in it"
        assert message.status == status
        self.seen["passed on"] += 1
        if isinstance(by_h11, Reading):
            self.seen["passed on, h11 agrees"] += 1
            assert (by_h11.body, by_h11.left) == (message.body, taken[1])
            assert int(by_h11.start[0]) == status
            assert _end_to_end(by_h11.fields) == [field for field in message.fields if field[0] not in _REWRITTEN]

    def _next_answer_is_sane(self) -> None:
        end = PLAIN_ANSWER.index(b"\r\n\r\n") + 4
        assert self.responses.parse(PLAIN_ANSWER, end, b"GET").length == 5, "the next answer is spoiled"


def _end_to_end(fields: Fields) -> list[tuple[bytes, bytes]]:
    """What must go on of what another parser read, by RFC 9110 §7.6.1; `_` in a name counts as `-` there."""
    named = {member.strip(b" \t").lower() for name, value in fields if name == b"connection"
             for member in value.split(b",")}
    named = {name for name in named if name not in PROTECTED and not name.startswith(b"x-forwarded-")}
    return [(name, value) for name, value in fields if _plain(name) not in _REWRITTEN and name not in named]


def _plain(name: bytes) -> bytes:
    return name.replace(b"_", b"-")
