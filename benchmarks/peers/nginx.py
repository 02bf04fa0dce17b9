"""nginx: split_clients over the cookie, keep-alive on both sides, streaming instead of temporary files.

64 KiB of buffer in each direction, as Turnout has: with its smaller default an upload costs it more than twice as much.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from benchmarks.peers.base import Peer, Place, children

CONFIG = """\
worker_processes {workers};
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile {descriptors};
{user}
events {{ worker_connections {descriptors}; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 75s;
    client_header_timeout 10s;
    client_body_timeout 30s;
    client_max_body_size 0;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    split_clients "$cookie_uid" $version {{ 10% new; * old; }}
    upstream old {{ {old} keepalive 4096; keepalive_requests 1000000000; }}
    upstream new {{ {new} keepalive 4096; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{reuseport};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_connect_timeout 2s;
        proxy_request_buffering off;
        client_body_buffer_size 64k;
        proxy_max_temp_file_size 0;
{locations}
    }}
}}
"""


class Nginx(Peer):
    """nginx from the distribution."""

    name = "nginx"
    title = "nginx"
    get = "apt-get install nginx-light"
    split = "split_clients over the cookie"
    routes = True
    servers = True
    workers = True
    program = "nginx"

    def files(self, place: Place) -> Mapping[str, str]:
        paths = [f"{prefix.rstrip('/')}/" for prefix in place.prefixes]
        locations = "\n".join(f"        location {path} {{ proxy_pass http://$version; }}" for path in paths)
        return {"nginx.conf": CONFIG.format(
            workers=place.workers, folder=place.folder, descriptors=place.descriptors, port=place.port,
            user="user root;" if os.geteuid() == 0 else "", locations=locations,
            reuseport=" reuseport" if place.workers > 1 else "",
            old=" ".join(f"server {address};" for address in place.old),
            new=" ".join(f"server {address};" for address in place.new))}

    def command(self, place: Place) -> list[str]:
        return ["nginx", "-e", "stderr", "-p", str(place.folder), "-c", str(place.folder / "nginx.conf")]

    def worker_pids(self, root: int) -> list[int]:
        return children(root)
