"""Turnout as it is operated: two workers, tokens, a journal on disk, and a file that can be changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loads.admin import TOKEN
from benchmarks.peers.base import Place
from benchmarks.peers.turnout import Turnout

CONFIG = """\
listen: 127.0.0.1:{port}
workers: {workers}
admin:
  listen: 127.0.0.1:{admin_port}
  tokens: [{{name: bench, role: operator, token_sha256: {digest}}}]
state_dir: {state_dir}
watch: none
access_log: "{access_log}"
timeouts: {{{timeouts}drain: 10s, orphan: 20s}}
{more}versions:
  old: {{servers: ["http://{old}"]}}
  new: {{servers: ["http://{new}"]}}
{versions}routes:
{routes}  - name: r0
    split: {{old: {share}, new: {rest}}}
    sticky: {{app_cookie: uid}}
"""


@dataclass(frozen=True)
class Live(Turnout):
    """See the module. `state_dir`: a folder on a disk, since a file system in memory makes durable writes free.
    `more_versions` and `more_routes`: besides, as indented lines of YAML; `more`: other keys of the file.
    `timeouts`: more of them, each with a comma behind it."""

    state_dir: str = "memory"
    access_log: str = "off"
    more_versions: str = ""
    more_routes: str = ""
    more: str = ""
    timeouts: str = ""

    def files(self, place: Place) -> Mapping[str, str]:
        return {"turnout.yaml": self.config(place)}

    def config(self, place: Place, new: int = 10) -> str:
        """The file with this share of `new` (percent)."""
        return CONFIG.format(
            port=place.port, workers=place.workers, admin_port=place.admin_port, state_dir=self.state_dir,
            access_log=self.access_log, digest=hashlib.sha256(TOKEN.encode()).hexdigest(), old=place.old[0],
            new=place.new[0], share=100 - new, rest=new, versions=self.more_versions,
            routes=self.more_routes, more=self.more, timeouts=self.timeouts)

    def write(self, place: Place, new: int) -> None:
        """Change the file, at once and whole."""
        fresh = Path(place.folder) / "turnout.yaml.new"
        fresh.write_text(self.config(place, new))
        fresh.rename(place.folder / "turnout.yaml")
