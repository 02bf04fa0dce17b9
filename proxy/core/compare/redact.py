"""Removes known-sensitive values from what was captured, before it leaves the worker: from headers, targets and raw
bodies, without parsing them.

A value is replaced by `<redacted 1a2b3c4d>`, a keyed digest: equal values stay equal and different ones differ, so that
they can be compared, but nobody can go back from the mark to the value without the salt.

Known are JSON, forms of both sorts, XML and HTML, and lines of text such as `name: value`; what other formats hold is
not recognised. Compressed bodies must be decoded first (`content.decoded`).
"""

from __future__ import annotations

import re
from functools import lru_cache

from proxy.core.compare.redact_json import needs_no_redaction, redacted_json
from proxy.core.compare.redact_text import (
    redacted_lines,
    redacted_markup,
    redacted_parameters,
    redacted_parts,
    redacted_urls,
    redacted_user_info,
)
from proxy.core.compare.sensitive import is_sensitive, mark

_WHOLE_HEADERS = frozenset({
    "authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info", "x-api-key", "api-key",
    "apikey", "x-auth-token", "x-access-token", "x-csrf-token", "x-xsrf-token", "x-amz-security-token",
    "x-forwarded-authorization", "x-forwarded-access-token", "x-forwarded-email", "x-forwarded-user",
    "x-goog-iap-jwt-assertion", "cf-access-jwt-assertion", "sec-websocket-key", "x-client-cert", "ssl-client-cert",
})
_COOKIES = frozenset({"cookie", "set-cookie"})
_TARGETS = frozenset({
    "location", "content-location", "referer", "refresh", "link", "origin", "destination", "x-original-url",
    "x-original-uri", "x-rewrite-url", "x-forwarded-uri", "x-envoy-original-path", "x-accel-redirect",
})
_FORM = b"application/x-www-form-urlencoded"

Fields = tuple[tuple[bytes, bytes], ...]
_MULTIPART = b"multipart/form-data"
_WIDE = re.compile(
    rb"\xff\xfe|\xfe\xff|(?:\0(?:\0\0)?[ \t\r\n])*+\0(?:\0\0)?[{\[\"<]|(?:[ \t\r\n]\0(?:\0\0)?)*+[{\[\"<]\0")
"""UTF-16 or UTF-32, by its mark or its first character that is no blank."""
_WIDE_TYPE = re.compile(rb"[^;]*(?:json|xml|html|text)[^;]*(?:;|\Z)|.*charset=\"?utf-?(?:16|32)", re.IGNORECASE)
_OTHER = re.compile(rb"[ \t\r\n]*+[{\[\"<]")
_MARKUP = re.compile(rb"[^;]*(?:xml|html)", re.IGNORECASE)
_LINES = re.compile(rb"text/plain|[^;]*(?:yaml|toml|properties)", re.IGNORECASE)


def redacted_body(body: bytes, salt: bytes, content_type: bytes = b"") -> bytes:
    """The raw, decoded body without the values that belong to sensitive names."""
    cleaned = _redacted_text(body, salt, content_type, len(body))
    if cleaned is None:                 # so many sensitive names that it is not worth while to find them one by one
        return b'"' + mark(body, salt) + b'"'
    return cleaned if _is_form(body, content_type) else redacted_json(cleaned, salt)


def redacted_within(body: bytes, salt: bytes, content_type: bytes, most: int) -> bytes | None:
    """As `redacted_body`; None where that would take more than `most` steps, of up to a microsecond each.

    A body whose names are all known to be harmless takes none.
    """
    if sum(map(body.count, _STEPS)) <= most:
        return redacted_body(body, salt, content_type)
    if _is_form(body, content_type):
        return None
    cleaned = _redacted_text(body, salt, content_type, most // 10)
    return cleaned if cleaned is not None and needs_no_redaction(cleaned) else None


_STEPS = (b'"', b"\\", b":", b"[", b"{", b"\\u00", b"=", b"&", b";", b"?", b"#", b"<")


def _is_form(body: bytes, content_type: bytes) -> bool:
    """Whether it is one, and not only called so: what `curl -d` sends as one is JSON as often as not."""
    kind = content_type[:33].lower()
    return (kind == _FORM and not _OTHER.match(body)) or kind[:19] == _MULTIPART


def _redacted_text(body: bytes, salt: bytes, content_type: bytes, most: int) -> bytes | None:
    """What is not JSON; None where a secret stands in more than `most` places."""
    if _WIDE.match(body) or (b"\0" in body[:4] and _WIDE_TYPE.match(content_type)):
        return None                 # names cannot be found by their bytes
    if _is_form(body, content_type):
        return (redacted_parameters(body, salt) if content_type[:19].lower() != _MULTIPART
                else redacted_parts(body, salt, content_type, redacted_body))
    cleaned: bytes | None = body
    if body[:1] == b"<" or _MARKUP.match(content_type):
        cleaned = redacted_markup(body, salt, most)
    elif _LINES.match(content_type):
        cleaned = redacted_lines(body, salt, most)
    elif not content_type and b"=" in body and not _OTHER.match(body):
        cleaned = redacted_parameters(body, salt)
    if cleaned is None or (b"=" not in cleaned and b"@" not in cleaned):
        return cleaned
    return redacted_urls(cleaned, salt, most)


def redacted_target(target: bytes, salt: bytes) -> bytes:
    """A request target or a URL without the values of sensitive parameters."""
    target = redacted_user_info(target, salt)
    return redacted_parameters(target, salt) if b"=" in target else target


def is_kept(name: bytes) -> bool:
    """Whether `redacted_headers` leaves every field of this name as it is, whatever its value."""
    return _how(name) == "keep"


def redacted_headers(fields: Fields, salt: bytes) -> Fields:
    """Header fields without the values of sensitive ones; of cookies the names and attributes stay."""
    return tuple([(name, value) if (how := _how(name)) == "keep" else (name, _redacted(how, name, value, salt))
                  for name, value in fields])


@lru_cache(maxsize=1_024)
def _how(name: bytes) -> str:
    """What happens to a header of this name: keep, whole, cookies, target."""
    lower = name.decode("latin-1").lower()
    if lower in _COOKIES:
        return "cookies"
    if lower in _TARGETS:
        return "target"
    if lower in _WHOLE_HEADERS or (is_sensitive(name) and lower != "www-authenticate"):
        return "whole"
    return "keep"


def _redacted(how: str, name: bytes, value: bytes, salt: bytes) -> bytes:
    if how == "target":
        return redacted_target(value, salt)
    if how == "whole":
        return mark(value, salt) if value else value
    pairs = value.split(b";")
    secret = pairs if name.lower() == b"cookie" else pairs[:1]
    shown = [_cookie(pair, salt) for pair in secret]
    return b";".join(shown + pairs[len(secret):])


def _cookie(pair: bytes, salt: bytes) -> bytes:
    name, equals, value = pair.partition(b"=")
    if not equals:                  # a cookie without a name: what stands there is its value
        return mark(pair, salt) if pair.strip() else pair
    return name + equals + (mark(value, salt) if value else b"")
