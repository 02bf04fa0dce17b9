"""ETag, If-Match and If-None-Match (RFC 9110 §8.8.3, §13.1): which revision one who asks has seen."""

from __future__ import annotations

import re

from proxy.admin.problems import Refused

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_REVISION = re.compile(r"[1-9][0-9]{0,15}")
_TAGS = re.compile(rf"[ \t,]*(?:{_TAG.pattern}[ \t]*(?:,[ \t,]*|$))+")


def etag(revision: int) -> str:
    """The entity tag of something at this revision."""
    return f'"{revision}"'


def seen_revisions(if_match: list[str]) -> frozenset[int] | None:
    """The revisions that If-Match fields name; None when any will do (no field, or `*`).

    A weak tag never matches (RFC 9110 §13.1.1), nor does one that is no revision: they leave an empty set, which
    nothing matches. Raises Refused (400) for what is no list of tags.
    """
    if not if_match:
        return None
    text = ", ".join(if_match).strip()
    if text == "*":
        return None
    if not _TAGS.fullmatch(text):
        raise Refused(400, 'If-Match must be `*` or entity tags in quotes, such as `"84"`', kind="bad-field",
                      errors=[{"field": "If-Match", "detail": "is not a list of entity tags (RFC 9110 §13.1.1)"}])
    return frozenset(
        int(tag) for weak, tag in _TAG.findall(text) if not weak and _REVISION.fullmatch(tag))


def is_known(if_none_match: list[str], revision: int) -> bool:
    """Whether an If-None-Match field names this revision, weakly compared (RFC 9110 §13.1.2)."""
    text = ", ".join(if_none_match).strip()
    return text == "*" or (bool(_TAGS.fullmatch(text)) and str(revision) in {tag for _, tag in _TAG.findall(text)})
