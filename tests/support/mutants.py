"""Requests and answers that are nearly right: written from the grammar, then bent. One `Random` decides everything.

The same generators serve hypothesis (its own `Random`, which it can replay and shrink) and long campaigns.
"""

from __future__ import annotations

from random import Random

_METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"get", b"FOO", b"CONNECT", b"TRACE",
            b"PRI",
            b"M-SEARCH", b"", b"G(T", b"GET\t"]
_TARGETS = [b"/", b"/a/b?c=d", b"*", b"http://a.example/x", b"http://a.example", b"HTTP://A.EXAMPLE?q",
            b"http://b.example/",
            b"http://u@a.example/", b"https://a.example:80/", b"//a/b", b"/%zz", b"/a#b", b"/\xe9", b"a.example:80",
            b"",
            b"/a b", b"/\\", b"http:///", b"/{}|\"<>^`", b"?x", b"http://a.example/#f"]
_VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"HTTP/11",
             b"",
             b"HTTP/1.1 ", b"HTTP/+1.1", b"RTSP/1.0"]
_HOSTS = [b"a.example", b"A.example:80", b"[::1]:8080", b"a,b", b"", b"a b", b"a@b", b"a:", b"127.0.0.1", b"x_y"]
_LENGTHS = [b"5", b"0", b"05", b"+5", b"-5", b"5, 5", b"5,6", b"0x5", b"5 ", b"5\t", b"1_0", b"9999999999999999999",
            b"99999999999999999999", b"", b"\xb2", b"5;a", b"4", b"6"]
_CODINGS = [b"chunked", b"Chunked", b"gzip, chunked", b"chunked, identity", b"identity", b"xchunked", b"\x0bchunked",
            b"chunked;a=b", b"chunked,", b", chunked", b"chunked chunked", b"", b'"chunked"', b"chunked\t", b"gzip"]
_OPTIONS = [b"close", b"keep-alive", b"Keep-Alive", b"upgrade", b"TE", b"X-Hop", b"x-hop, close", b"Host",
            b"Content-Length",
            b"transfer-encoding, x-hop", b"", b",,", b"Upgrade, HTTP2-Settings", b"x-forwarded-for", b"cookie"]
_VALUES = [b"", b"a", b"a b", b"\ta\t", b"caf\xe9", b"a\0b", b"a\x7fb", b"a\x01b", b"a\x0bb", b"a,b;c=\"d\"",
           b"x" * 60, b"a\rb",
           b"a\nb", b"a\r\n b", b"a\r\n\tb"]
_FIELDS = [
    (b"Host", _HOSTS), (b"Content-Length", _LENGTHS), (b"Transfer-Encoding", _CODINGS), (b"Connection", _OPTIONS),
    (b"Proxy-Connection", _OPTIONS), (b"Upgrade", [b"websocket", b"h2c", b"websocket, h2c", b""]), (b"TE",
    [b"trailers", b"gzip"]),
    (b"Expect", [b"100-continue", b"x"]), (b"X-Forwarded-For", [b"1.2.3.4", b""]), (b"X_Forwarded_For", [b"1.2.3.4"]),
    (b"Transfer_Encoding", _CODINGS), (b"Content_Length", _LENGTHS), (b"X-Request-Id", [b"forged"]), (b"Keep-Alive",
    [b"5"]),
    (b"Trailer", [b"X-Sum"]), (b"Cookie", _VALUES), (b"X-Hop", _VALUES), (b"X-End", _VALUES), (b"Via", [b"1.0 b"]),
    (b"X End", _VALUES), (b"", _VALUES), (b" X-End", _VALUES), (b"X-End ", _VALUES), (b"X\xe9", _VALUES),
    (b"HTTP2-Settings", [b"AAA"]),
]
_COLONS = [b": "] * 8 + [b":", b":\t", b":  ", b" : ", b"\t:", b"", b"::"]
_ENDS = [b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b" \r\n"]
_CHUNKS = [b"5\r\nhello\r\n", b"0\r\n\r\n", b"1\r\na\r\n", b"a\r\n0123456789\r\n", b"0A\r\n0123456789\r\n",
           b"5;x=y\r\nhello\r\n",
           b"5 \r\nhello\r\n", b"5\nhello\n", b"0x5\r\nhello\r\n", b"5\r\nhell\r\n", b"5\r\nhello!\r\n",
           b"5\r\nhelloXX", b"-1\r\n",
           b"+5\r\nhello\r\n", b"5;\n\r\nhello\r\n", b"0\r\nX-Sum: 1\r\n\r\n", b"0\r\nHost: b\r\n\r\n",
           b"0\r\n bad\r\n\r\n", b"0\n\n",
           b"00000000000000005\r\nhello\r\n", b"\r\n", b"0\r\nX : 1\r\n\r\n", b"000\r\n\r\n"]
_STATUS_LINES = [b"HTTP/1.1 200 OK"] * 8 + [
    b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 404 caf\xe9",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ", b"HTTP/1.1  200 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 099 OK", b"HTTP/2 200 OK",
    b"HTTP/1.1 +20 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1 999 \x01", b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 103 Early Hints",
    b"HTTP/1.1 426 Upgrade", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"HTTP/1.1 500 O\0K", b"HTTP/1.1 205 Reset",
    b"ICY 200 OK"]
_ODD_BYTES = b"\r\n\0\t :,;\x0b\x0c\x1f\x7f\x80\x85\xa0\xff_#-+.0123456789aAxX/\"(){}"


def a_request(random: Random) -> tuple[bytes, bytes]:
    """A head, always up to and with an empty line, and what follows it."""
    method = random.choice(_METHODS[:7]) if random.random() < 0.85 else random.choice(_METHODS)
    target = random.choice(_TARGETS[:2]) if random.random() < 0.6 else random.choice(_TARGETS)
    version = random.choice(_VERSIONS[:2]) if random.random() < 0.9 else random.choice(_VERSIONS)
    space = b" " if random.random() < 0.97 else random.choice([b"  ", b"\t", b"", b"\x0b", b"\xa0"])
    fields = _some_fields(random)
    if random.random() < 0.9:
        fields.insert(random.randrange(len(fields) + 1), b"Host: a.example\r\n")
    line = method + space + target + b" " + version + random.choice(_ENDS)
    return _split(_bent(line + b"".join(fields) + b"\r\n", random), random)


def an_answer(random: Random) -> tuple[bytes, bytes]:
    """The same for an answer."""
    line = random.choice(_STATUS_LINES) + random.choice(_ENDS)
    return _split(_bent(line + b"".join(_some_fields(random)) + b"\r\n", random), random)


def _some_fields(random: Random) -> list[bytes]:
    fields = []
    for _ in range(random.choice([0, 1, 1, 2, 2, 3, 5])):
        name, values = random.choice(_FIELDS[:19]) if random.random() < 0.9 else random.choice(_FIELDS)
        value = random.choice(values[:3]) if random.random() < 0.6 else random.choice(values)
        colon = b": " if random.random() < 0.8 else random.choice(_COLONS)
        case = random.random()
        name = name.lower() if case < 0.1 else name.upper() if case < 0.2 else name
        fields.append(name + colon + value + random.choice(_ENDS))
    return fields


def _bent(data: bytes, random: Random) -> bytes:
    """With up to three bytes changed, taken away or added; more often than not with none."""
    for _ in range(random.choice([0, 0, 0, 1, 1, 2, 3])):
        if not data:
            break
        at = random.randrange(len(data))
        odd = bytes([random.choice(_ODD_BYTES) if random.random() < 0.9 else random.randrange(256)])
        match random.randrange(4):
            case 0:
                data = data[:at] + odd + data[at:]
            case 1:
                data = data[:at] + odd + data[at + 1:]
            case 2:
                data = data[:at] + data[at + 1:]
            case _:
                end = min(len(data), at + random.randrange(1, 12))
                data = data[:end] + data[at:end] + data[end:]
    return data


def _split(data: bytes, random: Random) -> tuple[bytes, bytes]:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        data, end = data + b"\r\n\r\n", len(data)
        end = data.find(b"\r\n\r\n")
    return data[:end + 4], data[end + 4:] + _some_body(random)


def _some_body(random: Random) -> bytes:
    if random.random() < 0.4:
        return b"hello"[:random.choice([0, 3, 5, 5])] + random.choice([b"", b"", b"GET /next HTTP/1.1\r\n\r\n",
        b"\r\n"])
    body = b"".join(random.choice(_CHUNKS[:6] if random.random() < 0.85 else _CHUNKS)
                    for _ in range(random.choice([0, 1, 1, 2, 3])))
    if random.random() < 0.7:
        body += b"0\r\n\r\n"
    return body if random.random() < 0.7 else _bent(body or b"0", random)
