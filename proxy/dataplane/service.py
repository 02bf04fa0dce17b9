"""The worker as the supervisor sees it: takes snapshots, acknowledges, reports what it counted, leaves when told to.

What it does when nobody tells it anything any more: the supervisor is dead, clients are not. It serves on by its last
snapshot for `timeouts.orphan`, lends its sockets to a new supervisor that asks for them, and leaves when that one says
so, or SIGTERM does, or when its time is up.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence

from proxy.core.withdrawal import without
from proxy.dataplane.orphan import Orphan
from proxy.dataplane.worker import Worker
from proxy.ipc.channel import Channel, open_channel
from proxy.ipc.messages import Applied, Apply, Drain, Drained, Message, Noticed, Probed, Quiet, Ready, Stats

REPORT_S = 0.25
"""Several times a second, so that whoever watches a rollout sees it move."""
_BROKEN_S = 1.0
"""How long a worker that cannot be told anything finishes: its successor waits for its end, and clients with it."""


class Service:
    """Joins a channel to a worker. `listeners`: bound, listening sockets, each with the address it is bound to."""

    def __init__(self, channel: socket.socket, listeners: Sequence[tuple[str, socket.socket]], workers: int) -> None:
        self._socket = channel
        self._listeners = listeners
        self._workers = workers
        self._worker: Worker | None = None
        self._channel: Channel | None = None
        self._orphan: Orphan | None = None
        self._is_quiet = False
        self._sequence = 0
        self._leave: asyncio.Future[float] | None = None

    async def run(self) -> int:
        """Serve until drained; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        self._channel = await open_channel(self._socket, self._on_message, self._on_closed)
        self._send(Ready())
        within_s = await self._leave
        worker = self._worker
        if worker is None:
            return 0
        cut = await worker.drain(within_s, self._on_quiet)
        self._report()
        self._channel.send(Drained(cut=cut))
        self._channel.close()
        if self._orphan is not None:
            self._orphan.close()
        return 0

    # ---- what an heir may ask for

    @property
    def revision(self) -> int:
        """By which snapshot it serves; 0 while there is none."""
        return self._worker.site.snapshot.revision if self._worker is not None else 0

    def leave(self, within_s: float) -> None:
        """Accept nothing new, finish what is under way within so many seconds, then end."""
        if self._leave is not None and not self._leave.done():
            self._leave.set_result(within_s)

    def cut_off(self, pairs: Sequence[tuple[str, str]]) -> None:
        """End what runs for these (route, version) pairs, and begin nothing for them."""
        if self._worker is not None:
            self._worker.apply(without(self._worker.site.snapshot, pairs), pairs)

    # ---- the channel

    def _on_message(self, message: Message) -> None:
        match message:
            case Apply(snapshot, cut):
                if self._worker is None:
                    self._worker = Worker(snapshot, workers=self._workers)
                    self._worker.tell = self._send
                    for _, sock in self._listeners:
                        self._worker.listen(sock)
                    self._schedule_report()
                else:
                    self._worker.apply(snapshot, cut)
                self._send(Applied(revision=snapshot.revision))
            case Drain(within_s):
                self.leave(within_s)
            case Noticed() if self._worker is not None:
                self._worker.hear(message)
            case Probed(out) if self._worker is not None:
                self._worker.hear_probes(out)
            case _:
                raise TypeError(f"not a message for a worker: {message!r}")

    def _on_closed(self) -> None:
        """Go on alone if the supervisor is gone; an error on the channel ends the worker, so that it is replaced."""
        assert self._channel is not None
        assert self._leave is not None
        if self._worker is None:
            self.leave(0.0)
        elif self._channel.reason is not None:
            self.leave(_BROKEN_S)
        else:
            self._serve_on(self._worker)

    def _serve_on(self, worker: Worker) -> None:
        timeouts = worker.site.timeouts
        loop = asyncio.get_running_loop()
        # Until now signals were the supervisor's business: whoever ends the whole group means this process as well.
        loop.add_signal_handler(signal.SIGTERM, self.leave, timeouts.drain)
        # Also when it is leaving already, or the next supervisor would take it for stuck.
        self._orphan = Orphan(loop, self._listeners, self)
        self._orphan.open()
        if self._is_quiet:
            self._orphan.quiet()
        if timeouts.orphan > 0:
            loop.call_later(timeouts.orphan, self.leave, timeouts.drain)
        else:
            self.leave(timeouts.drain)

    def _on_quiet(self) -> None:
        self._is_quiet = True
        self._send(Quiet())
        if self._orphan is not None:
            self._orphan.quiet()

    def _schedule_report(self) -> None:
        asyncio.get_running_loop().call_later(REPORT_S, self._report_again)

    def _report_again(self) -> None:
        self._report()
        self._schedule_report()

    def _report(self) -> None:
        """Send what was counted; a supervisor that does not keep up gets it later, in one piece."""
        if self._worker is None or self._channel is None or not self._channel.writable:
            return
        delta = self._worker.counters.collect()
        self._sequence += 1
        self._send(Stats(seq=self._sequence, counters=delta.counters, gauges=delta.gauges,
                         histograms=delta.histograms))

    def _send(self, message: Message) -> None:
        if self._channel is not None:
            self._channel.send(message)
