from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.controlplane.systemd import Systemd

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "config" / "turnout.service"
PR_SET_MDWE = 65


class Manager:
    """What systemd has: a datagram socket, and its name in the environment of those it starts."""

    def __init__(self, name: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + name[1:] if name.startswith("@") else name)
        self.sock.settimeout(5)
        self.environ = {"NOTIFY_SOCKET": name}

    def told(self) -> dict[str, str]:
        lines = self.sock.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@turnout-test/{os.getpid()}"
    found = Manager(name)
    with found.sock:
        yield found


def test_a_process_that_serves_is_ready_and_the_main_one(manager: Manager) -> None:
    Systemd(manager.environ, pid=42).ready("serving on 127.0.0.1:8080")
    assert manager.told() == {"READY": "1", "MAINPID": "42", "STATUS": "serving on 127.0.0.1:8080"}


def test_a_reload_begins_at_a_time_that_the_manager_can_compare(manager: Manager) -> None:
    Systemd(manager.environ).reloading()
    told = manager.told()
    assert told["RELOADING"] == "1"
    assert int(told["MONOTONIC_USEC"]) > 0


def test_a_drain_that_takes_long_asks_for_the_time(manager: Manager) -> None:
    Systemd(manager.environ).stopping(within_s=120.0)
    told = manager.told()
    assert told["STOPPING"] == "1"
    assert int(told["EXTEND_TIMEOUT_USEC"]) > 120_000_000


def test_a_status_of_several_lines_cannot_forge_a_message(manager: Manager) -> None:
    Systemd(manager.environ).status("fine\nMAINPID=1")
    assert manager.told() == {"STATUS": "fine"}


def test_signs_of_life_come_twice_as_often_as_they_are_wanted(manager: Manager) -> None:
    async def live() -> None:
        systemd = Systemd({**manager.environ, "WATCHDOG_USEC": "100000"})
        assert systemd.watchdog_s == 0.1
        alive = asyncio.create_task(systemd.stay_alive())
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(4):
            assert await loop.run_in_executor(None, manager.told) == {"WATCHDOG": "1"}
        assert 0.1 < loop.time() - began < 2
        alive.cancel()

    asyncio.run(live())


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "100", "WATCHDOG_PID": "1"}],
)
def test_nobody_waits_for_signs_of_life_that_were_not_asked_of_this_process(
    manager: Manager, environ: dict[str, str]
) -> None:
    systemd = Systemd({**manager.environ, **environ}, pid=42)
    assert systemd.watchdog_s is None
    asyncio.run(systemd.stay_alive())


@pytest.mark.parametrize("name", ["", "vsock:2:1234", "/nonexistent/notify", "@nobody-listens-here"])
def test_without_a_manager_that_listens_nothing_happens(name: str) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"})
    systemd.ready("serving")
    systemd.stopping(1.0)


def test_a_manager_that_does_not_read_holds_nothing_up(manager: Manager) -> None:
    systemd = Systemd(manager.environ)
    for _ in range(10_000):
        systemd.status("x" * 100)


# ---- the unit in config/


def settings_of(unit: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", unit, re.MULTILINE))


def test_the_unit_lets_workers_outlive_a_supervisor_that_dies() -> None:
    unit = settings_of(UNIT.read_text())
    assert unit["Type"] == "notify"
    assert unit["NotifyAccess"] == "all", "after an upgrade it is the successor that says who the main process is"
    assert unit["KillMode"] == "process"
    assert unit["Restart"] == "always"
    assert unit["RuntimeDirectoryPreserve"] == "restart", "a Unix socket's file has to be there for the next one"
    assert unit["OOMPolicy"] == "continue"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/turnout/bin/turnout", sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)], capture_output=True, text=True
    )
    assert exposed.returncode == 0, exposed.stdout


def test_the_program_loads_where_no_memory_may_become_executable() -> None:
    """As MemoryDenyWriteExecute does, by the kernel's own switch (Linux 6.3)."""
    libc = ctypes.CDLL(None)

    def deny() -> None:
        libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)

    program = "import proxy.cli.serve, proxy.dataplane.__main__, uvloop; uvloop.run(__import__('asyncio').sleep(0))"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, preexec_fn=deny)
