"""Where Turnout listens and where servers are: the two forms of an address in a file."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable

from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings.grammar import parse_host
from proxy.settings.units import quote, text_of

_HOST_PORT = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*):([^:\[\]]*)")
_UNIX_PATH_BYTES = 107      # sun_path of Linux holds 108 with the final NUL


def parse_listen(value: object) -> Listen:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` or `unix:/path`. Port 0 takes any free port."""
    text = text_of(value)
    if text.startswith("unix:"):
        return Listen("", 0, _unix_path(text))
    if "://" in text:
        raise ValueError(f"{quote(text)}: an address to listen on has no scheme: write {quote(text.partition('://')[2])}")
    if re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{quote(text)} is a port alone: write `127.0.0.1:{text}`, or `0.0.0.0:{text}` for everybody")
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"{quote(text)} is not an address, such as `127.0.0.1:8080`, `[::1]:8080` or `unix:/path`")
    host, port = match.groups()
    if host in ("", "*"):
        raise ValueError(f"{quote(text)}: say which address: {quote(f'0.0.0.0:{port}')} is all of IPv4, "
                         f"{quote(f'[::]:{port}')} of IPv6")
    return Listen(_not_mapped(parse_host(host), port), _port(port, lowest=0))


def _not_mapped(host: str, port: str) -> str:
    """An IPv4 address in the form of IPv6 could not be bound, as sockets for IPv6 serve IPv6 alone."""
    mapped = ipaddress.IPv6Address(host).ipv4_mapped if ":" in host else None
    if mapped is not None:
        raise ValueError(f"{quote(f'[{host}]')} is an IPv4 address in the form of IPv6: "
                         f"write {quote(f'{mapped}:{port}')}")
    return host


def parse_server(value: object) -> Server:
    """`http://host:port`, `http://[::1]:port` or `unix:/path`; without a port it is 80."""
    text = text_of(value)
    if text.startswith("unix:"):
        return Server("", 0, _unix_path(text))
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"{quote(text)} has no scheme: write {quote(f'http://{text}')} or `unix:/path`")
    if scheme.lower() == "https":
        raise ValueError("https to servers is not there yet: use `http://`, in a network that you trust")
    if scheme.lower() != "http":
        raise ValueError(f"{quote(scheme)} is not spoken: servers are `http://host:port` or `unix:/path`")
    if "@" in rest:       # said without the text: it holds a password
        raise ValueError("a server's address takes no credentials")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if rest != authority:
        raise ValueError(f"{quote(text)}: a server is an address without path or query: write "
                         f"{quote(f'http://{authority}')} (the target of each request is passed on as it is)")
    return _server(authority, text)


def _server(authority: str, text: str) -> Server:
    if re.fullmatch(r"\[[^\[\]]*\]|[^:\[\]]+", authority):
        return Server(parse_host(authority), 80)
    match = _HOST_PORT.fullmatch(authority)
    if match is None or not match[1]:
        raise ValueError(f"{quote(text)} is not a server, such as `http://127.0.0.1:9001` or `http://[::1]:9001`")
    return Server(parse_host(match[1]), _port(match[2], lowest=1))


def _port(text: str, lowest: int) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,4}", text) or not lowest <= int(text) <= 65535:
        raise ValueError(f"{quote(text)} is not a port: {lowest} to 65535")
    return int(text)


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/") or path.startswith("//") or path.endswith("/"):
        raise ValueError(f"{quote(text)}: a Unix socket is `unix:` and an absolute path, such as `unix:/run/app.sock`")
    if not path.isprintable():
        raise ValueError(f"{quote(text)} has a control character in its path")
    if len(path.encode()) > _UNIX_PATH_BYTES:
        raise ValueError(f"{quote(text)} is longer than {_UNIX_PATH_BYTES} bytes, the most of a Unix socket's path")
    return path


def resolved(name: str) -> list[str]:
    """The addresses that a name has on this machine; none if it has none. Waits for the resolver."""
    try:
        return [str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except OSError:
        return []


def is_loopback(listen: Listen) -> bool:
    """Whether only this machine can reach the address. A name counts only if it is `localhost`: others may change."""
    if listen.unix_path is not None or listen.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(listen.host).is_loopback
    except ValueError:
        return False


def exposed(listen: Listen, resolve: Callable[[str], list[str]] = resolved) -> str | None:
    """Why other machines may reach an address, in words; None if only this one can.

    A name other than `localhost` may come to mean anything. `localhost` should not (RFC 6761 §6.3), but what it is here
    is looked up nevertheless: a hosts file can say anything.
    """
    if not is_loopback(listen):
        named = not re.fullmatch(r"[0-9.]+|.*:.*", listen.host)
        return f"`{listen.address}` is reachable from other machines" if not named else (
            f"`{listen.host}` is a name: other machines may reach what it means, now or later")
    if listen.host == "localhost":
        for address in resolve("localhost"):
            if not ipaddress.ip_address(address).is_loopback:
                return f"`localhost` means {address} on this machine, which others may reach"
    return None


def overlaps(one: Listen, other: Listen) -> bool:
    """Whether both cannot be bound together: the same address, or one of them all addresses of that family."""
    if one.unix_path is not None or other.unix_path is not None:
        return one.unix_path == other.unix_path
    if one.port != other.port or one.port == 0:
        return False
    if one.host == other.host:
        return True
    return (":" in one.host) == (":" in other.host) and bool({one.host, other.host} & {"0.0.0.0", "::"})  # noqa: S104 compared, not bound
