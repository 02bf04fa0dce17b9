"""What a route's failed attempts are followed by, as a pydantic model. Attributes are called as in `core.retry`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.core.retry import Cause, Retry
from proxy.settings import fields, traffic_fields
from proxy.settings.forms import OneOrMore
from proxy.settings.section import Section, entry, size, time
from proxy.settings.units import KIB, MIB

_RETRY = Retry()


class RetrySection(Section):
    """When another attempt is made, and how many of them there may be."""

    on: Annotated[list[Annotated[Cause, traffic_fields.CAUSE]], Field(min_length=1), OneOrMore()] = entry(
        list(_RETRY.on), list(_RETRY.on), "After which failures: connect, reset, timeout, 502, 503, 504.")
    attempts: Annotated[int, fields.count(1, 10)] = entry(
        _RETRY.attempts, _RETRY.attempts, "How many at most, with the first.")
    per_try_s: Annotated[float | None, fields.duration_or_none(0.001, 3600)] = entry(
        None, "none", "How long the head of an answer may take in one attempt; `none`: `timeouts.response_head`.",
        alias="per_try", examples=["2s"])
    backoff_s: Annotated[float, fields.duration(0, 60)] = time(
        _RETRY.backoff_s, "Mean pause before the second attempt; doubled for each further one.", alias="backoff")
    most_backoff_s: Annotated[float, fields.duration(0, 60)] = time(
        _RETRY.most_backoff_s, "The longest mean pause.", alias="backoff_at_most")
    body: Annotated[int, fields.size(0, 64 * MIB)] = size(
        64 * KIB, "Longer request bodies are not kept for another attempt.")
    idempotency_key: Annotated[bool, fields.FLAG] = entry(
        _RETRY.idempotency_key, _RETRY.idempotency_key, "Whether `Idempotency-Key` makes any request repeatable.")
    budget: Annotated[float, traffic_fields.part(0, 1000)] = entry(
        _RETRY.budget, "20%", "Further attempts and rescues, as a part of the route's requests.")
    floor: Annotated[float, traffic_fields.FLOOR] = entry(
        _RETRY.floor, "10/s", "So many there may always be, all workers together.", alias="budget_floor")
