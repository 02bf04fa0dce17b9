"""How much a version is given at once, as pydantic models. Attributes are called as in `core.overload.values`."""

from __future__ import annotations

from typing import Annotated

from proxy.core.overload.values import Adaptive, Load
from proxy.settings import fields
from proxy.settings.section import Section, entry, time

_LOAD = Load()
_ADAPTIVE = Adaptive()

MOST_IN_FLIGHT = 1_000_000
"""More requests than any machine has memory for."""


class QueueSection(Section):
    """Requests that wait for a place at a version."""

    queue: Annotated[int, fields.count(0, MOST_IN_FLIGHT)] = entry(
        _LOAD.queue, _LOAD.queue, "How many may wait, all workers together; 0: none.", alias="length")
    wait_s: Annotated[float, fields.duration(0.001, 600)] = time(
        _LOAD.wait_s, "How long each may wait (503).", alias="wait")


class AdaptiveSection(Section):
    """A limit on requests in flight that follows the latency."""

    smallest: Annotated[int, fields.count(1, MOST_IN_FLIGHT)] = entry(
        _ADAPTIVE.smallest, _ADAPTIVE.smallest, "The limit is never below this, all workers together.")
    largest: Annotated[int, fields.count(1, MOST_IN_FLIGHT)] = entry(
        _ADAPTIVE.largest, _ADAPTIVE.largest, "The limit is never above this, all workers together.")
