"""What an orphan takes part in, and who is none; the whole story is in tests/scenarios/test_supervisor_dies.py."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator, Sequence

import pytest

from proxy.controlplane.upgrade.orphans import find_orphans
from proxy.controlplane.workers.listeners import Heirlooms, open_listeners
from proxy.core.listen import Listen
from proxy.dataplane.orphan import Orphan
from proxy.ipc import heirloom
from proxy.ipc.heirloom import Ask
from tests.support.bare import bare
from tests.support.deadline import until
from tests.support.origins import StrictOrigin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract Unix sockets are Linux's")


class Will:
    def __init__(self) -> None:
        self.revision = 7
        self.done: list[object] = []

    def leave(self, within_s: float) -> None:
        self.done.append(("leave", within_s))

    def cut_off(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.done.append(("cut", tuple(pairs)))


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


async def meet(sock: socket.socket, will: Will) -> tuple[Orphan, socket.socket]:
    """This process as an orphan, and a line to it."""
    orphan = Orphan(asyncio.get_running_loop(), [("127.0.0.1:1", sock)], will)
    orphan.open()
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(heirloom.meeting_place(os.getpid()))
    line.setblocking(False)
    return orphan, line


async def told(line: socket.socket) -> tuple[heirloom.Tell, list[socket.socket]]:
    def look() -> tuple[heirloom.Tell, list[socket.socket]] | None:
        try:
            return heirloom.receive_tell(line)
        except BlockingIOError:
            return None

    return await until(look, "the orphan says something")


def test_an_orphan_lends_its_sockets_and_keeps_its_own(listening: socket.socket) -> None:
    async def test() -> None:
        orphan, line = await meet(listening, Will())
        with line:
            heirloom.send(line, Ask("estate"))
            tell, sockets = await told(line)
            assert (tell.addresses, tell.revision) == (("127.0.0.1:1",), 7)
            assert [sock.getsockname() for sock in sockets] == [listening.getsockname()]
            assert not any(sock.get_inheritable() for sock in sockets)
            for sock in sockets:
                sock.close()
        assert listening.fileno() >= 0
        orphan.close()

    asyncio.run(test())


def test_an_orphan_leaves_when_it_is_told_and_says_when_it_has_become_quiet(listening: socket.socket) -> None:
    async def test() -> None:
        will = Will()
        orphan, line = await meet(listening, will)
        with line:
            for wish in (Ask("cut", pairs=(("shop", "new"),)), Ask("leave", 3.0), Ask("sing")):
                heirloom.send(line, wish)
            await until(lambda: len(will.done) == 2, "it has heard everything, and nobody minds what it does not know")
            assert will.done == [("cut", (("shop", "new"),)), ("leave", 3.0)]
            orphan.quiet()
            assert (await told(line))[0].tell == "quiet"
            orphan.close()
            assert line.recv(1) == b"", "the end of the line is the end of the orphan"

    asyncio.run(test())


def test_one_who_talks_nonsense_is_parted_from_and_the_next_one_is_heard(listening: socket.socket) -> None:
    async def test() -> None:
        orphan, line = await meet(listening, Will())
        with line, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            line.send(b"\xff")
            other.connect(heirloom.meeting_place(os.getpid()))
            other.setblocking(False)
            heirloom.send(other, Ask("estate"))
            _, sockets = await told(other)
            assert len(sockets) == 1
            sockets[0].close()
            assert line.recv(1) == b""
        orphan.close()

    asyncio.run(test())


def test_workers_whose_supervisor_lives_are_no_orphans() -> None:
    with StrictOrigin() as origin, bare(origin) as turnout:
        host, port = turnout.address
        assert find_orphans([f"{host}:{port}"]).members == ()
        assert turnout.process.poll() is None


def test_sockets_that_came_twice_are_used_once_and_those_of_other_addresses_are_closed() -> None:
    before = open_listeners([Listen("127.0.0.1", 0)], 2)
    (address, first), (_, second) = before.bound
    copies = [first.dup(), first.dup(), second.dup()]
    stranger = socket.create_server(("127.0.0.1", 0))
    heirlooms = Heirlooms([*((address, copy) for copy in copies), ("127.0.0.1:1", stranger)])
    after = open_listeners([Listen("127.0.0.1", int(address.rpartition(":")[2]))], 3, heirlooms)
    inodes = [os.fstat(sock.fileno()).st_ino for _, sock in after.bound]
    assert inodes[:2] == [os.fstat(sock.fileno()).st_ino for sock in (first, second)]
    assert len(set(inodes)) == 3, "one more for the third worker"
    assert stranger.fileno() == -1
    before.close()
    after.close()


@pytest.mark.parametrize(("sockets", "workers"), [(4, 1), (4, 3), (1, 4), (3, 3)])
def test_every_socket_belongs_to_a_worker_and_every_worker_has_one(sockets: int, workers: int) -> None:
    before = open_listeners([Listen("127.0.0.1", 0)], sockets)
    address = before.addresses[0]
    listen = Listen("127.0.0.1", int(address.rpartition(":")[2]))
    after = open_listeners([listen], workers, Heirlooms((address, sock.dup()) for _, sock in before.bound))
    held = [[sock for _, sock in after.bound_of(worker)] for worker in range(workers)]
    assert all(held)
    assert {sock for each in held for sock in each} == {sock for _, sock in after.bound}
    assert sum(map(len, held)) == max(sockets, workers)
    before.close()
    after.close()


def test_a_port_that_the_system_chose_is_found_again_by_what_was_asked_for() -> None:
    before = open_listeners([Listen("127.0.0.1", 0)], 1)
    heirlooms = Heirlooms()
    heirlooms.add([(address, sock.dup()) for address, sock in before.bound], before.asked)
    after = open_listeners([Listen("127.0.0.1", 0)], 1, heirlooms)
    assert after.addresses == before.addresses
    assert after.asked == before.asked == {before.addresses[0]: "127.0.0.1:0"}
    before.close()
    after.close()
