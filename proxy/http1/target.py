"""Request targets and authorities (RFC 9112 §3.2, RFC 3986 §3.2)."""

from __future__ import annotations

import re

AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._~\-]{1,255})(?::[0-9]{1,5})?")
"""A host with an optional port. Narrower than RFC 3986, which allows `,`, `;`, `%` and more in a name: no host that a
client can reach has them, and servers disagree about what they mean."""

_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#@\\]*)([/?].*)?")


def reduce_absolute(target: bytes) -> tuple[bytes, bytes] | None:
    """Authority and the rest of an absolute-form target, as they came; None when it is none. No user information."""
    matched = _ABSOLUTE.fullmatch(target)
    return (matched[1], matched[2] or b"") if matched else None


def host_name(authority: bytes) -> bytes | None:
    """The name routes are found by: lower case, without port and trailing dot; None when it is no authority."""
    if not AUTHORITY.fullmatch(authority):
        return None
    if authority.startswith(b"["):
        return authority[:authority.index(b"]") + 1].lower()
    return authority.partition(b":")[0].rstrip(b".").lower() or None
