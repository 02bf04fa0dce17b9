"""The worker as the supervisor sees it: takes snapshots, acknowledges, reports what it counted, leaves when told to."""

from __future__ import annotations

import asyncio
import socket

from proxy.dataplane.worker import Worker
from proxy.ipc.channel import Channel, open_channel
from proxy.ipc.messages import Applied, Apply, Drain, Drained, Message, Quiet, Stats

REPORT_S = 0.25
"""Several times a second, so that whoever watches a rollout sees it move."""


class Service:
    """Joins a channel to a worker. `listeners`: bound, listening sockets."""

    def __init__(self, channel: socket.socket, listeners: list[socket.socket], workers: int) -> None:
        self._socket = channel
        self._listeners = listeners
        self._workers = workers
        self._worker: Worker | None = None
        self._channel: Channel | None = None
        self._early: list[Message] = []
        self._sequence = 0
        self._leave: asyncio.Future[float] | None = None

    async def run(self) -> int:
        """Serve until drained; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._leave = loop.create_future()
        self._channel = await open_channel(self._socket, self._on_message, self._on_closed)
        for message in self._early:
            self._on_message(message)
        within_s = await self._leave
        worker = self._worker
        if worker is None:
            return 0
        cut = await worker.drain(within_s, lambda: self._send(Quiet()))
        self._report()
        self._channel.send(Drained(cut=cut))
        self._channel.close()
        return 0

    def _on_message(self, message: Message) -> None:
        if self._channel is None:
            self._early.append(message)  # the first one may be there before we have our end to answer on
            return
        match message:
            case Apply(snapshot, cut):
                if self._worker is None:
                    self._worker = Worker(snapshot, workers=self._workers)
                    for sock in self._listeners:
                        self._worker.listen(sock)
                    self._schedule_report()
                else:
                    self._worker.apply(snapshot, cut)
                self._send(Applied(revision=snapshot.revision))
            case Drain(within_s):
                self._leave_within(within_s)
            case _:
                raise TypeError(f"not a message for a worker: {message!r}")

    def _on_closed(self) -> None:
        """The supervisor is gone: nobody could change anything any more, so finish and leave."""
        self._leave_within(self._worker.site.timeouts.drain if self._worker else 0.0)

    def _leave_within(self, seconds: float) -> None:
        if self._leave is not None and not self._leave.done():
            self._leave.set_result(seconds)

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
