"""Two versions of a service whose answers are never the same; in a part of the new one's a difference is planted.

Run as a program: python -m benchmarks.loads.noisy_service '{"old": PORT, "new": PORT, "every": N}' plants one in every
N answers of the new version, each difference of an endpoint in its turn.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
from collections.abc import Iterator
from typing import Any, cast

import uvloop

from benchmarks.loads.plants import PLAIN, PLANTS, TYPES, Plant, template

RECOMMENDED = ("signal", "buffer", "crossing", "curve", "lamp")


def noise(chance: random.Random) -> dict[bytes, bytes]:
    """The fields that differ between any two answers."""
    recommended = list(RECOMMENDED)
    if chance.random() < 0.5:
        chance.shuffle(recommended)
    return {b"served_at": b"%.6f" % (1.7e9 + chance.random() * 1e6), b"trace": b'"%032x"' % chance.getrandbits(128),
            b"stock": b"%d" % (7 if chance.random() < 0.7 else chance.randrange(20)),
            b"recommended": json.dumps(recommended).encode(),
            b"promo": b'"spring"' if chance.random() < 0.3 else b""}


class Kind:
    """The answers that carry one plant, or none."""

    def __init__(self, plant: Plant | None, endpoint: str) -> None:
        self._plant = plant
        fields: dict[str, str | None] = {"Content-Type": TYPES[endpoint], "Cache-Control": "private, max-age=60",
                                         "Content-Language": "en", **(plant.fields if plant else {})}
        lines = [f"HTTP/1.1 {plant.status if plant else 200} Answer",
                 *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
        self._head = "\r\n".join(lines).encode()
        self._template = template(plant, endpoint)

    def answer(self, chance: random.Random) -> bytes:
        """One of them."""
        made = noise(chance)
        body = self._template % made if b"%(" in self._template else self._template
        if not made[b"promo"]:
            body = body.replace(b', "promo": ', b"", 1)
        if self._plant is not None:
            body = self._plant.body(body)
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)


def new_answers(endpoint: str, every: int) -> Iterator[Kind]:
    """What the new version answers there, in turn."""
    plain = Kind(None, endpoint)
    turn = itertools.cycle([Kind(plant, endpoint) for plant in PLANTS if plant.endpoint == endpoint])
    while True:
        yield from itertools.repeat(plain, every - 1)
        yield next(turn)


class Version(asyncio.Protocol):
    """A connection to one version. Requests come whole, one at a time."""

    def __init__(self, answers: dict[bytes, Iterator[Kind]], chance: random.Random) -> None:
        self._answers = answers
        self._chance = chance

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)    # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        answers = self._answers.get(data.split(b" ", 2)[1], self._answers[PLAIN.encode()])
        self._transport.write(next(answers).answer(self._chance))


async def serve(old: int, new: int, every: int) -> None:
    """Both versions, for ever."""
    chance = random.Random(every)
    versions = {
        old: {endpoint.encode(): itertools.repeat(Kind(None, endpoint)) for endpoint in TYPES},
        new: {endpoint.encode(): new_answers(endpoint, every) for endpoint in TYPES}}
    for port, answers in versions.items():
        await asyncio.get_running_loop().create_server(
            lambda answers=answers: Version(answers, chance), "127.0.0.1", port, backlog=4096)  # type: ignore[misc]
    print("ready", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    told: dict[str, Any] = json.loads(sys.argv[1])
    uvloop.run(serve(told["old"], told["new"], told["every"]))


if __name__ == "__main__":
    main()
