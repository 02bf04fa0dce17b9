"""An upgrade that ends half way, seen from either side: nobody stands in the way of those who go on."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proxy.controlplane.upgrade.handover import ENVIRONMENT
from proxy.controlplane.upgrade.luggage import Luggage, pack
from proxy.core.state import State
from proxy.ipc.frames import Frames, frame
from tests.support.bare import ROOT, bare
from tests.support.deadline import WITHIN_S, wait_until
from tests.support.front import write_file
from tests.support.load import Load
from tests.support.origins import Origin, Peer, StrictOrigin, ok
from tests.support.turnout import COMMAND
from tests.support.wire import Wire

GET = b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"


class Predecessor:
    """The other end of a successor's line, which says what it is told to say."""

    def __init__(self, file: Path) -> None:
        ours, theirs = socket.socketpair()
        self.line = ours
        self._frames = Frames()
        self._heard: list[bytes] = []
        ours.settimeout(WITHIN_S)
        with theirs:
            self.successor = subprocess.Popen(
                [*COMMAND, "run", "-c", str(file)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], start_new_session=True,
                env={**os.environ, "PYTHONPATH": ROOT, ENVIRONMENT: str(theirs.fileno())})

    def say(self, what: str, *descriptors: int, **facts: Any) -> None:
        data = frame(json.dumps({"say": what, "descriptors": len(descriptors), **facts}).encode())
        socket.send_fds(self.line, [data], descriptors)

    def hear(self, what: str) -> None:
        """Wait until the successor says so."""
        while not self._heard:
            self._heard += self._frames.feed(self.line.recv(65536))
        assert json.loads(self._heard.pop(0))["say"] == what


@contextmanager
def predecessor(file: Path) -> Iterator[Predecessor]:
    it = Predecessor(file)
    try:
        yield it
    finally:
        it.line.close()
        if it.successor.poll() is None:
            os.killpg(it.successor.pid, 9)
        it.successor.wait(WITHIN_S)


def is_free(path: Path) -> bool:
    """Whether a supervisor could take hold of this folder."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S).close()
    except ConnectionRefusedError:
        return True
    return False


def two_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def test_a_successor_whose_predecessor_died_stands_in_nobodys_way_while_it_finishes_what_it_began(
    tmp_path: Path,
) -> None:
    release = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        release.wait(WITHIN_S)
        peer.send(ok(b"late"))

    data, admin = two_ports()
    state = tmp_path / "state"
    state.mkdir()
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with Origin(script) as slow:
        file = write_file(tmp_path, {"old": slow.url}, [{"name": "shop", "split": {"old": 1}}], workers=1,
                          listen=f"127.0.0.1:{data}", admin={"listen": f"127.0.0.1:{admin}"}, state_dir=str(state))
        with predecessor(file) as before:
            before.hear("hello")
            before.say("lock", lock)
            os.close(lock)
            before.say("estate", luggage={})
            before.hear("ready")
            before.say("final", luggage=pack(Luggage(State(1), str(state.resolve()), b"x" * 32)), fold={})
            before.hear("taken")
            with Wire(("127.0.0.1", data)) as busy:
                busy.send(GET)
                slow.wait_until(lambda: slow.connections == 1)
                before.line.close()  # it was killed before it could say `yours`
                wait_until(lambda: is_free(state / "lock"), "the folder is free")
                wait_until(lambda: refuses(admin), "the admin address is free")
                assert before.successor.poll() is None, "it is there still"
                release.set()
                assert busy.response().body == b"late"
            assert before.successor.wait(WITHIN_S) == 1


def test_a_successor_that_stalls_half_way_does_not_keep_changes_waiting_for_as_long_as_a_start_may_take() -> None:
    with (
        StrictOrigin(lambda _: ok(b"old")) as old, StrictOrigin(lambda _: ok(b"new")) as new,
        bare(old, new=new, upgrade_s=60.0, frozen_s=0.3) as turnout, Load(turnout.address, 4, GET) as load,
    ):
        load.wait_each(2)
        turnout.tell("upgrade stalls")
        failure = turnout.heard("not-upgraded")
        assert "did not take over within 0.3 s" in failure["because"]
        assert not failure["frozen"]
        turnout.tell("apply 2 new")
        assert turnout.heard("changed")["workers"] == 2
        load.stop()
        assert (load.lost, load.strange) == ([], [])
