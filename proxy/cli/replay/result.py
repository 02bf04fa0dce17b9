"""What came of a replay: the same comparison and the same groups as of a shadow, in the shape of the API's report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.cli import exits
from proxy.cli.replay.recorded import Recorded, is_one_mark, without_marks
from proxy.core.compare import content
from proxy.core.compare.groups import Groups
from proxy.core.compare.noise import findings
from proxy.core.compare.pair import Compared, CompiledRules, compare
from proxy.core.compare.redact import redacted_body, redacted_headers
from proxy.core.compare.values import Answer, Rules
from proxy.telemetry.histogram import Histogram

Json = dict[str, Any]
_SHOWN = 20
NO_ANSWER = "no_answer"
"""Reasons why a request that was sent has nothing to compare: nobody took the connection, it was cut, or too slow."""
UNREACHABLE = "unreachable"
TIMEOUT = "timeout"
REDACTED = "redacted"
HIDDEN = "answer_hidden"
"""The answer of then or of now is hidden as a whole: two of them are not alike because nothing of either is known."""
NO_BODY = "body_"
"""Begins the reasons of requests whose body is not in the recording."""


@dataclass(slots=True)
class Result:
    """Counts and groups. `sent`: requests that were tried; `without_fields`: of those, that lost a secret field;
    `unreadable`: lines that are no requests; `is_whole`: whether all of the recording was gone through.
    """

    rules: Rules
    sent: int = 0
    without_fields: int = 0
    unreadable: int = 0
    is_whole: bool = True
    failed: dict[str, int] = field(default_factory=dict)
    groups: Groups = field(init=False)
    recorded: Histogram = field(default_factory=Histogram)
    replayed: Histogram = field(default_factory=Histogram)
    _compiled: CompiledRules = field(init=False)
    _salt: bytes = field(default_factory=lambda: os.urandom(32))

    def __post_init__(self) -> None:
        self.groups = Groups(self.rules.samples)
        self._compiled = CompiledRules(self.rules)

    def answered(self, request: Recorded, answer: Answer) -> None:
        """Compare with what the client got then. Secrets of the answer are gone before anything of it is kept."""
        found = self._compared(request.primary, self._clean(answer))
        self.groups.add(request.endpoint, found, request.at, request=request.id)
        self.recorded.add(request.primary.took_s)
        self.replayed.add(answer.took_s)

    def fail(self, request: Recorded, reason: str) -> None:
        """A request that was sent and has no answer."""
        self.groups.skip(request.endpoint, reason)
        self.failed[reason] = self.failed.get(reason, 0) + 1

    def skip(self, request: Recorded, reason: str) -> None:
        """A request that was not sent."""
        self.groups.skip(request.endpoint, reason)

    def exit_code(self) -> int:
        """0, 1 or 4; see the verb."""
        compared = sum(one.compared for one in self.groups.endpoints.values())
        different = sum(one.different for one in self.groups.endpoints.values())
        if self.sent and self.failed.get(UNREACHABLE, 0) == self.sent:
            return exits.UNREACHABLE
        good = compared and self.is_whole and not (different or self.failed or self.unreadable)
        return 0 if good else exits.FAILED

    def view(self, file: str, to: str) -> Json:
        """The result as JSON."""
        endpoints = self.groups.endpoints
        skipped: dict[str, int] = {}
        for one in endpoints.values():
            for reason, count in _reasons(one.skipped).items():
                skipped[reason] = skipped.get(reason, 0) + count
        compared, matched = (sum(getattr(one, key) for one in endpoints.values()) for key in ("compared", "matched"))
        found = findings(self.groups, self.rules)
        return {
            "file": file, "to": to, "sent": self.sent, "without_fields": self.without_fields,
            "unreadable": self.unreadable, "whole": self.is_whole,
            "totals": {
                "copied": self.sent, "compared": compared, "matched": matched, "different": compared - matched,
                "skipped": skipped, "match_rate": matched / compared if compared else None,
                "latency": {"primary": _quantiles(self.recorded), "shadow": _quantiles(self.replayed)},
            },
            "endpoints": [
                {**_named(name), "compared": one.compared, "matched": one.matched, "different": one.different,
                 "skipped": _reasons(one.skipped)} for name, one in endpoints.items()],
            "differences": [
                {**_named(one.key.endpoint), "path": one.key.path, "kind": one.key.kind.value, "count": one.group.count,
                 "rate": one.candidate_rate, "control_rate": None, "verdict": "different",
                 "first_seen": one.group.first_s, "last_seen": one.group.last_s,
                 "samples": [{"at": sample.at_s, "id": sample.request, "primary": sample.primary,
                              "shadow": sample.shadow} for sample in one.group.samples[:1]]}
                for one in found[:_SHOWN]],
            "more": max(0, len(found) - _SHOWN),
        }

    def _compared(self, then: Answer, now: Answer) -> Compared:
        if not self._compiled.body or not (is_one_mark(then.body) or is_one_mark(now.body)):
            return compare(self._compiled, then, now)
        found = compare(self._compiled, replace(then, body=b"", whole=True), replace(now, body=b"", whole=True))
        return replace(found, skipped=HIDDEN)

    def _clean(self, answer: Answer) -> Answer:
        """As a recorded answer is: decoded, and without secrets, whose marks are alike."""
        plain = content.decoded(answer, self.rules.max_body)
        if isinstance(plain, content.Skipped):
            return replace(answer, body=b"", whole=False)
        headers = tuple((name, value) for name, value in answer.headers if name.lower() != b"content-encoding")
        body = redacted_body(plain, self._salt, content.header(answer, b"content-type"))
        clean = tuple((name, without_marks(value)) for name, value in redacted_headers(headers, self._salt))
        return replace(answer, headers=clean, body=without_marks(body))


def _reasons(skipped: Mapping[str, int]) -> dict[str, int]:
    """By the names of the report: what a comparison could not read is about an answer."""
    own = (NO_ANSWER, UNREACHABLE, TIMEOUT, REDACTED, HIDDEN)
    return {reason if reason in own or reason.startswith(NO_BODY) else "answer_" + reason.replace("-", "_"): count
            for reason, count in skipped.items()}


def _named(endpoint: str) -> Json:
    method, blank, template = endpoint.partition(" ")
    return {"method": method, "endpoint": template} if blank else {"method": "", "endpoint": endpoint}


def _quantiles(histogram: Histogram) -> Json:
    def milliseconds(share: float) -> float | None:
        seconds = histogram.quantile(share)
        return None if seconds is None or seconds == float("inf") else round(seconds * 1000, 3)

    return {"p50_ms": milliseconds(0.5), "p99_ms": milliseconds(0.99)}
