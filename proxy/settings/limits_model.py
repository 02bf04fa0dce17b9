"""The bounds and deadlines that hold for every route, as pydantic models.

Attributes are called as in `core.snapshot`, which gives each default its reason.
"""

from __future__ import annotations

from typing import Annotated

from proxy.core.snapshot import Limits, Timeouts
from proxy.settings import fields, traffic_fields
from proxy.settings.section import Section, entry, size, time
from proxy.settings.units import GIB, KIB, MIB

_LIMITS = Limits()
_TIMEOUTS = Timeouts()
_YEAR = 365 * 86_400.0


class LimitsSection(Section):
    """Bounds on what one client or server may make a worker hold."""

    request_line: Annotated[int, fields.size(64, MIB)] = size(_LIMITS.request_line, "Longest request line (414).")
    head: Annotated[int, fields.size(256, 16 * MIB)] = size(_LIMITS.head, "Largest request head (431).")
    headers: Annotated[int, fields.count(1, 10_000)] = entry(
        _LIMITS.headers, _LIMITS.headers, "Most fields in a request head (431).")
    body: Annotated[int | None, fields.size_or_none(0, 1024 * GIB)] = entry(
        None, "none", "Largest request body (413); `none` for any, since bodies are streamed.")
    connections: Annotated[int, fields.count(1, 10_000_000)] = entry(
        _LIMITS.connections, _LIMITS.connections, "Most client connections, all workers together.")
    response_head: Annotated[int, fields.size(256, 16 * MIB)] = size(
        _LIMITS.response_head, "Largest head of a server's answer (502).")
    response_headers: Annotated[int, fields.count(1, 10_000)] = entry(
        _LIMITS.response_headers, _LIMITS.response_headers, "Most fields in the head of a server's answer (502).")
    trailers: Annotated[int, fields.size(0, MIB)] = size(
        _LIMITS.trailers, "Largest trailer section of a body (400, 502).")
    trailer_fields: Annotated[int, fields.count(0, 10_000)] = entry(
        _LIMITS.trailer_fields, _LIMITS.trailer_fields, "Most fields in a trailer section (400, 502).")
    chunk_line: Annotated[int, fields.size(16, MIB)] = size(
        _LIMITS.chunk_line, "Longest chunk-size line with its extensions (400, 502).")
    chunk_extensions: Annotated[int, fields.size(0, 16 * MIB)] = size(
        _LIMITS.chunk_extensions, "Most bytes of chunk extensions in one body (400, 502).")
    buffer: Annotated[int, fields.size(4 * KIB, 64 * MIB)] = size(
        _LIMITS.buffer, "Held per connection and direction before reading is paused.")
    body_rate: Annotated[int, fields.rate_or_none(GIB)] = entry(
        _LIMITS.body_rate, f"{_LIMITS.body_rate}B/s",
        "What a request body must average after its first 10 s (408); `none` for any rate.")
    memory: Annotated[int | None, traffic_fields.size_or_auto(64 * MIB, 1024 * GIB)] = entry(
        None, "auto", "Above it no connections are accepted, all workers together; `auto`: 80 % of the container's.",
        examples=["2GiB"])
    client_connections: Annotated[int | None, traffic_fields.count_or_none(1, 10_000_000)] = entry(
        None, "none", "Most connections of one client address, in each worker (429).", examples=[100])
    client_rate: Annotated[float | None, traffic_fields.frequency_or_none(1 / 3600, 1_000_000)] = entry(
        None, "none", "Requests of one client address, in each worker (429).", examples=["100/s", "6000/m"])
    client_burst: Annotated[int | None, traffic_fields.count_or_none(1, 1_000_000)] = entry(
        None, "none", "How many of them may come at once; `none`: as many as in one second.", examples=[200])


class TimeoutsSection(Section):
    """Deadlines. Each may be late by a quarter of a second."""

    request_head: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.request_head, "From the first byte of a request head to its end (408).")
    request_idle: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.request_idle, "Between two pieces of a request body (408).")
    keepalive: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.keepalive, "How long an idle client connection is kept.")
    connect: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.connect, "To connect to a server (504).")
    response_head: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.response_head, "From the request sent to the first byte of its answer (504).")
    response_idle: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.response_idle, "Between two pieces of an answer, and for a client to take one.")
    drain: Annotated[float, fields.duration(0, _YEAR)] = time(
        _TIMEOUTS.drain, "How long requests in flight may finish when Turnout stops.")
    tunnel_idle: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.tunnel_idle, "How long a WebSocket or other upgraded connection may be silent.")
    tunnel_grace: Annotated[float, fields.duration(0, _YEAR)] = time(
        _TIMEOUTS.tunnel_grace, "How long a tunnel may go on once its version has lost its last weight.")
    orphan: Annotated[float, fields.duration(0, _YEAR)] = time(
        _TIMEOUTS.orphan, "How long workers serve on without a supervisor, until a new one takes over.")
    upstream_keepalive: Annotated[float, fields.duration(0.001, _YEAR)] = time(
        _TIMEOUTS.upstream_keepalive, "How long an idle connection to a server is kept for the next request.")
