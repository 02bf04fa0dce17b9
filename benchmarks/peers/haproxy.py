"""HAProxy: one thread, backend chosen by a hash of the cookie, connections to servers reused always."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peers.base import Peer, Place

CONFIG = """\
global
    nbthread 1
    maxconn {connections}
    no strict-limits
defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 75s
    http-reuse always
    option forwardfor
frontend bench
    bind 127.0.0.1:{port} backlog 4096
    maxconn {connections}
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    use_backend new if {{ req.cook(uid),xxh32,mod(100) lt 10 }}
{routes}    default_backend old
backend old
{old}
backend new
{new}
"""


class Haproxy(Peer):
    """HAProxy from the distribution."""

    name = "haproxy"
    title = "HAProxy"
    get = "apt-get install haproxy"
    split = "xxh32 of the cookie modulo 100"
    routes = True
    servers = True
    program = "haproxy"

    def files(self, place: Place) -> Mapping[str, str]:
        files = {}
        routes = ""
        if place.routes > 1:
            files["haproxy.map"] = "".join(f"{prefix.rstrip('/')}/ old\n" for prefix in place.prefixes)
            routes = f"    use_backend %[path,map_beg({place.folder}/haproxy.map,old)]\n"
        files["haproxy.conf"] = CONFIG.format(
            connections=place.descriptors - 1000, port=place.port, routes=routes,
            old=_servers(place.old), new=_servers(place.new))
        return files

    def command(self, place: Place) -> list[str]:
        return ["haproxy", "-db", "-q", "-f", str(place.folder / "haproxy.conf")]


def _servers(addresses: tuple[str, ...]) -> str:
    return "\n".join(f"    server s{number} {address}" for number, address in enumerate(addresses))
