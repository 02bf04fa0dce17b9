"""Turnout from this tree: sticky by the application's cookie, counters and limits as they are by default."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import proxy
from benchmarks.peers.base import Peer, Place, children

ROOT = Path(proxy.__file__).parents[1]
CONFIG = """\
listen: 127.0.0.1:{port}
workers: {workers}
admin: {{listen: "127.0.0.1:{admin_port}"}}
state_dir: memory
timeouts: {{drain: 2s}}
versions:
  old: {{servers: [{old}]}}
  new: {{servers: [{new}]}}
routes:
{routes}
"""
ROUTE = """\
  - name: r{number}
    match: {{path: {path}}}
    split: {{old: 90, new: 10}}
    sticky: {{app_cookie: uid}}"""


class Turnout(Peer):
    """This project."""

    name = "turnout"
    title = "Turnout"
    get = "make env"
    split = "weighted rendezvous over a keyed hash of the cookie"
    routes = True
    servers = True
    workers = True

    def find(self) -> str | None:
        return sys.executable if (ROOT / "proxy" / "cli" / "main.py").exists() else None

    def version(self) -> str:
        return proxy.__version__

    def files(self, place: Place) -> Mapping[str, str]:
        return {"turnout.yaml": CONFIG.format(
            port=place.port, workers=place.workers, admin_port=place.admin_port,
            old=", ".join(f'"http://{address}"' for address in place.old),
            new=", ".join(f'"http://{address}"' for address in place.new),
            routes="\n".join(ROUTE.format(number=number, path=path) for number, path in enumerate(place.prefixes)))}

    def command(self, place: Place) -> list[str]:
        return [sys.executable, "-m", "proxy", "run", "-c", str(place.folder / "turnout.yaml")]

    def environ(self, place: Place) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def worker_pids(self, root: int) -> list[int]:
        return children(root)
