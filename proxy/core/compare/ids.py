"""What looks like an identifier: such a word stands in no path and no template, where it would make each one unique.

Invariant: decided from the word alone, so the same word is always judged alike.
"""

from __future__ import annotations

import re

LONGEST = 64
"""Longer words are taken for identifiers, whatever they look like: it bounds every name that is kept."""

_ID = re.compile(
    r"""
      [0-9]+                                                # 42
    | [0-9]{1,19}(?:[._:,-][0-9]+)+                         # 12-7, 1.2.3, 2024-02-29
    | [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]*                # 2024-02-29T12:00:00Z
    | \{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?   # RFC 9562 §4
    | (?=.*[0-9])[0-9A-Fa-f]{8,}                            # hashes, object ids
    | [0-9A-HJKMNP-TV-Z]{26}                                # ULID
    | (?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9_-]{20,}={0,2}     # base64url of 15 bytes or more
    | \{[^{}]*\}                                            # a template already
    """,
    re.VERBOSE,
)


def looks_like_id(word: str) -> bool:
    """Whether it names one of many things: a number, UUID, hash, date, token, address of mail, or nothing printable."""
    return (
        len(word) > LONGEST
        or _ID.fullmatch(word) is not None
        or "@" in word
        or "%40" in word
        or not word.isprintable()
    )
