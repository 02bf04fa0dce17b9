"""Mutants over real sockets: whatever comes, the worker raises nothing unseen, the origin reads only canonical
requests, and everybody else is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.support.mutants import a_request, an_answer
from tests.support.origins import Peer
from tests.support.stage import Stage
from tests.support.stage import a_request as a_plain_request
from tests.support.strict import AmbiguousError, Message, take_response

MUTANTS = 1000


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def test_mutants_of_requests_reach_the_origin_canonical_or_not_at_all(stage: Stage) -> None:
    for seed in range(MUTANTS):
        random = Random(10_000_000 + seed)
        data = b"".join(a_request(random))
        with stage.connect() as wire:
            cut = random.randrange(len(data) + 1)
            if wire.send_some(data[:cut]) and wire.send_some(data[cut:]):
                try:
                    wire.half_close()
                except OSError:
                    pass  # it has hung up already
            answered = wire.rest()
        method = b"HEAD" if data.lstrip(b"\r\n").startswith(b"HEAD ") else b"GET"
        while answered:
            message = take_response(answered, method, closed=True)
            assert message is not None, f"seed {seed}: {data!r} got {answered!r}"
            answered, method = answered[len(message.raw):], b"GET"
        if seed % 50 == 0:
            stage.worker.wait_until(lambda worker: not worker.clients)
            stage.clean()
    assert not stage.origin.failures


def test_mutants_of_answers_reach_the_client_canonical_or_visibly_broken(stage: Stage) -> None:
    def play(peer: Peer, message: Message) -> None:
        peer.send(mutant)
        peer.half_close()
    target = stage.play(b"mutant", play)
    for seed in range(MUTANTS):
        mutant = b"".join(an_answer(Random(20_000_000 + seed)))
        with stage.connect() as wire:
            wire.send(a_plain_request(target, b"Connection: close", method=b"POST"))
            answered = wire.rest()
        try:
            message = take_response(answered, closed=True)
        except AmbiguousError as error:
            raise AssertionError(f"seed {seed}: {mutant!r} arrived as {answered!r}") from error
        if message is not None and message.status == 502 and b"turnout" in message.raw:
            continue
        assert message is None or message.raw == answered, f"seed {seed}: {mutant!r} arrived as {answered!r}"
        if seed % 50 == 0:
            stage.clean()
