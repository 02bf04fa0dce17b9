"""Shadows that do what none should, behind the whole program: its clients notice nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.support.load import Load
from tests.support.origins import Origin, Peer, answering_once, never_ending, silent
from tests.support.shadow_shop import GET, OLD, says, shop
from tests.support.story import dead_address, full_backlog
from tests.support.wire import Address


def resets(peer: Peer) -> None:
    peer.read_head()
    peer.reset()


SCRIPTS: dict[str, Callable[[Peer], None]] = {
    "reads and never answers": silent,
    "resets": resets,
    "sends garbage": answering_once(b"\x00\xff no http \r\n\r\n" * 9),
    "drips": answering_once(b"H"),
    "stops within a body": answering_once(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    "never ends": never_ending,
}


@contextmanager
def blackhole() -> Iterator[Address]:
    with full_backlog() as address:
        yield address


def bad_shadow(name: str) -> AbstractContextManager[Address | Origin]:
    if name == "refuses":
        return nullcontext(dead_address())
    return blackhole() if name == "accepts nobody" else Origin(SCRIPTS[name])


@pytest.mark.parametrize("name", ["refuses", "accepts nobody", *SCRIPTS])
def test_clients_notice_nothing_of_a_shadow_that(tmp_path: Path, name: str) -> None:
    with says(OLD) as old, bad_shadow(name) as new, \
            shop(tmp_path, old, new, {"timeout": "300ms"}, timeouts={"connect": "300ms"}) as it:
        with Load(it.turnout.address, 4, GET) as load:
            load.wait_each(30)
            load.wait(lambda: it.total("copied") > 0, "copies that have ended")
            if name != "never ends":        # that one is given up for its length
                load.wait(lambda: it.total("different") > 0, "copies without an answer that are differences")
            load.wait_each(5)
            load.stop()
        assert (load.lost, load.strange) == ([], [])
        assert len(old.requests) == load.answered
        assert it.total("matched") == 0


def test_a_candidate_that_only_hangs_up_matches_nothing_and_is_told_as_a_difference(tmp_path: Path) -> None:
    with says(OLD) as old, Origin(resets) as new, shop(tmp_path, old, new, {"alert_below": "90%"}) as it:
        it.ask_until(lambda: it.total("compared") >= 3)
        assert it.differences() == {("status", "no-answer")}
        told = it.cli("shadow", "report")
        assert "0 % match" in told
        assert "200 → no answer: closed" in told
        assert "the shadow gave no answer" in told


def test_a_shadow_that_hangs_keeps_nobody_from_leaving(tmp_path: Path) -> None:
    with says(OLD) as old, Origin(silent) as new, shop(tmp_path, old, new, {"timeout": "1h"}) as it:
        assert it.turnout.ask()[0] == 200
        new.wait_until(lambda: new.connections >= 1)
        it.turnout.tell(signal.SIGTERM)
        assert it.turnout.wait() == 0
