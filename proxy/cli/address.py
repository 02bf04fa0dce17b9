"""Where the admin API is, as an operator writes it. Invariant: imports nothing, so that `healthcheck` may use it."""

from __future__ import annotations

DEFAULT_ADMIN = "http://127.0.0.1:9900"
_HTTP_PORT = 80
_LAST_PORT = 65_535


def parse_admin(admin: str) -> str | tuple[str, int]:
    """Return the path of a Unix socket, or host and port, from `unix:/path`, `http://host:port` or `host:port`.

    Raises ValueError with a sentence for the operator.
    """
    if admin.startswith("unix:"):
        path = admin.removeprefix("unix:")
        if not path:
            raise ValueError(f"{admin} names no socket; it should look like unix:/run/turnout/admin")
        return path
    scheme, found, rest = admin.partition("://")
    if found and scheme.lower() == "https":
        raise ValueError(f"{admin}: the admin API speaks plain HTTP; go through `ssh -L` or a Unix socket")
    if found and scheme.lower() != "http":
        raise _unlike(admin)
    host, port = _split(rest if found else admin)
    if not host or set(host) & set("/?#@ \t\r\n[]"):
        raise _unlike(admin)
    if not port:
        return host, _HTTP_PORT
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _LAST_PORT):
        raise _unlike(admin)
    return host, int(port)


def _split(authority: str) -> tuple[str, str]:
    """Return host and port as they are written; an IPv6 address stands in brackets."""
    authority = authority.removesuffix("/")
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return (host, rest.removeprefix(":")) if rest[:1] in ("", ":") else ("", "")
    host, colon, port = authority.partition(":")
    return host, port if colon else ""


def _unlike(admin: str) -> ValueError:
    return ValueError(f"{admin} is not an address such as {DEFAULT_ADMIN}")
