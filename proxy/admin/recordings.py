"""Recorded pairs as JSON lines, for as long as their reader stays and the route has its shadow.

Invariant: nothing is kept for a reader that does not read beyond what `RecordStream` holds; after `write_s` it is
dropped. A blank line says that the stream is alive. The last line says why it ends, `{"ended": REASON}`: `off` (nothing
of the route is compared any more), `leaving` (ask again: a successor answers) or `forbidden`; a stream without one
broke off.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from proxy.admin.control import Control
from proxy.admin.doors import Connection
from proxy.admin.problems import Refused
from proxy.admin.sse import Writer
from proxy.controlplane.comparer.recordings import LEAVING, MOST_STREAMS, RecordStream

MEDIA_TYPE = "application/x-ndjson"
_FORBIDDEN = "forbidden"


class Recordings:
    """Every stream of recorded pairs."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._open: dict[RecordStream, web.Request] = {}
        self._ended = False

    async def serve(self, request: web.Request, route: str, sample: float,
                    still_allowed: Callable[[], bool]) -> web.StreamResponse:
        """Answer with the pairs of the route from now on. Raises Refused (503) when there are streams enough."""
        if self._ended:
            raise Refused(503, "this process is leaving", headers={"Retry-After": "1"})
        comparer = self._control.comparer
        stream = None if comparer is None else comparer.record(route, sample)
        if stream is None:
            raise Refused(503, f"{MOST_STREAMS} recordings are running already", headers={"Retry-After": "10"})
        self._open[stream] = request
        if isinstance(request.protocol, Connection):
            request.protocol.when_lost = stream.close
        try:
            return await self._stream(request, stream, still_allowed)
        finally:
            stream.close()
            del self._open[stream]

    def end(self) -> None:
        """End every stream now, and open none any more."""
        self._ended = True
        for stream, request in list(self._open.items()):
            stream.close(LEAVING)
            if request.transport is not None and request.transport.get_write_buffer_size():
                request.transport.abort()      # it does not read, so it would not take the end either

    async def _stream(self, request: web.Request, stream: RecordStream,
                      still_allowed: Callable[[], bool]) -> web.StreamResponse:
        patience = self._control.patience
        response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "X-Accel-Buffering": "no"})
        await response.prepare(request)
        write = Writer(response, request, patience.write_s)
        await write(b"\n")      # the reader knows at once that it is heard
        while (lines := await stream.take(patience.lines_s)) is not None:
            if not still_allowed():
                stream.close(_FORBIDDEN)
                break
            await write(lines or b"\n")
        if stream.why:
            await write(b'{"ended":"%b"}\n' % stream.why.encode())
        await response.write_eof()
        return response
