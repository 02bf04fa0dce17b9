"""What the API says of a shadow, as documented, and recorded requests, for tests of the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def difference(path: str = "$.price", kind: str = "value", **more: Any) -> Json:
    """A group of differences."""
    return {
        "endpoint": "/items/{}", "method": "GET", "path": path, "kind": kind, "count": 12, "rate": 0.0125,
        "control_rate": 0.001, "verdict": "different", "first_seen": 1e9, "last_seen": 1e9 + 60,
        "samples": [{"at": 1e9, "id": "7f3a", "primary": "10", "shadow": "12"}], **more,
    }


def shadow_report(*differences: Json, **more: Any) -> Json:
    """The report of route shop: of 960 compared, 948 match."""
    return {
        "route": "shop", "shadow": {"to": "new", "percent": 12.5, "methods": ["GET", "HEAD"]}, "fraction": 1.0,
        "control": True, "comparer": {"running": True, "restarts": 0, "since": 1e9, "dropped": 0},
        "totals": {
            "copied": 1000, "compared": 960, "matched": 948, "different": 12, "noisy": 3,
            "skipped": {"answer_too_large": 30, "timeout": 10}, "match_rate": 0.9875,
            "latency": {"primary": {"p50_ms": 1.25, "p99_ms": 9.0}, "shadow": {"p50_ms": 2.5, "p99_ms": 1200.0},
                        "later": {"p50_ms": 1.2, "p99_ms": 1100.0}},
        },
        "endpoints": [
            {"endpoint": "/", "method": "GET", "compared": 500, "matched": 500, "different": 0, "skipped": {}},
            {"endpoint": "/items/{}", "method": "GET", "compared": 460, "matched": 448, "different": 12,
             "skipped": {"answer_too_large": 30}},
        ],
        "differences": list(differences), "more": 0, "dropped_groups": 0, **more,
    }


NOTHING_COMPARED: Json = {
    "copied": 0, "compared": 0, "matched": 0, "different": 0, "noisy": 0, "skipped": {}, "match_rate": None,
    "latency": {side: {"p50_ms": None, "p99_ms": None} for side in ("primary", "shadow", "later")},
}


def answer(body: str = '{"price": 10}', status: int = 200, **fields: str) -> Json:
    """A recorded answer; fields besides its media type."""
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in fields.items()}}
    return {"status": status, "head": {name: [value] for name, value in named.items()}, "body": {"text": body},
            "whole": True, "took_s": 0.004}


def pair(target: str = "/items/1", method: str = "GET", **more: Any) -> Json:
    """A recorded request with both answers."""
    return {
        "at": 1e9, "id": "7f3a", "route": "shop", "version": "old", "to": "new", "endpoint": "/items/{}",
        "method": method, "target": target, "head": {"Host": ["shop.example.com"], "Accept": ["*/*"]},
        "body": {"text": ""}, "primary": answer(), "shadow": answer(), **more,
    }


def write_pairs(path: Path, pairs: Iterable[Json | str]) -> str:
    """Write a recording; what is text already stays as it is. Returns its path."""
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in pairs))
    return str(path)
