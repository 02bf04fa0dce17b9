"""Results on disk: benchmarks/results/<date>-<commit>.json, everything that was measured and where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bench import Run, as_record

FOLDER = Path(__file__).with_name("results")
SHOWN_WHOLE = 6000                              # characters; of a longer configuration only the digest is kept


def save(result: Mapping[str, Any], runs: Iterable[Run], folder: Path = FOLDER) -> Path:
    """Write one run of the benchmark. A second one of the same minute and commit gets a name of its own."""
    folder.mkdir(exist_ok=True)
    stem = f"{result['when'][:16].replace(':', '')}-{result['commit']}"
    path = next(p for n in range(1000) if not (p := folder / f"{stem}{f'-{n}' if n else ''}.json").exists())
    path.write_text(json.dumps({**result, "runs": [as_record(run) for run in runs]}, indent=1) + "\n")
    return path


def newest(folder: Path = FOLDER) -> Path | None:
    """The file whose name is last in order, which is the latest; None if there is none."""
    return max(folder.glob("*.json"), default=None, key=lambda path: path.stem)


def load(path: Path) -> tuple[dict[str, Any], list[Run]]:
    """What `save` wrote: the description and the runs."""
    result = json.loads(path.read_text())
    runs = [Run(**{**record, "flags": tuple(record["flags"])}) for record in result.pop("runs")]
    return result, runs


def configurations(texts: Mapping[str, str], folder: Path) -> dict[str, dict[str, str]]:
    """Every configuration by its digest, and its text unless it is long; without paths and ports."""
    found = {}
    for name, text in sorted(texts.items()):
        plain = machine.anonymous(text, folder)
        found[name] = {"sha256": hashlib.sha256(plain.encode()).hexdigest()}
        if len(plain) <= SHOWN_WHOLE:
            found[name]["text"] = plain
    return found
