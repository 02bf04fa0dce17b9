"""What single words of a configuration may look like: names, tokens, header fields, hosts, paths, networks.

Each function returns the one spelling that the core compares with, or raises ValueError saying what to write instead.
"""

from __future__ import annotations

import ipaddress
import re
from difflib import get_close_matches

from proxy.settings.units import quote, text_of

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")                  # RFC 9110 §5.6.2
_PCHARS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")   # RFC 3986 §3.3
_QUERY_NAME = re.compile(r"[A-Za-z0-9._~-]{1,64}")                         # unreserved: the same encoded or not
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")            # RFC 1123 §2.1; `_` as in compose files
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")      # RFC 9110 §5.5 without obs-text

# RFC 9110 §7.6.1 and RFC 2616 §13.5.1: they belong to one connection and never reach a decision about a request.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
                        "te", "trailer", "transfer-encoding", "upgrade"})
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def suggest(word: str, known: list[str]) -> str:
    """` (did you mean …?)` with the nearest known word, or nothing."""
    near = get_close_matches(word.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    return "".join(f" (did you mean {quote(name)}?)" for name in known if [name.lower()] == near)


def parse_choice(value: object, choices: tuple[str, ...]) -> str:
    """One of a few words, exactly."""
    text = text_of(value)
    if text not in choices:
        listed = ", ".join(f"`{choice}`" for choice in choices)
        raise ValueError(f"{quote(text)} is not one of {listed}{suggest(text, list(choices))}")
    return text


def parse_name(value: object) -> str:
    """The name of a route, a version or a token: it appears in metrics, URLs of the API and cookies."""
    text = text_of(value)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a name: letters, digits, `.`, `_`, `-`, at most 64, "
                         "a letter or digit at both ends")
    return text


def parse_cookie_name(value: object) -> str:
    """A cookie name (RFC 6265 §4.1.1: a token)."""
    text = text_of(value)
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a cookie name: letters, digits and !#$%&'*+-.^_`|~")
    return text


def parse_header_name(value: object) -> str:
    """A header field name in lower case; not one that belongs to the connection or frames the message."""
    text = text_of(value)
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a header name: letters, digits and !#$%&'*+-.^_`|~")
    name = text.lower()
    if name in HOP_BY_HOP:
        raise ValueError(f"{quote(text)} belongs to one connection (RFC 9110 §7.6.1): it says nothing about a request")
    if name == "host":
        raise ValueError("`Host` is what `match.host` is for")
    if name == "content-length":
        raise ValueError(f"{quote(text)} frames the message: it says nothing about who sent it")
    return name


def parse_field_value(value: object) -> str:
    """A header value that a request can really carry: visible ASCII, blanks only inside."""
    text = text_of(value)
    if not _FIELD_VALUE.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a header value: visible ASCII, no blanks at its ends, not empty")
    return text


def parse_query_name(value: object) -> str:
    """The name of a query parameter, of characters that need no percent-encoding."""
    text = text_of(value)
    if not _QUERY_NAME.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a query name: letters, digits, `.`, `_`, `~`, `-`, at most 64")
    return text


def parse_method(value: object) -> str:
    """A request method (a token, RFC 9110 §9.1); CONNECT and TRACE are never forwarded."""
    text = text_of(value)
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a request method")
    if text.upper() in ("CONNECT", "TRACE"):
        raise ValueError(f"{text.upper()} is refused by Turnout: no route can have it")
    if text not in _METHODS and text.upper() in _METHODS:
        raise ValueError(f"methods are case-sensitive: write `{text.upper()}`")
    return text


def parse_host(value: object) -> str:
    """An IP address in its canonical form (IPv6 without brackets), or a host name in lower case."""
    text = text_of(value).lower()
    if ":" in text or text.startswith("["):
        return _ipv6(text)
    labels = text.split(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError(f"{quote(text)} is not an IPv4 address, such as `127.0.0.1`") from None
    if not text.isascii():
        raise ValueError(f"{quote(text)} is not ASCII: write the name in its `xn--` form")
    if text.endswith(".") and len(text) > 1:
        raise ValueError(f"{quote(text)} ends in a dot: write {quote(text[:-1])}")
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{quote(text)} is not a host name or IP address")
    return text


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError(f"{quote(text)} has a zone: link-local addresses cannot be used here")
    try:
        return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ValueError(f"{quote(text)} is not an IPv6 address, such as `::1`") from None


def parse_match_host(value: object) -> str:
    """The host of a match: an exact name or address (IPv6 in brackets, as in a Host field), or `*.` and a name."""
    text = text_of(value)
    if text == "*":
        raise ValueError("leave `host` out to match every host")
    if "*" in text.removeprefix("*."):
        raise ValueError(f"{quote(text)}: a wildcard is only `*.` before a whole name, such as `*.example.com`")
    if re.search(r"[^:\[]:[0-9]+$", text) and (text.count(":") == 1 or "]" in text):
        raise ValueError(f"{quote(text)}: leave out the port: a host is matched whatever its port")
    if text.startswith("*."):
        name = parse_host(text[2:])
        if name.replace(".", "").isdigit() or ":" in name:
            raise ValueError(f"{quote(text)}: addresses have no wildcard")
        return f"*.{name}"
    host = parse_host(text)
    return f"[{host}]" if ":" in host else host


def parse_path(value: object) -> str:
    """A path prefix on whole segments, as it stands in request targets; `/shop/` is the same as `/shop`."""
    text = text_of(value)
    if not text.startswith("/"):
        raise ValueError(f"{quote(text)} must begin with `/`")
    if "?" in text or "#" in text:
        raise ValueError(f"{quote(text)}: a path has no `?` and no `#`; queries are not matched")
    if "*" in text:
        raise ValueError(f"{quote(text)}: paths have no wildcards; a path matches everything below it")
    if not _PCHARS.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a path as it stands in a request: percent-encode what is not allowed")
    if "//" in text:
        raise ValueError(f"{quote(text)} has an empty segment (`//`)")
    if any(re.fullmatch(r"(?:\.|%2e){1,2}", segment, re.IGNORECASE) for segment in text.split("/")):
        raise ValueError(f"{quote(text)} has a dot segment, which means another path")
    return text.rstrip("/") or "/"


def parse_network(value: object) -> str:
    """A network in CIDR form, or a single address, in canonical form: `10.0.0.0/8`, `::1/128`."""
    text = text_of(value)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{quote(text)} is not a network, such as `10.0.0.0/8` or `fd00::/8`") from None
    address = text.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise ValueError(f"{quote(text)} has bits set behind its prefix (did you mean `{network}`?)")
    return str(network)
