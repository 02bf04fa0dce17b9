"""Bodies in the content codings that servers use."""

from __future__ import annotations

import gzip
import zlib

import brotli

from proxy.compat import zstd

CODINGS = ("gzip", "deflate", "br", "zstd")


def packed(coding: str, body: bytes) -> bytes:
    """The body in this coding; the same bytes each time."""
    return {"gzip": lambda: gzip.compress(body, mtime=0), "deflate": lambda: zlib.compress(body),
            "br": lambda: bytes(brotli.compress(body)), "zstd": lambda: zstd.compress(body)}[coding]()


def zstd_in_windows_of(log: int, body: bytes) -> bytes:
    """A frame whose reader needs a window of 2 to the power of `log` bytes."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    return packer.compress(body) + packer.flush()
