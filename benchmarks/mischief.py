"""What is done to whom and when in a chaos run, drawn from a seed, and whose fault each loss was. Pure.

Invariant: at any moment at most one server of the baseline is at fault, and one at least of it has been well for a
while; the candidate may fail whole. The same seed and length make the same mischief.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OLD, NEW = 3, 2
"""Servers of the baseline and of the candidate."""
KINDS = {"flap": "status 503"} | {kind: kind for kind in (
    "kill", "stop", "full", "silent", "reset", "reset-at-once", "reset-in-head", "reset-in-body", "cut", "stall",
    "overlong", "drip", "garbage", "status 500", "status 503")}
"""Kind → how the server is made to fail."""
SPOIL_BEGUN = frozenset({"kill", "stop", "reset-in-body", "cut", "stall", "silent"})
"""Whoever has the begin of an answer can lose its end by these."""
ANSWERS = {"500": frozenset({"status 500"}), "502": frozenset({"reset-in-head", "garbage"})}
"""What clients are answered for these: a 500 is a whole answer; and after what was no answer, or the begin of one, no
other server is asked. But where the candidate does so the baseline comes to the rescue of idempotent requests."""
BEGIN_S = 1.0
LASTS_S = (0.7, 3.0)
PAUSE_S = (0.3, 1.5)
GRACE_S = 1.5                                   # a request sent while a fault lasted can be lost so much later
FLAP_S = 1.0                                    # how long one that flaps is bad, and then well


@dataclass(frozen=True, slots=True)
class Fault:
    """Seconds after the begin. `version`: `old` or `new`; `server`: which of its servers, from 0."""

    at_s: float
    until_s: float
    version: str
    server: int
    kind: str

    def __str__(self) -> str:
        return f"{self.version}[{self.server}] {self.kind}"


@dataclass(frozen=True, slots=True)
class Act:
    """A thing to be done at a moment: begin a fault, end it, or let one that flaps be well or bad for a while."""

    at_s: float
    fault: Fault
    does: str


def schedule(seed: int, seconds: float) -> list[Fault]:
    """All faults of a run that is this long, by the moment at which they begin; the last ends a while before it."""
    chance = random.Random(seed)
    lanes = [[("old", number) for number in range(OLD)], [("new", 0)], [("new", 1)]]
    faults = [fault for lane in lanes for fault in _lane(chance, lane, seconds - 2 * GRACE_S)]
    return sorted(faults, key=lambda fault: fault.at_s)


def _lane(chance: random.Random, servers: Sequence[tuple[str, int]], until_s: float) -> Iterator[Fault]:
    """One fault after another, each of one of these servers."""
    at = BEGIN_S + chance.uniform(*PAUSE_S)
    while (end := at + chance.uniform(*LASTS_S)) < until_s:
        yield Fault(at, end, *chance.choice(servers), chance.choice(list(KINDS)))
        at = end + chance.uniform(*PAUSE_S) + (GRACE_S if len(servers) > 1 else 0.0)


def acts(faults: Sequence[Fault]) -> list[Act]:
    """What to do, in order. Ends come before begins of the same moment."""
    found = [Act(fault.until_s, fault, "end") for fault in faults]
    for fault in faults:
        found.append(Act(fault.at_s, fault, "begin"))
        if fault.kind == "flap":
            turns = range(1, int((fault.until_s - fault.at_s) / FLAP_S) + 1)
            found += [Act(fault.at_s + turn * FLAP_S, fault, "rest" if turn % 2 else "begin") for turn in turns]
    return sorted(found, key=lambda act: (act.at_s, act.does != "end"))


def on(faults: Sequence[Fault], since_s: float, until_s: float) -> list[Fault]:
    """The faults that can have to do with what was sent at the one moment and lost at the other."""
    return [fault for fault in faults if fault.at_s <= until_s and since_s <= fault.until_s + GRACE_S]


def is_due(method: str, why: str, faults: Sequence[Fault]) -> bool:
    """Whether a proxy that does all it may still loses such a request under these faults.

    Nothing may be lost while nobody is at fault, nor may an answer reach somebody else. Who has the begin of an answer
    cannot be given another one. For `ANSWERS` see there. Any other answer of the kind is to be kept from clients whose
    request is idempotent, and not from others, whose request may have begun. Everybody is to get some answer.
    """
    kinds = {fault.kind for fault in faults}
    if not kinds or "somebody else" in why:
        return False
    if "within" in why or "reset" in why:
        return bool(kinds & SPOIL_BEGUN)
    status = why.removeprefix("answered ").partition(" ")[0]
    if method != "GET":
        return why.startswith("answered ") and (status != "500" or "status 500" in kinds)
    return bool(ANSWERS.get(status, frozenset()) & {fault.kind for fault in faults if fault.version == "old"})
