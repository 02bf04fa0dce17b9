"""How many CPUs this process may use: what `workers: auto` means."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus(quota_file: Path = _QUOTA) -> int:
    """The CPUs of the affinity mask, fewer where a container's quota (cgroup v2 `cpu.max`) allows less; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, _quota(quota_file) or affinity))


def _quota(quota_file: Path) -> int | None:
    """Whole CPUs that the quota pays for, rounded up; None without one. It reads `max 100000` or `150000 100000`."""
    try:
        allowed, period = quota_file.read_text().split()
        return None if allowed == "max" else math.ceil(int(allowed) / int(period))
    except (OSError, ValueError):
        return None
