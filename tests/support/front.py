"""Configuration files for whole programs under test: one place that knows how one looks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GOOD = """
versions:
  old: {servers: [http://127.0.0.1:9001]}
  new: {servers: [http://127.0.0.1:9002]}
routes:
  - name: shop
    split: {old: 95, new: 5}
"""
"""A small file as a person writes it, without a fault; problems are told with its lines and columns."""


def write_file(folder: Path, versions: Mapping[str, str | Sequence[str]], routes: Sequence[Mapping[str, Any]],
               **settings: Any) -> Path:
    """Write a file with these versions (name → URL or URLs) and routes; returns its path.

    `settings`: other keys of the file. Ports are chosen by the kernel, and no state is kept, unless they say otherwise.
    """
    document = {
        "listen": "127.0.0.1:0", "workers": 2, "admin": {"listen": "127.0.0.1:0"}, "state_dir": "memory", **settings,
        "versions": {name: {"servers": [urls] if isinstance(urls, str) else list(urls)}
                     for name, urls in versions.items()},
        "routes": list(routes),
    }
    file = folder / "turnout.yaml"
    file.write_text(json.dumps(document, indent=2))  # JSON is YAML
    return file
