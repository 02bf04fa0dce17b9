"""The service behind every proxy: nginx on the load's core, in two versions that name themselves in `X-Version`.

Small answers with eight headers, JSON of 2 KiB in which one value is another each time (`/json/…`), files of 16 KiB
and 1 MiB out of memory, and a sink that has read a whole upload
before it answers (an early answer would measure something else). What comes to `/noted` is noted: a line with its
`X-Sent` in the file `noted-old` or `noted-new`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Program, Programs, free_port

SERVERS = 50                                    # addresses 127.0.0.1 … 127.0.0.50, for a version of many servers
JSON_SIZE = 2 * 1024
ITEMS = 14
SIZES = {"16k": 16 * 1024, "1m": 1024 * 1024}

NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/origin.pid;
error_log stderr error;
worker_rlimit_nofile {descriptors};
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    log_format noted "$http_x_sent";
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_max_body_size 4m;
    client_body_buffer_size 2m;
    client_body_temp_path {folder}/origin-body;
    proxy_temp_path {folder}/origin-proxy;
    fastcgi_temp_path {folder}/origin-fastcgi;
    uwsgi_temp_path {folder}/origin-uwsgi;
    scgi_temp_path {folder}/origin-scgi;
    open_file_cache max=16;
    sendfile on;
    tcp_nopush on;
    server {{ listen unix:{folder}/read.sock; location / {{ return 200 "read\\n"; }} }}
{servers}
}}
"""

SERVER = """\
    server {{
{listens}
        add_header X-Version {version};
        add_header Cache-Control "private, max-age=0";
        add_header Vary "Accept-Encoding, Cookie";
        add_header X-Content-Type-Options nosniff;
        location / {{ default_type text/html; return 200 "<p>hello from {version}</p>\\n"; }}
        location = /noted {{
            access_log {folder}/noted-{version} noted;
            default_type text/html; return 200 "<p>hello from {version}</p>\\n";
        }}
        location /json/ {{ default_type application/json; return 200 '{document}'; }}
        location = /16k {{ alias {folder}/16k; }}
        location = /1m {{ alias {folder}/1m; }}
        location = /upload {{
            add_header X-Version {version};
            add_header X-Received $request_length;
            proxy_pass http://unix:{folder}/read.sock:/;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}"""


@dataclass(frozen=True, slots=True)
class Origin:
    """The ports of the two versions. Every version answers on `SERVERS` loopback addresses."""

    old_port: int
    new_port: int

    def old(self, servers: int = 1) -> tuple[str, ...]:
        """The first `servers` addresses of the old version, `host:port`."""
        return tuple(f"127.0.0.{number}:{self.old_port}" for number in range(1, servers + 1))

    def new(self) -> tuple[str, ...]:
        """The address of the new version."""
        return (f"127.0.0.1:{self.new_port}",)


def render(origin: Origin, folder: Path, as_root: bool, descriptors: int) -> str:
    """nginx's configuration."""
    servers = [
        SERVER.format(version=version, folder=folder, document=document(), listens="\n".join(
            f"        listen {address} backlog=4096;" for address in addresses))
        for version, addresses in (("old", origin.old(SERVERS)), ("new", origin.new()))]
    return NGINX.format(folder=folder, servers="\n".join(servers), user="user root;" if as_root else "",
                        descriptors=descriptors, connections=descriptors // 2)


def start(programs: Programs, core: int, as_root: bool, descriptors: int) -> tuple[Origin, Program]:
    """Write the files, start nginx on `core`. The caller waits until it answers."""
    origin = Origin(free_port(), free_port())
    folder = programs.folder
    for name, size in SIZES.items():
        (folder / name).write_bytes(content(size))
    config = folder / "origin.conf"
    config.write_text(render(origin, folder, as_root, descriptors))
    return origin, programs.start("origin", ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)], [core])


def document() -> str:
    """A page of a catalogue as nginx's configuration has it. Its `request` is 32 digits that nginx makes up, so two
    answers are never the same bytes and have to be compared by structure."""
    items = [{"id": 4200 + number, "name": f"Turnout No. {number}", "price": {"amount": 1990 + 50 * number,
              "currency": "EUR"}, "stock": number * 7 % 11, "tags": ["track", "h0", "left" if number % 2 else "right"]}
             for number in range(ITEMS)]
    page = {"request": "$request_id", "page": 3, "sort": "price", "items": items, "note": ""}
    page["note"] = "x" * (JSON_SIZE - len(json.dumps(page)) - 32 + len("$request_id"))
    return json.dumps(page)


def content(size: int) -> bytes:
    """`size` bytes in which every place is recognisable, so that a swapped or lost piece is noticed."""
    return b"".join(b"%015d\n" % number for number in range(0, size, 16))
