"""Content codings undone: gzip and deflate (RFC 9110 §8.4.1), br (RFC 7932), zstd (RFC 8878).

Invariant: nothing is raised whatever the bytes are, and no more than what is wanted is held, beside what a decoder
needs for itself (br up to 16 MiB, zstd 8 MiB).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli

from proxy.compat import zstd

_MOST_MEMBERS = 64
"""Of gzip, or frames of zstd, in one body."""
_ZSTD_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 23}
"""8 MiB: what a body that comes by HTTP may ask of its reader (RFC 9659 §3)."""
_BR_STEP = 32 * 1024
"""What is asked of brotli at once: it may give up to twice of what it is asked for."""

Decode = Callable[[bytes, int], bytes | None]


class _Decoder(Protocol):
    """What zlib and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _members(data: bytes, most: int, decoder: Callable[[], _Decoder], padding: bytes, *, several: bool) -> bytes | None:
    """All members of the data, one after the other. `padding`: what may follow the last."""
    parts: list[bytes] = []
    room = most + 1
    for _ in range(_MOST_MEMBERS):
        one = decoder()
        try:
            part = one.decompress(data, room)
        except (zlib.error, zstd.ZstdError):
            return None
        parts.append(part)
        room -= len(part)
        if room <= 0:
            return b"".join(parts)
        if not one.eof:
            return None
        data = one.unused_data
        if not several or not data.strip(padding):
            return b"".join(parts)
    return None                     # nobody sends so many members


def _gzip(data: bytes, most: int) -> bytes | None:
    return _members(data, most, lambda: zlib.decompressobj(31), b"\0", several=True)


def _deflate(data: bytes, most: int) -> bytes | None:
    is_zlib = len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0      # RFC 1950 §2.2
    window = 15 if is_zlib else -15     # RFC 9110 §8.4.1.2: some send the deflate data without its zlib wrapper
    return _members(data, most, lambda: zlib.decompressobj(window), b"", several=False)


def _zstd(data: bytes, most: int) -> bytes | None:
    return _members(data, most, lambda: zstd.ZstdDecompressor(options=_ZSTD_WINDOW), b"", several=True)


def _br(data: bytes, most: int) -> bytes | None:
    decoder = brotli.Decompressor()
    parts: list[bytes] = []
    room = most + 1
    try:
        while room > 0 and not decoder.is_finished():
            part = decoder.process(data, output_buffer_limit=min(room, _BR_STEP))
            if not part and decoder.can_accept_more_data():
                return None         # it ends before its end
            data = b""
            parts.append(part)
            room -= len(part)
    except brotli.error:
        return None
    return b"".join(parts)[:most + 1]


DECODERS: dict[str, Decode] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "br": _br, "zstd": _zstd}
"""By the name of the coding in lower case: a body and the most that is wanted of it → what it holds, of which more than
`most` bytes stand for too much; None for data that is not valid, or ends before its end."""
