"""Requests that name their version themselves: who may, and where the name stands.

Invariant: the name counts only for clients inside the networks of the rule; no networks means nobody. A name that no
version of the route bears is ignored. A version of weight 0 can be named: that is how one looks at it before it gets
traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from operator import methodcaller

from proxy.core.match import to_bytes
from proxy.core.request import RequestView, find_cookie, find_parameter
from proxy.core.route import Override


class Ignored(Enum):
    """Why a name in a request does not count."""

    UNKNOWN = "no version of this route has that name"
    FOREIGN = "the client is not in a network that may name its version (`from`)"


@dataclass(frozen=True, slots=True)
class Source:
    """A place in a request where a value may stand, and how an operator calls that place."""

    label: str
    read: Callable[[RequestView], bytes | None]
    needs: bytes | None = None


@lru_cache(1024)
def header_source(name: str) -> Source:
    """The whole value of a header field."""
    field = to_bytes(name.lower())
    return Source(f"header {name}", methodcaller("header", field), field)   # called from C: no Python frame


@lru_cache(1024)
def cookie_source(name: str) -> Source:
    """The value of a cookie."""
    pair = to_bytes(name) + b"="

    def read(request: RequestView) -> bytes | None:
        header = request.header(b"cookie")
        return None if header is None else find_cookie(header, pair)

    return Source(f"cookie {name}", read, b"cookie")


@lru_cache(1024)
def query_source(name: str) -> Source:
    """The value of a query parameter, not decoded."""
    pair = to_bytes(name) + b"="
    return Source(f"query parameter {name}", lambda request: find_parameter(request.target, pair))


class Networks:
    """A set of CIDR networks. IPv4-mapped IPv6 addresses (RFC 4291 §2.5.5.2) count as the IPv4 address in them."""

    __slots__ = ("_by_family",)

    def __init__(self, networks: Sequence[str]) -> None:
        self._by_family: dict[int, list[tuple[int, int]]] = {4: [], 6: []}     # (mask, network) as numbers
        for network in (ip_network(text, strict=False) for text in networks):
            self._by_family[network.version].append((int(network.netmask), int(network.network_address)))

    def __contains__(self, address: str) -> bool:
        """Whether a textual address lies in one of the networks; what is no address lies in none."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        number = int(parsed)
        return any(number & mask == network for mask, network in self._by_family[parsed.version])


class CompiledOverride:
    """The override rule of one route. Sources are asked in this order: header, cookie, query."""

    __slots__ = ("_indices", "_networks", "sources")

    def __init__(self, rule: Override, versions: Sequence[str]) -> None:
        self._indices = {to_bytes(version): index for index, version in enumerate(versions)}
        self._networks = Networks(rule.networks)
        places = ((header_source, rule.header), (cookie_source, rule.cookie), (query_source, rule.query))
        self.sources = tuple(make(name) for make, name in places if name)

    def judge(self, value: bytes, client: str) -> int | Ignored:
        """The index of the version that a value names, or why it does not count."""
        index = self._indices.get(value)
        if index is None:
            return Ignored.UNKNOWN
        return index if client in self._networks else Ignored.FOREIGN

    def find(self, request: RequestView) -> int | None:
        """The index of the version that the request names and may name; the first source that counts wins."""
        for source in self.sources:
            value = source.read(request)
            if value is not None:
                verdict = self.judge(value, request.client)
                if not isinstance(verdict, Ignored):
                    return verdict
        return None
