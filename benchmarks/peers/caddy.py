"""Caddy: one OS thread's worth of Go (GOMAXPROCS=1), version by the cookie's last digit: it has no weighted hash."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peers.base import Peer, Place

CONFIG = """\
{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
    servers {{
        timeouts {{
            read_header 10s
            idle 75s
        }}
    }}
}}
(upstream) {{
    transport http {{
        dial_timeout 2s
        keepalive 75s
        keepalive_idle_conns 8192
        keepalive_idle_conns_per_host 4096
        compression off
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    @new header_regexp Cookie "uid=[0-9]*7(;|$)"
    reverse_proxy @new {new} {{
        import upstream
    }}
    reverse_proxy {old} {{
        import upstream
    }}
}}
"""


class Caddy(Peer):
    """Caddy from the distribution. It sets X-Forwarded-For, -Proto and -Host by itself."""

    name = "caddy"
    title = "Caddy"
    get = "apt-get install caddy"
    split = "last digit of the cookie by a regular expression (it has no weighted hash)"
    program = "caddy"
    version_arguments = ("version",)

    def files(self, place: Place) -> Mapping[str, str]:
        return {"Caddyfile": CONFIG.format(port=place.port, old=" ".join(place.old), new=" ".join(place.new))}

    def command(self, place: Place) -> list[str]:
        return ["caddy", "run", "--config", str(place.folder / "Caddyfile"), "--adapter", "caddyfile"]

    def environ(self, place: Place) -> dict[str, str]:
        return {"GOMAXPROCS": "1", "HOME": str(place.folder), "XDG_DATA_HOME": str(place.folder),
                "XDG_CONFIG_HOME": str(place.folder)}
