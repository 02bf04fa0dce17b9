"""Who may ask what of the admin API: pure decisions over header values.

Without tokens the API listens on loopback only, and then the Host field must name loopback too: a web page that has its
own name resolve to 127.0.0.1 (DNS rebinding) still sends its own name. With tokens, the token decides.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from hashlib import sha256

from proxy.settings import Token

_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?")


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
        if hmac.compare_digest(token.digest, given):
            found = token
    return found
