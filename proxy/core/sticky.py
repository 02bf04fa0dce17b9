"""How a client is recognised, and what follows from it: the four strategies a route chooses its versions by.

Invariants: *ramp* stickiness stores a key and never a version, so weights move clients at once and nothing needs
evicting. *Session* stickiness stores a version that only Turnout can have written, for one route and one generation of
it: weights steer new sessions only, and raising the generation ends them all.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote

from proxy.core.choice import Chance, Choice
from proxy.core.match import to_bytes
from proxy.core.override import Source, cookie_source, header_source
from proxy.core.request import RequestView, find_cookie
from proxy.core.route import Sticky

if TYPE_CHECKING:
    from proxy.core.router import CompiledRoute

KEY_LENGTH = 24             # characters of a key that Turnout issues: 96 random bits in hex, no two clients share one
FOREIGN_KEY_LIMIT = 4096    # bytes of a key that the application or client made: what browsers allow a whole cookie


class Strategy(Protocol):
    """One way to choose among the versions of a route."""

    needs: frozenset[bytes]
    """Names, in lower case, of the header fields it reads."""

    label: str
    """Where it looks for the client, in the operator's words; empty if it does not."""

    def choose(self, request: RequestView, chance: Chance, /) -> Choice:
        """The version that takes the request."""

    def recognise(self, request: RequestView, /) -> bytes | None:
        """What the client is recognised by; None if by nothing. (For session stickiness: its verified cookie.)"""


class ByDraw:
    """No stickiness: every request draws."""

    __slots__ = ("_bounds", "_choices", "_route", "label", "needs")

    def __init__(self, route: CompiledRoute) -> None:
        self.needs: frozenset[bytes] = frozenset()
        self.label = ""
        self._route = route
        self._bounds = route.draw.bounds
        # Laid out as `Draw.pick` does, to save its frame on the hot path.
        self._choices = tuple(Choice(index, route.versions[index], "split") for index in route.draw.indices)

    def choose(self, _request: RequestView, chance: Chance, /) -> Choice:
        """The version whose interval the draw meets; nothing is drawn if there is only one."""
        bounds = self._bounds
        return self._choices[bisect_right(bounds, chance.draw(self._route)) if bounds else 0]

    def recognise(self, _request: RequestView, /) -> bytes | None:
        """Nobody is recognised."""
        return None


class ByIssuedKey:
    """Ramp stickiness by a cookie that Turnout issues, holding a random key.

    A key is issued even while one version has all the weight: when the candidate gets its first share, clients then
    already are who they stay, and the requests of one page do not scatter.
    """

    __slots__ = ("_after", "_before", "_choices", "_pair", "_pick", "label", "needs")

    def __init__(self, route: CompiledRoute, sticky: Sticky) -> None:
        self.needs = frozenset({b"cookie"})
        self.label = f"cookie {sticky.name}, issued by Turnout"
        self._pair = to_bytes(sticky.name) + b"="
        self._pick = route.race.pick
        self._choices = _choices(route, "sticky")
        self._before, self._after = self._pair, _attributes("/", sticky)   # routes of a host may share it: salts differ

    def choose(self, request: RequestView, chance: Chance, /) -> Choice:
        """The version of the client's key, or of a new one that goes out with the response."""
        header = request.header(b"cookie")         # `recognise` written out: this is every request's path
        if header is not None:
            found = find_cookie(header, self._pair)
            if found is not None and len(found) == KEY_LENGTH and found.isalnum():
                return self._choices[self._pick(found)]
        key = chance.fresh_key()
        chosen = self._choices[self._pick(key)]
        return Choice(chosen.index, chosen.version, "sticky", self._before + key + self._after)

    def recognise(self, request: RequestView, /) -> bytes | None:
        """The client's key. Only what Turnout could have issued is one; anything else gets replaced."""
        header = request.header(b"cookie")
        if header is None:
            return None
        key = find_cookie(header, self._pair)
        return key if key is not None and len(key) == KEY_LENGTH and key.isalnum() else None


class ByForeignKey:
    """Ramp stickiness by what is already in the request: the application's cookie, a header, the address.

    A client without a key draws, as if nothing were sticky: most often it is about to log in and get one.
    """

    __slots__ = ("_choices", "_drawn", "_pick", "_read", "label", "needs")

    def __init__(self, route: CompiledRoute, source: Source) -> None:
        self.needs = frozenset() if source.needs is None else frozenset({source.needs})
        self.label = source.label
        self._read = source.read
        self._pick = route.race.pick
        self._choices = _choices(route, "sticky")
        self._drawn = ByDraw(route)

    def choose(self, request: RequestView, chance: Chance, /) -> Choice:
        """The version of the client's key, or one by draw."""
        key = self._read(request)                  # `recognise` written out: this is every request's path
        if key and len(key) <= FOREIGN_KEY_LIMIT:
            return self._choices[self._pick(key)]
        return self._drawn.choose(request, chance)

    def recognise(self, request: RequestView, /) -> bytes | None:
        """The client's key: any value that is not empty and not longer than `FOREIGN_KEY_LIMIT`."""
        key = self._read(request)
        return key if key and len(key) <= FOREIGN_KEY_LIMIT else None


class BySession:
    """Session stickiness: a signed cookie `version.generation.mac` holds the version that was drawn first.

    The cookie is confined to the path of its route, so that two such routes of a host do not overwrite each other's; of
    two that a browser sends, the one with the longer path comes first (RFC 6265 §5.4), which is the route's own.
    """

    __slots__ = ("_cookies", "_drawn", "_fresh", "_kept", "_labels", "_pair", "label", "needs")

    def __init__(self, route: CompiledRoute, sticky: Sticky, secret: bytes) -> None:
        self.needs = frozenset({b"cookie"})
        self.label = f"cookie {sticky.name}, signed by Turnout"
        self._pair = to_bytes(sticky.name) + b"="
        labels = [f"{quote(version, safe='')}.{route.route.generation}".encode() for version in route.versions]
        self._cookies = tuple(label + b"." + _signature(secret, route.name, label) for label in labels)
        self._labels = {label: index for index, label in enumerate(labels)}
        self._kept = _choices(route, "sticky")
        after = _attributes(route.route.match.path, sticky)
        self._fresh = tuple(Choice(index, version, "split", self._pair + self._cookies[index] + after)
                            for index, version in enumerate(route.versions))
        self._drawn = ByDraw(route)

    def choose(self, request: RequestView, chance: Chance, /) -> Choice:
        """The version of the session, whatever its weight is by now; for a new session one by draw, and its cookie."""
        value = self.recognise(request)
        if value is None:
            return self._fresh[self._drawn.choose(request, chance).index]
        return self._kept[self._cookies.index(value)]

    def recognise(self, request: RequestView, /) -> bytes | None:
        """The client's session cookie, if Turnout signed it for this route, its generation and one of its versions."""
        header = request.header(b"cookie")
        value = None if header is None else find_cookie(header, self._pair)
        if value is None:
            return None
        index = self._labels.get(value.rpartition(b".")[0])
        return value if index is not None and compare_digest(value, self._cookies[index]) else None


def strategy_for(route: CompiledRoute, secret: bytes) -> Strategy:
    """The strategy that a route's `sticky` asks for. A session is always kept in a cookie, whatever `by` says."""
    sticky = route.route.sticky
    if sticky is None:
        return ByDraw(route)
    if sticky.mode == "session":
        return BySession(route, sticky, secret)
    match sticky.by:
        case "cookie":
            return ByIssuedKey(route, sticky)
        case "app_cookie":
            return ByForeignKey(route, cookie_source(sticky.name))
        case "header":
            return ByForeignKey(route, header_source(sticky.name))
        case "address":
            return ByForeignKey(route, Source("client address", lambda request: to_bytes(request.client)))


def _choices(route: CompiledRoute, reason: Literal["sticky", "split"]) -> tuple[Choice, ...]:
    return _choices_among(route.versions, reason)


@lru_cache(1024)
def _choices_among(versions: tuple[str, ...], reason: Literal["sticky", "split"]) -> tuple[Choice, ...]:
    """Shared by all routes that have the same versions: less memory, and it stays in the CPU's cache."""
    return tuple(Choice(index, version, reason) for index, version in enumerate(versions))


def _attributes(path: str, sticky: Sticky) -> bytes:
    """What follows a cookie's value. HttpOnly: no script needs it. Lax: a link from elsewhere keeps its version."""
    plain = path.isascii() and path.isprintable() and ";" not in path
    age = "" if sticky.max_age_s is None else f"; Max-Age={sticky.max_age_s}"
    return f"; Path={path if plain else '/'}{age}; HttpOnly; SameSite=Lax".encode()


def _signature(secret: bytes, route: str, label: bytes) -> bytes:
    """The MAC of a session: keyed BLAKE2b (RFC 7693 §2.9) over the route's name and what the cookie says, in hex."""
    key = blake2b(secret, digest_size=32, person=b"turnout session").digest()
    name = to_bytes(route)
    return blake2b(b"%d:%s%s" % (len(name), name, label), key=key, digest_size=16).hexdigest().encode()
