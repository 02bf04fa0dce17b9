from __future__ import annotations

import pytest

from proxy.core import shedding


@pytest.fixture(autouse=True)
def whatever_the_machine_has_to_do_nothing_is_shed(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests count copies. That fewer are made where the loop is late is told in the tests of `core.shedding`."""
    monkeypatch.setattr(shedding, "LAG_S", float("inf"))
    monkeypatch.setattr(shedding, "SLOWER_BY_S", float("inf"))
