from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.controlplane.journal.errors import StateError
from proxy.controlplane.journal.secret import SIZE, load_secret
from proxy.controlplane.workers.descriptors import affordable_connections


def test_connections_are_as_configured_while_descriptors_suffice() -> None:
    assert affordable_connections(20_000, 1_000_000, workers=4) == 20_000
    assert affordable_connections(20_000, -1, workers=4) == 20_000


def test_connections_of_one_worker_stay_below_half_of_its_descriptors() -> None:
    for descriptors in (256, 1024, 65_536):
        for workers in (1, 2, 8):
            total = affordable_connections(10**9, descriptors, workers)
            assert 1 <= total / workers < descriptors / 2


def test_even_a_tiny_limit_leaves_one_connection_per_worker() -> None:
    assert affordable_connections(20_000, 10, workers=3) == 3


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    program = (
        "import resource; from proxy.controlplane.workers.descriptors import raise_descriptor_limit;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "assert raise_descriptor_limit() == hard == resource.getrlimit(resource.RLIMIT_NOFILE)[0]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_secret_outlives_a_restart_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    secret = load_secret(str(folder))
    assert len(secret) == SIZE
    assert load_secret(str(folder)) == secret
    assert [(file.name, file.stat().st_mode & 0o777) for file in folder.iterdir()] == [("secret", 0o600)]


def test_without_a_folder_every_start_has_its_own_secret() -> None:
    assert load_secret(None) != load_secret(None)


def test_the_secret_of_a_predecessor_goes_on_where_there_is_none_and_nothing_else_is_taken_for_one(
    tmp_path: Path,
) -> None:
    handed = b"h" * SIZE
    assert load_secret(None, handed) == load_secret(str(tmp_path / "new"), handed) == handed
    assert load_secret(str(tmp_path / "new"), b"i" * SIZE) == handed, "what is there has signed cookies already"
    assert len(load_secret(str(tmp_path / "other"), b"short")) == SIZE


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(StateError, match="damaged"):
        load_secret(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"choose another `state_dir`"):
        load_secret(str(tmp_path / "file" / "state"))
