"""Removes sensitive values from text that is no JSON: queries and forms, multipart forms, XML and HTML, lines.

As with JSON, nothing is parsed as a whole: names are found where the format puts them, and what belongs to a sensitive
one is replaced. Invariant: where the end of a value cannot be found, all that follows is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

from proxy.core.compare.redact_json import redacted_json
from proxy.core.compare.sensitive import LONGEST_NAME, MOST_NAMES, bare_mark, is_sensitive, is_suspect, mark, new_among

_PARAMETER = re.compile(rb"(?:^|[?&;#])([^?&;#=]*+)=")      # possessive: each byte is looked at once
_PARAMETER_VALUE = re.compile(rb"[^&;#]*+")
_LONGEST_PARAMETER = 3 * LONGEST_NAME      # percent-encoded
_PERCENT = re.compile(rb"%([2-7][0-9A-Fa-f])")
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")      # RFC 3986 §2.3: means the same with and without encoding
_ANY_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_USER_INFO = re.compile(rb"(://[^/@\s:\"'<>]{0,256}+:)([^/@\s\"'<>]{1,256}+)@")
_INNER_PARAMETER = re.compile(rb"[\"?&;#]([^?&;#=\"\\\s<>]{1,128}+)=")


_TAG = re.compile(rb"""<([A-Za-z_][\w.:-]*+)((?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+)>""")
_ATTRIBUTE = re.compile(rb"""([A-Za-z_:][\w.:-]*+)([ \t\r\n]*+=[ \t\r\n]*+)("[^"]*+"|'[^']*+'|[^ \t\r\n"'>]++)""")
_NAMING = rb"(?i:name|key|type|property|field|param(?:eter)?)"
"""Attributes and elements that say what stands beside them."""
_NAMING_NAME = re.compile(_NAMING)
_ELEMENT_NAMES = re.compile(rb"<(?:[\w.-]++:)?([A-Za-z_][\w.-]*+)")
_ATTRIBUTE_NAMES = re.compile(rb"""[ \t\r\n"':]([\w.-]++)[ \t\r\n]*+=""")
_NAMED = re.compile(       # a first letter first: that is quickly found, or not
    rb"""[ \t\r\n<:"'](?:[nktpfNKTPF])(?i:ame|ey|ype|roperty|ield|aram(?:eter)?)"""
    rb"""[ \t\r\n]*+(?:=[ \t\r\n]*+["']?|>[ \t\r\n]*+)([\w.\[\]-]{1,128}+)""")
_NAMED_BY_IT = frozenset({b"value", b"content"})
_NAMED_TEXT = re.compile(rb">([^<>]{1,160}+)(?=<)")
_NEXT_ELEMENT = re.compile(rb"</[^<>]*+>[ \t\r\n]*+<[\w.:-]++(?:[ \t\r\n][^<>]*+)?>([^<]++)")

_LINE = rb"^([ \t]*+(?:[#;-][ \t]*+)?[\"']?(%b)[\"']?[ \t]*+[:=][ \t]*+)(\S[^\r\n]*+)"
_LINES = re.compile(_LINE % rb"[\w.\-\[\]]{1,128}+", re.MULTILINE)
_MOST_SECRET_NAMES = 64
_BOUNDARY = re.compile(rb"boundary[ \t]*=[ \t]*(?:\"([^\"\r\n]{1,70})\"|([^\"; \t\r\n]{1,70}))", re.IGNORECASE)
_PART_NAME = re.compile(rb"\bname[ \t]*=[ \t]*(?:\"((?:[^\"\\\r\n]|\\.)*)\"|([^\"; \t\r\n]+))", re.IGNORECASE)
_PART_TYPE = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def redacted_parameters(text: bytes, salt: bytes) -> bytes:
    """`name=value` pairs of a form or query, sensitive ones as `name=redacted-1a2b3c4d`, which is valid in both.

    Names may be percent-encoded.
    """
    parts: list[bytes] = []
    at = 0
    for found in _PARAMETER.finditer(text):
        name = found[1]
        if found.start() < at:
            continue
        value = _PARAMETER_VALUE.match(text, found.end())
        if value is None or not value[0]:
            continue
        if not _is_sensitive_parameter(name[-_LONGEST_PARAMETER:]) and not _holds_a_secret(value[0]):
            continue
        shown = name if len(name) > _LONGEST_PARAMETER else _PERCENT.sub(_plain, name)
        parts += (text[at:found.start(1)], shown, b"=", bare_mark(value[0], salt))
        at = value.end()
    return b"".join(parts) + text[at:] if parts else text


def _plain(found: re.Match[bytes]) -> bytes:
    char = bytes([int(found[1], 16)])
    return char if _UNRESERVED.fullmatch(char) else found[0]


@lru_cache(maxsize=MOST_NAMES)
def _is_sensitive_parameter(name: bytes) -> bool:
    """`user%5Bpass%77ord%5D` is `user[password]`, and means `password`."""
    if b"%" in name:
        name = _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), name)
    return is_sensitive(name)


def _holds_a_secret(value: bytes) -> bool:
    """Whether a parameter's value is JSON, percent-encoded or not, of which something is to be hidden."""
    if b'"' not in value and b"%22" not in value:
        return False
    plain = _ANY_PERCENT.sub(lambda found: bytes([int(found[1], 16)]), value)
    return redacted_json(plain, b"") is not plain


def redacted_user_info(text: bytes, salt: bytes) -> bytes:
    """Text, of whatever format, without the passwords of URLs such as `postgres://user:password@host/`."""
    if b"://" not in text or b"@" not in text:
        return text
    return _USER_INFO.sub(lambda found: found[1] + bare_mark(found[2], salt) + b"@", text)


def redacted_urls(text: bytes, salt: bytes, most: int) -> bytes | None:
    """Text, of whatever format, without the passwords and sensitive parameters of URLs and forms that stand in it.

    None where more than `most` places would have to be looked at.
    """
    text = redacted_user_info(text, salt)
    names = _sensitive_among(set(_INNER_PARAMETER.findall(text)))
    if not names:
        return text
    if _places(names, text, most) is None:
        return None
    these = re.compile(rb"([\"?&;#](?:%b)=)([^&;#\"\\\s<>]++)" % b"|".join(map(re.escape, names)))
    return these.sub(lambda found: found[1] + bare_mark(found[2], salt), text)


def redacted_markup(body: bytes, salt: bytes, most: int) -> bytes | None:
    """XML or HTML without what sensitive elements hold, sensitive attributes say, and what is beside a sensitive name.

    Beside: `<input name="token" value=…>`, `<key>password</key><string>…`. None where more than `most` places would
    have to be looked at. Where no name is sensitive nothing is: names are listed without a step of Python for each.
    """
    names = {*_ELEMENT_NAMES.findall(body), *_ATTRIBUTE_NAMES.findall(body), *_NAMED.findall(body)}
    places = _places(_sensitive_among(names), body, most)
    if not places:
        return None if places is None else body
    parts: list[bytes] = []
    at = before = opened = closed = 0
    tag, tag_from = None, -1
    for place in places:                # `opened`, `closed`: the last brackets before it
        opened = max(opened, body.rfind(b"<", before, place))
        closed = max(closed, body.rfind(b">", before, place))
        before = place
        if place < at:
            continue                    # within what was taken away or cleaned already
        if max(opened, at) != tag_from:     # else it is known: one without an end is looked at once
            tag_from = max(opened, at)
            tag = _TAG.match(body, tag_from)
        if tag is not None and tag.end() > place:
            cleaned = _without_attributes(tag[2], salt)
            parts += (body[at:tag.start(2)], cleaned, b">")
            at = tag.end()
            if is_sensitive(tag[1].rpartition(b":")[2]) and not tag[2].endswith(b"/"):
                end = body.find(b"</" + tag[1], at)
                end = len(body) if end < 0 else end
                if body[at:end].strip():
                    parts.append(bare_mark(body[at:end], salt))
                    at = end
        elif named := _NAMED_TEXT.match(body, closed):
            value = _NEXT_ELEMENT.match(body, named.end())
            if value is not None and is_sensitive(named[1].strip()) and value[1].strip():
                parts += (body[at:value.start(1)], bare_mark(value[1].strip(), salt))
                at = value.end(1)
    return b"".join(parts) + body[at:]


def _sensitive_among(names: set[bytes]) -> list[bytes]:
    return sorted(name for name in new_among(names) if is_suspect(name) and is_sensitive(name))


def _places(names: list[bytes], body: bytes, most: int) -> list[int] | None:
    """Where these names stand; None where that is too often."""
    if not names:
        return []
    if len(names) > _MOST_SECRET_NAMES:
        return None
    places = [found.start() for found in islice(re.finditer(b"|".join(map(re.escape, names)), body), most + 1)]
    return None if len(places) > most else places


def _without_attributes(text: bytes, salt: bytes) -> bytes:
    attributes = _ATTRIBUTE.findall(text)
    named = any(_NAMING_NAME.fullmatch(name) and is_sensitive(value.strip(b"\"'"))
                for name, _, value in attributes)

    def clean(found: re.Match[bytes]) -> bytes:
        name, value = found[1].rpartition(b":")[2].lower(), found[3].strip(b"\"'")
        if not value or not (is_sensitive(name) or (named and name in _NAMED_BY_IT)):
            return found[0]
        return found[1] + found[2] + b'"' + bare_mark(value, salt) + b'"'

    return _ATTRIBUTE.sub(clean, text)


def redacted_lines(body: bytes, salt: bytes, most: int) -> bytes | None:
    """Text of lines such as `name: value` or `name=value` without the values of sensitive names; None as above."""
    names = _sensitive_among({name for _, name, _ in _LINES.findall(body)})
    if not names:
        return body
    if _places(names, body, most) is None:
        return None
    these = re.compile(_LINE % b"|".join(map(re.escape, names)), re.MULTILINE)
    return these.sub(lambda found: found[1] + bare_mark(found[3], salt), body)


def redacted_parts(body: bytes, salt: bytes, content_type: bytes,
                   inner: Callable[[bytes, bytes, bytes], bytes]) -> bytes:
    """A multipart body (RFC 7578) without the parts of sensitive names. `inner` cleans what another part holds."""
    named = _BOUNDARY.search(content_type)
    if named is None:
        return mark(body, salt)
    between = b"--" + (named[1] or named[2])
    pieces = body.split(between)
    return between.join([pieces[0], *(_without_part(piece, salt, inner) for piece in pieces[1:])])


def _without_part(piece: bytes, salt: bytes, inner: Callable[[bytes, bytes, bytes], bytes]) -> bytes:
    head, blank, content = piece.partition(b"\r\n\r\n")
    if not blank:
        return piece                    # the end, or a head that was cut
    ending = b"\r\n" if content.endswith(b"\r\n") else b""
    content = content[:len(content) - len(ending)]
    name = _PART_NAME.search(head)
    if name is not None and is_sensitive(name[1] or name[2] or b""):
        content = bare_mark(content, salt) if content else content
    else:
        kind = _PART_TYPE.search(head)
        content = inner(content, salt, b"" if kind is None else kind[1])
    return head + blank + content + ending
