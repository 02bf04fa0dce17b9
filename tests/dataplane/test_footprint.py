"""What the kernel says of memory: of this process, of the machine, and of the group that the process is in."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.dataplane.footprint import group_memory, machine_memory, resident_memory

ROOT = Path(__file__).parents[2]


def test_a_process_has_a_size_that_fits_its_machine() -> None:
    assert 1 << 20 < resident_memory() < machine_memory()


def test_what_a_process_takes_in_addition_is_seen() -> None:
    before = resident_memory()
    with mmap.mmap(-1, 32 << 20) as taken:      # of its own: what the allocator has left over would be used first
        taken.write(b"x" * (32 << 20))
        assert resident_memory() - before > 24 << 20


GREW = """
from proxy.dataplane.footprint import give_back, resident_memory
before = resident_memory()
buffers = [bytes(30_000) for _ in range(4000)]
del buffers[:-1]
kept = resident_memory() - before
give_back()
print(kept, resident_memory() - before)
"""


def test_a_process_that_was_large_once_is_small_again_when_it_has_given_back_what_it_kept() -> None:
    said = subprocess.run([sys.executable, "-c", GREW], cwd=ROOT, capture_output=True, text=True, check=True)
    kept, left = map(int, said.stdout.split())
    if kept < 64 << 20:
        pytest.skip("this C library keeps nothing")
    assert left < 16 << 20


@pytest.mark.parametrize(("limits", "least"), [
    ({"a/b": "1000\n"}, 1000),
    ({"a/b": "max\n"}, None),
    ({"a/b": "3000\n", "a": "2000\n", ".": "max\n"}, 2000),
    ({"a/b": "max\n", "a/b/c": "7\n", "d": "8\n"}, None),
    ({"a/b": "garbage\n", "a": "5\n"}, 5),
    ({}, None),
])
def test_the_least_limit_up_to_the_root_holds(tmp_path: Path, limits: dict[str, str], least: int | None) -> None:
    groups, mine = tmp_path / "groups", tmp_path / "mine"
    for group, text in limits.items():
        (groups / group).mkdir(parents=True, exist_ok=True)
        (groups / group / "memory.max").write_text(text)
    mine.write_text("4:memory:/elsewhere\n0::/a/b\n")
    assert group_memory(groups, mine) == least


def test_a_container_sees_itself_as_the_root(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("123\n")
    (tmp_path / "mine").write_text("0::/\n")
    assert group_memory(tmp_path, tmp_path / "mine") == 123


def test_where_there_are_no_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert group_memory(tmp_path, tmp_path / "nothing") is None
