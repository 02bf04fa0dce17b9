"""A route's course, from what was asked for and as plain data: weights and shadow settings, checked.

Every problem is found at once; `where` of a problem is a JSON pointer (RFC 6901) into what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from math import fsum, isfinite
from typing import Any, TypeGuard

from proxy.core.route import Route, Shadow
from proxy.core.state import Course
from proxy.errors import Problem

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")       # RFC 9110 §5.6.2; nobody has a longer method
_NEVER_FORWARDED = ("CONNECT", "TRACE")
_SHADOW_KEYS = ("to", "percent", "methods")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})                   # RFC 9110 §9.2.1, without what is never forwarded
PERCENT_STEPS = "must be a number from 0 to 100, in steps of 0.01"


def course_as_json(course: Course) -> dict[str, Any]:
    """The course as JSON-able data: `{"split": {…}, "shadow": {…} or None}`, whole numbers without a fraction."""
    shadow = course.shadow
    return {
        "split": {version: _plain(weight) for version, weight in course.split},
        "shadow": None if shadow is None else {
            "to": shadow.to, "percent": _plain(shadow.percent), "methods": list(shadow.methods),
        },
    }


def same_course(one: Course, other: Course) -> bool:
    """Whether both send the same traffic the same way; the order of versions has no say in that."""
    return one == other or (one.shadow == other.shadow and dict(one.split) == dict(other.split))


def weights_of(route: Route, weights: Mapping[str, object]) -> tuple[tuple[tuple[str, float], ...], list[Problem]]:
    """A split of the route's versions in the order of the file, those not named at 0; and what is wrong with it."""
    known = [version for version, _ in route.split]
    problems = [_unknown(f"/split/{escape(name)}", name, known) for name in weights if name not in known]
    numbers: dict[str, float] = {}
    for name, weight in weights.items():
        if wrong := _wrong_with_weight(weight):
            problems.append(Problem(f"/split/{escape(name)}", "", wrong))
        elif isinstance(weight, (int, float)):
            numbers[name] = float(weight)
    split = tuple((version, numbers.get(version, 0.0)) for version in known)
    if not problems and not 0 < _sum(split) < float("inf"):
        problems.append(Problem("/split", "", "at least one weight must be more than 0, and their sum finite"))
    return split, problems


def shadow_of(
    start: Shadow | None, versions: Collection[str], patch: Mapping[str, object]
) -> tuple[Shadow | None, list[Problem]]:
    """The shadow settings `start` with the patch on them (`{"to": None}`: none), and what is wrong with that."""
    problems = [
        Problem(f"/{escape(key)}", "", f"is not known: {', '.join(_SHADOW_KEYS)} can be set")
        for key in patch if key not in _SHADOW_KEYS
    ]
    if "to" in patch and patch["to"] is None:
        problems += [Problem(f"/{key}", "", "has no meaning without `to`") for key in ("percent", "methods")
                     if key in patch]
        return None, problems
    to = patch.get("to", start and start.to)
    if to is None:
        problems.append(Problem("/to", "", "is missing: which version gets the copies?"))
    elif not isinstance(to, str) or to not in versions:
        problems.append(_unknown("/to", to, list(versions)))
    percent = patch.get("percent", start and round(start.percent, 2))     # older releases took finer ones
    if percent is None:
        problems.append(Problem("/percent", "", "is missing: how many of the requests?"))
    elif not _is_number(percent) or not is_percentage(percent):
        problems.append(Problem("/percent", "", PERCENT_STEPS))
    methods = patch.get("methods", start.methods if start else ("GET", "HEAD"))
    problems += _wrong_with_methods(methods)
    if problems or not isinstance(methods, (list, tuple)) or not isinstance(percent, (int, float)):
        return start, problems
    return Shadow(str(to), round(float(percent), 2), tuple(methods)), []


def is_percentage(percent: float) -> bool:
    """Whether it is from 0 to 100 in steps of 0.01: what 10,000 draws can tell apart."""
    return 0 <= percent <= 100 and abs(percent * 100 - round(percent * 100)) < 1e-6


def unsafe_methods(shadow: Shadow | None) -> tuple[str, ...]:
    """The copied methods whose copies do their work a second time: all that are not safe (RFC 9110 §9.2.1)."""
    return tuple(method for method in shadow.methods if method not in _SAFE) if shadow else ()


def doubled(methods: tuple[str, ...]) -> str:
    """What to know of copies of these methods."""
    return f"a copy of {' or '.join(methods)} does its work a second time"


def copies_itself(split: Collection[tuple[str, float]], shadow: Shadow | None) -> bool:
    """Whether the version that gets the copies answers everything itself, so that no request is copied at all."""
    return shadow is not None and not any(weight for version, weight in split if version != shadow.to)


def copied_to_itself(version: str) -> str:
    """What to know of that."""
    return f"`{version}` answers every request itself: nothing is copied while no other version has a weight"


def escape(step: str) -> str:
    """One step of a JSON pointer (RFC 6901 §3)."""
    return step.replace("~", "~0").replace("/", "~1")


def _wrong_with_weight(weight: object) -> str | None:
    if not _is_number(weight):
        return "must be a number"
    return None if weight >= 0 else "must be at least 0"


def _wrong_with_methods(methods: object) -> list[Problem]:
    if not isinstance(methods, (list, tuple)) or not methods:
        return [Problem("/methods", "", "must be a list of at least one request method")]
    problems = []
    for index, method in enumerate(methods):
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            problems.append(Problem(f"/methods/{index}", "", "is not a request method"))
        elif method.upper() in _NEVER_FORWARDED:
            problems.append(Problem(f"/methods/{index}", "", f"{method.upper()} is never forwarded"))
        elif method in methods[:index]:
            problems.append(Problem(f"/methods/{index}", "", "is given twice"))
    return problems


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number that a float can hold; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return isfinite(value)
    except OverflowError:       # an integer beyond the range of floats
        return False


def _sum(split: tuple[tuple[str, float], ...]) -> float:
    try:
        return fsum(weight for _, weight in split)
    except OverflowError:       # each finite, their sum not
        return float("inf")


def _unknown(where: str, name: object, known: list[str]) -> Problem:
    near = get_close_matches(str(name), known, n=1, cutoff=0.6)
    hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(f'`{one}`' for one in known[:10])}"
    return Problem(where, "", f"no such version here: {hint}")


def _plain(number: float) -> float:
    """Whole numbers as integers, as a person would write them; exact, since doubles hold them up to 2^53."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
