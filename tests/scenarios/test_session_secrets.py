"""Which session cookies are believed: those signed by the secret that holds now, in the file or made in its place."""

from __future__ import annotations

import http.client
import resource
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.cli.client import Refused
from tests.support.deadline import WITHIN_S
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.turnout import Turnout, running

ONE, OTHER = "one-of-the-secrets", "another-of-the-secrets"
ROUTE = {"name": "shop", "split": {"old": 1, "new": 1}, "sticky": {"by": "cookie", "name": "v", "mode": "session"}}


class Shop:
    """A file, whose secret is to be changed."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        self.folder = folder
        self._urls = urls

    def file(self, secret: str | None, state: str = "state") -> str:
        more = {} if secret is None else {"secret": secret}
        state_dir = "memory" if state == "memory" else str(self.folder / state)
        return str(write_file(self.folder, self._urls, [ROUTE], workers=1, watch="none", state_dir=state_dir, **more))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with StrictOrigin(lambda _: ok(b"old")) as old, StrictOrigin(lambda _: ok(b"new")) as new:
        yield Shop(tmp_path, {"old": old.url, "new": new.url})


def fresh(turnout: Turnout, cookie: str = "") -> str:
    """The session cookie that a client with this one is given; empty if its own is believed."""
    with closing(http.client.HTTPConnection(*turnout.address, timeout=WITHIN_S)) as connection:
        connection.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        answer.read()
        return (answer.getheader("Set-Cookie") or "").partition(";")[0]


def reload(turnout: Turnout) -> None:
    assert turnout.post("/api/v1/config/reload")["applied"]["workers"] == 1


def upgrade(turnout: Turnout, time: int = 2) -> None:
    turnout.post("/api/v1/upgrade")
    turnout.event("serving", time)


def test_a_changed_secret_holds_once_it_is_reloaded_and_sessions_of_the_old_one_begin_anew(shop: Shop) -> None:
    with running("-c", shop.file(ONE)) as turnout:
        before = fresh(turnout)
        assert (before[:2], fresh(turnout, before)) == ("v=", "")
        shop.file(OTHER)
        reload(turnout)
        after = fresh(turnout, before)
        assert after
        assert fresh(turnout, after) == ""
        upgrade(turnout)
        assert (fresh(turnout, after), fresh(turnout, before) != "") == ("", True)


@pytest.mark.parametrize("state", ["memory", "state"])
def test_a_secret_that_is_taken_out_of_the_file_is_believed_no_more_and_one_is_made(shop: Shop, state: str) -> None:
    with running("-c", shop.file(ONE, state)) as turnout:
        before = fresh(turnout)
        shop.file(None, state)
        reload(turnout)
        after = fresh(turnout, before)
        assert after
        upgrade(turnout)
        assert (fresh(turnout, after), fresh(turnout, before) != "") == ("", True)
        shop.file(ONE, state)
        reload(turnout)
        assert (fresh(turnout, before), fresh(turnout, after) != "") == ("", True)
        shop.file(None, state)
        reload(turnout)
        assert (fresh(turnout, after), fresh(turnout, before) != "") == ("", True)


def test_a_secret_that_was_made_outlives_an_upgrade_into_another_folder(shop: Shop) -> None:
    with running("-c", shop.file(None, "memory")) as turnout:
        cookie = fresh(turnout)
        for time, state in enumerate(("one", "two"), 2):
            shop.file(None, state)
            upgrade(turnout, time)
            assert fresh(turnout, cookie) == ""


def test_where_no_secret_can_be_made_the_file_is_refused_and_the_old_one_holds(shop: Shop) -> None:
    with running("-c", shop.file(ONE)) as turnout:
        cookie = fresh(turnout)
        shop.file(None)
        resource.prlimit(turnout.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with pytest.raises(Refused, match=r"422.*secret.*state_dir") as refused:
            turnout.post("/api/v1/config/reload")
        assert refused.value.kind == "bad-file"
        assert not list((shop.folder / "state").glob("secret*"))
        assert fresh(turnout, cookie) == ""
        resource.prlimit(turnout.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        reload(turnout)
        assert fresh(turnout, cookie) != ""
        turnout.tell(signal.SIGTERM)
        assert turnout.wait() == 0
