from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy.telemetry import procstat
from proxy.telemetry.procstat import CpuTotals
from tests.support.deadline import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")


def test_our_own_process_is_read_as_the_kernel_tells_it_otherwise() -> None:
    stat = procstat.read(os.getpid())
    assert stat is not None
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert stat.cpu_s == pytest.approx(used.ru_utime + used.ru_stime, abs=0.1)
    assert 1_000_000 < stat.resident_bytes <= used.ru_maxrss * 1024 + 1_000_000
    assert stat.open_fds == pytest.approx(len(os.listdir("/proc/self/fd")), abs=1)
    assert stat.max_fds == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert time.time() - 24 * 3600 < stat.started_at < time.time() + 2


def test_a_process_that_is_gone_or_waits_to_be_reaped_has_no_numbers() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: procstat.read(process.pid) is None, "a zombie is no process")
    process.wait()
    assert procstat.read(process.pid) is None


def test_a_name_with_spaces_and_parentheses_moves_no_field(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    (folder / "fd").mkdir(parents=True)
    (tmp_path / "stat").write_text("cpu 1 2 3\nbtime 1700000000\n")
    (folder / "limits").write_text("Limit Soft Hard Units\nMax open files   unlimited   4096   files\n")
    fields = ["S", *map(str, range(4, 53))]
    (folder / "stat").write_text(f"42 (a) R 1 (b c) {' '.join(fields)}\n")
    stat = procstat.read(42, tmp_path)
    assert stat is not None
    ticks = os.sysconf("SC_CLK_TCK")
    assert stat.cpu_s == (14 + 15) / ticks
    assert stat.resident_bytes == 24 * os.sysconf("SC_PAGE_SIZE")
    assert stat.started_at == 1_700_000_000 + 22 / ticks
    assert stat.max_fds is None
    assert stat.open_fds == 0


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert procstat.read(os.getpid(), tmp_path) is None


def test_cpu_time_goes_on_from_where_a_predecessor_was_seen_last() -> None:
    totals = CpuTotals()
    assert totals.total_s("worker-0", 10, 5.0) == 5.0
    assert totals.total_s("worker-0", 10, 7.0) == 7.0
    assert totals.total_s("worker-0", 11, 0.5) == 7.5
    assert totals.total_s("worker-1", 12, 1.0) == 1.0
    assert totals.total_s("worker-0", 11, 0.4) == 7.5
