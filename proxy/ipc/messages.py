"""What supervisor and worker say to each other: frozen values in one tagged union, as msgpack.

Both ends are always the same release, started from the same files, so the encoding carries no version number. What
does not decode ends the channel: a half-understood snapshot is worse than a worker that is replaced.
"""

from __future__ import annotations

import msgspec

from proxy.core.snapshot import Snapshot

Series = tuple[str, tuple[str, ...], float]
"""Metric name, label values in the order of the metric's labels, number."""
HistogramSeries = tuple[str, tuple[str, ...], dict[int, int], float]
"""Metric name, label values, bucket index → observations, sum of the observed values."""


class Apply(msgspec.Struct, frozen=True, tag="apply"):
    """Supervisor → worker: serve by this snapshot from now on; answered with `Applied`.

    `cut`: (route, version) pairs whose running requests and tunnels are ended once it is in force.
    """

    snapshot: Snapshot
    cut: tuple[tuple[str, str], ...] = ()


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Worker → supervisor: the first message; it is answered with the snapshot that is in force by then.

    A worker that starts while a change is made so never serves by the snapshot before, and no change waits for it.
    """


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Supervisor → worker: accept nothing new, finish what is in flight within `within_s` seconds, then leave."""

    within_s: float


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """Worker → supervisor: no request that arrives from now on is served by an older snapshot than `revision`."""

    revision: int


class Stats(msgspec.Struct, frozen=True, tag="stats"):
    """Worker → supervisor: what happened since the message before.

    `seq` counts the messages of one worker from 1, so a gap shows. `counters` and `histograms` are increments,
    `gauges` are absolute and complete: one that is not named is 0.
    """

    seq: int
    counters: list[Series] = []
    gauges: list[Series] = []
    histograms: list[HistogramSeries] = []


class Quiet(msgspec.Struct, frozen=True, tag="quiet"):
    """Worker → supervisor, while it drains: no request will be begun here any more; what runs is being finished."""


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    """Worker → supervisor: the last message; `cut` connections were closed before their request was finished."""

    cut: int


class Noticed(msgspec.Struct, frozen=True, tag="noticed"):
    """Worker → supervisor → every other worker: what traffic has shown of one server, or of a whole version.

    `server`: its address; empty for the version as a whole (its breaker). `out`: whether it gets no requests, until
    `until` (seconds of CLOCK_MONOTONIC, which all processes of a host share); else it is back. `times`: how often in a
    row it was put out. `epoch` grows with every transition: what has a lower one than what is known already is old
    news, and of two with the same one, `out` holds. `why`: for people.

    In an upgrade supervisors tell it each other, as JSON (`controlplane.upgrade.outages`): other releases read it, too.
    """

    version: str
    server: str
    out: bool
    epoch: int
    until: float = 0.0
    times: int = 0
    why: str = ""


class Probed(msgspec.Struct, frozen=True, tag="probed"):
    """Supervisor → worker: all servers that are out by what probes say, as (version, address) pairs."""

    out: tuple[tuple[str, str], ...] = ()


Other = Ready | Drain | Applied | Stats | Quiet | Drained | Noticed | Probed
Message = Apply | Other

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Return the message as msgpack; `reader.Reader` reads it."""
    return _encoder.encode(message)
