"""The values of a comparison: how to compare, what was answered, what differs.

All are frozen. `Rules` are already validated (`rules.problems_of` did that), so nothing here checks them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

BodyMode = Literal["auto", "json", "text", "bytes", "none"]


class Kind(StrEnum):
    """In which way two answers differ at one path. Missing, extra: in the shadow's answer, seen from the primary's."""

    NO_ANSWER = "no-answer"
    STATUS_CLASS = "status-class"
    STATUS = "status"
    HEADER_MISSING = "header-missing"
    HEADER_EXTRA = "header-extra"
    HEADER_VALUE = "header-value"
    MISSING = "missing"
    EXTRA = "extra"
    TYPE = "type"
    VALUE = "value"
    ORDER = "order"
    LENGTH = "length"
    TEXT = "text"
    BYTES = "bytes"
    ENCODING = "encoding"
    UNPARSABLE = "unparsable"


@dataclass(frozen=True, slots=True)
class Rules:
    """How the answers of a route are compared, and when a difference is reported.

    `headers`: names in lower case; `*` stands for all but the built-in ignores. `ignore`: JSON paths, `header:NAME`,
    `status`, `body`. `unordered`: JSON paths of arrays that are sets. `tolerance`: two numbers are equal when they
    differ by at most this, or by at most this fraction of the larger one (`math.isclose` with both); 0: exactly.
    `max_body`: bytes of a body that are compared, before and after decompression; longer ones are skipped. `samples`:
    kept per group. `relative_margin`, `absolute_margin`: a difference counts where the candidate shows it more often
    than control rate x (1 + relative) + absolute; fractions of the comparisons. `minimum`: comparisons of an endpoint
    with a control before anything is said about it. `endpoints`: templates such as `/items/{}`. `control`: whether a
    second copy goes to the baseline. `per_second`: pairs that are compared each second; of more, they are picked
    evenly.
    """

    headers: tuple[str, ...] = ("content-type", "location", "cache-control")
    ignore: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    tolerance: float = 0.0
    body: BodyMode = "auto"
    max_body: int = 262_144
    samples: int = 5
    relative_margin: float = 0.5
    absolute_margin: float = 0.0
    minimum: int = 100
    endpoints: tuple[str, ...] = ()
    control: bool = False
    per_second: int = 250


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, as captured: `whole` is False where the body is left out, since it was longer than what is
    captured, or for what `body` then says: `too-costly` to rid of secrets, `too-large` when decoded. `took_s`: until
    its last byte.

    `status` is 0 where there is none, through the server's fault: `body` then says how it failed.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    whole: bool = True
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two answers differ.

    `path`: `status`, `header:NAME`, `body`, or a JSON path in its general form (`[*]` for every index, `.*` for member
    names that are ids), so that the same difference in many answers has one name. `primary`, `shadow`: printable
    excerpts of at most 200 characters, empty for what is not there.
    """

    path: str
    kind: Kind
    primary: str
    shadow: str
