"""What a result must say about where it came from. No host name, no user, no path."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUSY = 0.5                                      # load average from which other work may disturb a run
TOOLS = {"nginx": "nginx-light", "wrk": "wrk"}  # command → Debian package: the service behind the proxies, the load


def describe() -> dict[str, Any]:
    """Processor, usable cores, kernel, interpreter, and how busy the machine was before the run began."""
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "kernel": kernel(platform.release()),
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def cpu_model(cpuinfo: str) -> str:
    """The first `model name` of /proc/cpuinfo."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def kernel(release: str) -> str:
    """The version without what a distribution or host adds to it."""
    found = re.match(r"\d+\.\d+(\.\d+)?", release)
    return f"Linux {found.group()}" if found else "Linux"


def revision() -> dict[str, Any]:
    """Commit, and whether anything but results and the README differs from it."""
    commit = _git("rev-parse", "--short=10", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!README.md")
    return {"commit": commit, "dirty": bool(changed)}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def tool_versions() -> dict[str, str]:
    """Versions of the load generator and of the service."""
    said = {"wrk": _say("wrk", "-v"), "service (nginx)": _say("nginx", "-v")}
    return {name: (found.group() if (found := re.search(r"\d+\.\d+(\.\d+)?", text)) else "unknown")
            for name, text in said.items()}


def _say(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def missing_tools() -> list[str]:
    """Debian packages without which nothing can be measured."""
    return [package for command, package in TOOLS.items() if shutil.which(command) is None]


def now() -> datetime:
    return datetime.now(UTC)


def anonymous(text: str, folder: Path) -> str:
    """A text as it may stand in a result: without paths, and with every port as PORT, so that runs compare."""
    text = text.replace(str(folder), "{work}").replace(str(ROOT), "{root}").replace(str(Path.home()), "{home}")
    return re.sub(r'(:|"port_value": )\d{4,5}\b', r"\1PORT", text)


def one_line(machine: Mapping[str, Any]) -> str:
    """The machine in a sentence."""
    return (f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['kernel']}, "
            f"Python {machine['python']}")
