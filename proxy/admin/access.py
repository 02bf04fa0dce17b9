"""Who may ask what of the admin API: pure decisions over header values and roles.

Without tokens the API listens on loopback only, and then the Host field must name loopback too: a web page that has its
own name resolve to 127.0.0.1 (DNS rebinding) still sends its own name. With tokens, the token decides. With or without,
a web page of somebody else changes nothing: browsers say where a request comes from, and what they say is heeded.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal
from urllib.parse import urlsplit

from proxy.settings import Token

Role = Literal["nobody", "viewer", "operator"]
"""The least that is needed for something: no token at all, one that reads, or one that changes."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})   # RFC 9110 §9.2.1: they change nothing here
_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z_-]+\.)*[0-9A-Za-z_-]+)(:[0-9]{1,5})?")
_FROM_HERE = frozenset({"same-origin", "none"})        # `none`: typed by the user (W3C Fetch Metadata §2.3)


def is_loopback_host(host: str) -> bool:
    """Whether a Host field names this machine: `localhost` or a loopback address, with any port."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match["host"].strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True  # RFC 6761 §6.3: never anything else
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def holder_of(authorization: str | None, tokens: Sequence[Token]) -> Token | None:
    """Return the token that an Authorization field carries; None for none, or one that nobody was given.

    Takes as long for a wrong token as for a right one, whichever of them it is.
    """
    match = _BEARER.fullmatch(authorization or "")
    given = sha256(match[1].encode() if match else b"").digest()
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, given) and match is not None:
            found = token
    return found


def allows(role: Role, needed: Role) -> bool:
    """Whether a holder of `role` may do what needs `needed`: an operator may do all that a viewer may."""
    return needed == "nobody" or role in ("operator", needed)


def foreign_page(method: str, fields: Mapping[str, str]) -> str | None:
    """Say why a request that may change something comes from a web page of another origin; None when it does not.

    Browsers send `Origin` with every request that is not GET or HEAD, and `Sec-Fetch-Site` where they know it; other
    programs send neither. `null` is the origin of sandboxed pages and local files, of nobody that could be trusted.
    """
    if method in SAFE_METHODS:
        return None
    site = fields.get("Sec-Fetch-Site")
    if site is not None and site not in _FROM_HERE:
        return "`Sec-Fetch-Site` says that a page of another origin asks"
    origin = fields.get("Origin")
    if origin is None:
        return None
    try:
        page = urlsplit(origin)
    except ValueError:
        return "`Origin` is no origin"
    if page.scheme in ("http", "https") and page.netloc and page.netloc.lower() == fields.get("Host", "").lower():
        return None
    return "`Origin` names another origin than `Host`"
