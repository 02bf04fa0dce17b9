"""A worker without a supervisor: it serves on, and gives its sockets to the next supervisor that asks for them.

Invariant: the sockets are lent as copies, so nobody's connection is lost whatever becomes of the one who asked; the
worker leaves only when it is told to, or when its time is up.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from typing import Protocol

import msgspec

from proxy.ipc import heirloom
from proxy.ipc.heirloom import Ask, Tell

_MAY_WAIT = 8
_PAUSE_S = 0.1


class Will(Protocol):
    """What an orphan does when it is asked to."""

    def leave(self, within_s: float) -> None:
        """Accept nothing new, finish within so many seconds."""

    def cut_off(self, pairs: Sequence[tuple[str, str]]) -> None:
        """End what runs for these (route, version) pairs."""

    @property
    def revision(self) -> int:
        """By which snapshot it serves."""


class Orphan:
    """Waits at the meeting place of this process. `sockets`: the listening ones, each with its address."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: Sequence[tuple[str, socket.socket]],
                 will: Will) -> None:
        self._loop = loop
        self._sockets = sockets
        self._will = will
        self._door: socket.socket | None = None
        self._heirs: set[socket.socket] = set()
        self._quiet = False

    def open(self) -> None:
        """Wait for an heir. Where there are no abstract Unix sockets nobody comes, and time ends it."""
        if sys.platform != "linux":
            return
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            door.bind(heirloom.meeting_place(os.getpid(), os.environ.get(heirloom.TOKEN, "")))
            door.listen(_MAY_WAIT)
        except OSError:  # somebody sits there already: no heir will find us, and time ends it
            door.close()
            return
        door.setblocking(False)
        self._door = door
        self._watch_door()

    def quiet(self) -> None:
        """Tell every heir that no request begins here any more."""
        self._quiet = True
        for heir in list(self._heirs):
            self._tell(heir, Tell("quiet"))

    def close(self) -> None:
        """Part from everybody: that is how they learn that this worker has left."""
        if self._door is not None:
            self._loop.remove_reader(self._door)
            self._door.close()
            self._door = None
        for heir in list(self._heirs):
            self._part(heir)

    def _watch_door(self) -> None:
        if self._door is not None:
            self._loop.add_reader(self._door, self._meet)

    def _meet(self) -> None:
        assert self._door is not None
        try:
            heir, _ = self._door.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptors left: look again, and do not spin until then
            self._loop.remove_reader(self._door)
            self._loop.call_later(_PAUSE_S, self._watch_door)
            return
        if heirloom.peer_of(heir)[1] != os.geteuid():
            heir.close()
            return
        heir.setblocking(False)
        self._heirs.add(heir)
        self._loop.add_reader(heir, self._listen_to, heir)

    def _listen_to(self, heir: socket.socket) -> None:
        try:
            wish = heirloom.receive_ask(heir)
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError):
            wish = None
        if wish is None:
            self._part(heir)
        else:
            self._grant(heir, wish)

    def _grant(self, heir: socket.socket, wish: Ask) -> None:
        match wish.ask:
            case "estate":
                lent = [(address, sock) for address, sock in self._sockets if sock.fileno() >= 0]
                told = Tell("estate", tuple(address for address, _ in lent), self._will.revision)
                self._tell(heir, told, [sock for _, sock in lent])
            case "leave":
                self._will.leave(wish.within_s)
                if self._quiet:
                    self._tell(heir, Tell("quiet"))
            case "cut":
                self._will.cut_off(wish.pairs)
            case _:  # a later release asks for more than this one has
                pass

    def _tell(self, heir: socket.socket, message: Tell, sockets: Sequence[socket.socket] = ()) -> None:
        try:
            heirloom.send(heir, message, sockets)
        except OSError:
            self._part(heir)

    def _part(self, heir: socket.socket) -> None:
        self._heirs.discard(heir)
        self._loop.remove_reader(heir)
        heir.close()
