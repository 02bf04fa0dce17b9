"""Short excerpts of whatever was answered. Invariant: at most `LONGEST` characters, each of them printable."""

from __future__ import annotations

from typing import Any

LONGEST = 200
_MEMBERS = 8
_DEPTH = 3


def printable(text: str, longest: int = LONGEST) -> str:
    """The text on one line and cut to `longest`; what cannot be printed (also lone surrogates) as an escape."""
    if len(text) <= longest and text.isprintable():
        return text
    parts: list[str] = []
    room = longest
    for char in text[: longest + 1]:
        part = char if char.isprintable() else _escape(char)
        room -= len(part)
        if room < 1:
            return "".join(parts) + "…"
        parts.append(part)
    return "".join(parts)


def of_bytes(data: bytes) -> str:
    """Bytes as text where they are some; other bytes as `\\xNN`."""
    return printable(data[: LONGEST + 1].decode("utf-8", "backslashreplace"))


def of_json(value: Any) -> str:
    """A parsed JSON value, as JSON but abridged: of a large one only its beginning is looked at."""
    return printable(_rendered(value, _DEPTH))


def _rendered(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return '"' + value[: LONGEST + 1] + '"'
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        if depth == 0:
            return "{…}" if value else "{}"
        members = [f"{_rendered(name, 1)}: {_rendered(one, depth - 1)}" for name, one in _first(value.items())]
        return "{" + ", ".join(members) + (", …}" if len(value) > _MEMBERS else "}")
    if isinstance(value, list):
        if depth == 0:
            return "[…]" if value else "[]"
        elements = [_rendered(one, depth - 1) for one in value[:_MEMBERS]]
        return "[" + ", ".join(elements) + (", …]" if len(value) > _MEMBERS else "]")
    return str(value)


def _first(items: Any) -> Any:
    return [item for item, _ in zip(items, range(_MEMBERS), strict=False)]


def _escape(char: str) -> str:
    code = ord(char)
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(char) or (
        f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
