"""Which names have values that are nobody's business, and what is written in the place of a value.

Invariant: what is remembered of names is bounded, whatever names there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

_ANYWHERE = (r"pass[_\-. ]?(?:word|wd|phrase|code)|secret|credential|"
             r"(?:api|access|private|signing|encryption|account|ssh|client|shared|master|auth|subscription|functions?)"
             r"[_\-. ]?key|(?:access|refresh|auth|bearer|id)[_\-. ]?token|authori[sz]ation|"
             r"(?:credit|debit)[_\-. ]?card|"
             r"card[_\-. ]?(?:number|no|num)|account[_\-. ]?number|security[_\-. ]?code|set[_\-. ]?cookie|"
             r"session[_\-. ]?(?:id|key|token)|(?<![A-Za-z])(?:pin|otp)[_\-. ]?code")
"""Names that hold one of these are sensitive, whatever else they say: `old_password_2`, `clientSecret`."""
_AT_END = r"passwd|pwd|token|session|cookie|bearer|jwt|auth|signature|assertion|samlresponse|dpop|oidc[_\-]?data"
"""Names that end with one of these: `csrfToken`, not `token_count`."""
_WHOLE_WORD = r"ssn|cvv2?|cvc2?|iban|otp|pin|sid|pan|pass|pw|sig"
"""Names that end with one of these as a word of its own: `user_ssn`, `cardPin`, not `shopping`."""
_NAME = (rf"(?:(?:{_ANYWHERE})[^\"\\\\&=:{{}},\r\n]{{0,64}}|(?:{_AT_END})s?[0-9]{{0,3}}"
         rf"|(?:(?<![A-Za-z])|(?-i:(?=[A-Z])))(?:{_WHOLE_WORD})s?[0-9]{{0,3}})")

_SENSITIVE = re.compile(rf"{_NAME}\Z".encode(), re.IGNORECASE)
_PARTS = re.compile(rb"[\[\]]+")
_CLEAR_NAME = re.compile(rb"[^\\,:{}\[\]]{0,64}")
"""A name that needs no second look: no escape, and not what stands between two strings of JSON."""
LONGEST_NAME = 128
VALUE_NAMES = frozenset({b"value", b"Value", b"values", b"val", b"v", b"content", b"data", b"text"})
"""Members whose value may belong to the name that stands beside them. They are never remembered as harmless."""
MOST_NAMES = 4_096
_known_harmless: set[bytes] = set()


def mark(value: bytes, salt: bytes) -> bytes:
    """What stands for a value: 32 bits of its keyed digest. `salt`: up to 64 secret bytes, best of this process."""
    return b"<redacted %s>" % blake2b(value, key=salt, digest_size=4).hexdigest().encode()


def bare_mark(value: bytes, salt: bytes) -> bytes:
    """The same where angle brackets and blanks would mean something: `redacted-1a2b3c4d`."""
    return mark(value, salt)[1:-1].replace(b" ", b"-")


def is_sensitive(name: bytes) -> bool:
    """Whether the value of this name is to be hidden; of `user[token][0]` if that is so of a part.

    Only the end of a long name is looked at.
    """
    return _is_sensitive(name[-LONGEST_NAME:])


@lru_cache(maxsize=MOST_NAMES)
def _is_sensitive(name: bytes) -> bool:
    if b"]" in name:
        return any(_SENSITIVE.search(part) for part in _PARTS.split(name))
    return _SENSITIVE.search(name) is not None


def new_among(names: Iterable[bytes]) -> set[bytes]:
    """Those that are not known to be harmless."""
    return set(names) - _known_harmless


def is_suspect(name: bytes) -> bool:
    """Whether a name asks for a closer look; harmless ones are remembered, within a bound."""
    if name in _known_harmless or name in VALUE_NAMES:
        return False
    if not _CLEAR_NAME.fullmatch(name) or _SENSITIVE.search(name):
        return True
    if len(_known_harmless) >= MOST_NAMES:
        _known_harmless.clear()
    _known_harmless.add(name)
    return False
