"""What a route asks of a request beyond host and path: its method, and header fields.

Each condition can say in the operator's words what it wants, so that `explain` reports the very test that failed.
"""

from __future__ import annotations

from typing import Protocol

from proxy.core.request import RequestView
from proxy.core.route import HeaderMatch, Match


class Condition(Protocol):
    """One test that a request passes or fails."""

    def holds(self, request: RequestView, /) -> bool:
        """Whether the request passes."""

    def __str__(self) -> str: ...


class MethodIs:
    """The method is one of these, compared exactly (methods are case-sensitive: RFC 9110 §9.1)."""

    __slots__ = ("_methods", "_text")

    def __init__(self, methods: tuple[str, ...]) -> None:
        self._methods = frozenset(to_bytes(method) for method in methods)
        self._text = f"method {' or '.join(methods)}"

    def holds(self, request: RequestView, /) -> bool:
        """Whether the request passes."""
        return request.method in self._methods

    def __str__(self) -> str:
        return self._text


class HeaderPresent:
    """The field is there, even if empty."""

    __slots__ = ("_name", "_text")

    def __init__(self, name: str) -> None:
        self._name = to_bytes(name.lower())
        self._text = f"header {name}"

    def holds(self, request: RequestView, /) -> bool:
        """Whether the request passes."""
        return request.header(self._name) is not None

    def __str__(self) -> str:
        return self._text


class HeaderEquals:
    """The field has exactly this value, byte by byte; several fields of the name count as one joined with `, `."""

    __slots__ = ("_name", "_text", "_value")

    def __init__(self, name: str, value: str) -> None:
        self._name = to_bytes(name.lower())
        self._value = to_bytes(value)
        self._text = f"header {name} = {value!r}"

    def holds(self, request: RequestView, /) -> bool:
        """Whether the request passes."""
        return request.header(self._name) == self._value

    def __str__(self) -> str:
        return self._text


def conditions_of(match: Match) -> tuple[Condition, ...]:
    """The conditions of a route, the cheapest first."""
    method: tuple[Condition, ...] = (MethodIs(match.methods),) if match.methods else ()
    return method + tuple(map(_header_condition, match.headers))


def _header_condition(header: HeaderMatch) -> Condition:
    return HeaderPresent(header.name) if header.equals is None else HeaderEquals(header.name, header.equals)


def specificity(match: Match) -> tuple[int, int]:
    """Sorts routes of the same host and path, the most specific first: one that names methods, then more headers.

    The order of the Kubernetes Gateway API (HTTPRouteRule, precedence of matches), which operators know.
    """
    return (0 if match.methods else 1, -len(match.headers))


def path_segments(path: str) -> tuple[bytes, ...]:
    """The segments of a path prefix. One trailing `/` says nothing: `/a/` and `/a` are the same prefix, `/` is none."""
    return tuple(to_bytes(path).removesuffix(b"/").split(b"/")[1:])


def is_below(target: bytes, segments: tuple[bytes, ...]) -> bool:
    """Whether the path of a request target begins with these whole segments; see `path_segments`."""
    return tuple(target.partition(b"?")[0].split(b"/")[1:len(segments) + 1]) == segments


def to_bytes(text: str) -> bytes:
    """Text of the configuration as it stands on the wire."""
    return text.encode("utf-8", "surrogateescape")
