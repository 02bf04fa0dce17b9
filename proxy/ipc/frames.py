"""Length-prefixed frames in a byte stream, without I/O: four bytes of length, big-endian, then the payload.

Invariant: a stream is cut into the same frames however it was split up on the way, and no frame over the limit is
ever held: its length alone ends the stream.
"""

from __future__ import annotations

from proxy.errors import TurnoutError

PREFIX = 4
MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one payload. A snapshot of 10,000 routes is below 4 MiB; what is larger is a fault, not a message."""


class FrameError(TurnoutError):
    """The stream between supervisor and worker cannot be read any further."""


def frame(payload: bytes, limit: int = MAX_FRAME) -> bytes:
    """Return the payload with its length in front. Raises FrameError when it is larger than `limit` bytes."""
    if len(payload) > limit:
        raise FrameError(f"a message of {len(payload)} bytes is over the limit of {limit}")
    return len(payload).to_bytes(PREFIX, "big") + payload


class Frames:
    """The receiving side: feed it what arrived, get the payloads that are complete."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

    @property
    def pending(self) -> int:
        """Bytes of a frame that has begun and is not complete; 0 between two frames."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that `data` completes, in order.

        Raises FrameError for a length over the limit; the object is of no use after that.
        """
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(buffer) - start >= PREFIX:
            begin = start + PREFIX
            length = int.from_bytes(buffer[start:begin], "big")
            if length > self._limit:
                raise FrameError(f"a message of {length} bytes was announced; the limit is {self._limit}")
            if len(buffer) - begin < length:
                break
            start = begin + length
            payloads.append(bytes(buffer[begin:start]))
        del buffer[:start]
        return payloads
