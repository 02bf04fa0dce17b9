"""What tests ask of /metrics: facts to begin with, a page read back as samples, and promtool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.exposition import Facts, Share, WorkerFacts

BUCKETS = (0.01, 0.1, 1.0)
NO_PROCESS = 2**22 + 1
"""Above the largest process number that Linux gives."""

Series = tuple[str, tuple[tuple[str, str], ...]]


def shares(*pairs: tuple[str, str], baseline: str = "old") -> tuple[Share, ...]:
    """Routes with versions of equal weight."""
    count = {route: sum(other == route for other, _ in pairs) for route, _ in pairs}
    return tuple(Share(route, version, 1 / count[route], 1.0, version == baseline) for route, version in pairs)


def facts(
    pairs: Iterable[tuple[str, str]] = (("shop", "old"), ("shop", "new")),
    servers: Iterable[tuple[str, str]] = (("new", "http://127.0.0.1:9002"),),
    workers: Sequence[WorkerFacts] = (),
    supervisor_pid: int = NO_PROCESS,
    revision: int = 7,
) -> Facts:
    """What a scrape of a small Turnout is told."""
    return Facts(
        version="1.2.3", revision=revision, started_at=1_700_000_000.0, supervisor_pid=supervisor_pid,
        shares=shares(*pairs), servers=tuple(servers), workers=tuple(workers),
    )


def samples(text: bytes) -> dict[Series, float]:
    """Every sample of a page in text format by its name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def promtool(*arguments: str, given: bytes = b"") -> str:
    """Run promtool; skips the test where there is none, fails with its words where it objects."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    run = subprocess.run([program, *arguments], input=given, capture_output=True, timeout=60)
    said = (run.stdout + run.stderr).decode()
    assert run.returncode == 0, said
    return said
