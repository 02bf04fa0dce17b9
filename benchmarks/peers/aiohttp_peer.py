"""The obvious Python program: an aiohttp server that asks through an aiohttp client, on uvloop."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.peers.base import Peer, Place

PROGRAM = Path(__file__).with_name("aiohttp_program.py")


class Aiohttp(Peer):
    """`aiohttp_program.py`, in this interpreter."""

    name = "aiohttp"
    title = "aiohttp program"
    get = "pip install aiohttp uvloop"
    split = "crc32 of the cookie modulo 100"

    def find(self) -> str | None:
        there = all(importlib.util.find_spec(name) for name in ("aiohttp", "uvloop"))
        return sys.executable if there else None

    def version(self) -> str:
        return importlib.metadata.version("aiohttp")

    def files(self, place: Place) -> Mapping[str, str]:
        return {"aiohttp_program.py": PROGRAM.read_text()}

    def command(self, place: Place) -> list[str]:
        return [sys.executable, str(place.folder / "aiohttp_program.py"), str(place.port), place.old[0], place.new[0]]
