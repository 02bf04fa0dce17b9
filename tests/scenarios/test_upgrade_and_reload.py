"""While a successor reads the file nobody else does, and who asks for a second one changes nothing about the first."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.cli.client import Refused, get
from proxy.errors import TurnoutError
from tests.support.front import write_file
from tests.support.origins import StrictOrigin, ok
from tests.support.turnout import Turnout, running


class Halfway:
    """An upgrade of `turnout` whose successor waits for the file: it has become a pipe, and nobody writes to it."""

    def __init__(self, turnout: Turnout, file: Path) -> None:
        self.turnout = turnout
        self.answers: list[object] = []
        self._file = file
        self._good = file.read_text()
        assert turnout.admin
        file.unlink()
        os.mkfifo(file)
        self._asking = threading.Thread(target=self._ask)
        self._asking.start()
        turnout.event("upgrading")

    def _ask(self) -> None:
        try:
            self.answers.append(self.turnout.post("/api/v1/upgrade", {"reason": "the first"})["pid"])
        except TurnoutError as error:
            self.answers.append(str(error))

    def refused(self, path: str) -> str:
        """Why this cannot be done now."""
        with pytest.raises(Refused) as error:
            self.turnout.post(path, {"reason": "the second"})
        assert (error.value.status, error.value.kind) == (503, "handing-over")
        return error.value.detail

    def go_on(self, bad: bool = False) -> object:
        """Let the successor read the file, or something that is none; returns what the upgrade was answered with."""
        self._file.write_text("listen: [" if bad else self._good)
        self._asking.join()
        self._file.unlink()
        self._file.write_text(self._good)
        return self.answers[0]


@contextmanager
def halfway(folder: Path) -> Iterator[Halfway]:
    with StrictOrigin(lambda _: ok(b"old")) as old:
        file = write_file(folder, {"old": old.url}, [{"name": "shop", "split": {"old": 1}}], workers=1, watch="none")
        with running("-c", str(file)) as turnout:
            yield Halfway(turnout, file)


def test_during_an_upgrade_nothing_is_reloaded_also_when_another_upgrade_is_asked_for(tmp_path: Path) -> None:
    with halfway(tmp_path) as upgrade:
        because = "nothing was reloaded: an upgrade reads the file anew; ask again when it is through"
        assert upgrade.refused("/api/v1/config/reload") == because
        assert "an upgrade is under way" in upgrade.refused("/api/v1/upgrade")
        assert upgrade.refused("/api/v1/config/reload") == because
        assert "nothing has changed" in str(upgrade.go_on(bad=True))
        assert upgrade.turnout.post("/api/v1/config/reload")["revision"] == 1


def test_an_upgrade_is_journaled_with_its_own_reason_also_when_another_one_is_asked_for(tmp_path: Path) -> None:
    with halfway(tmp_path) as upgrade:
        assert "an upgrade is under way" in upgrade.refused("/api/v1/upgrade")
        assert isinstance(upgrade.go_on(), int)
        serving = upgrade.turnout.event("serving", 2)
        upgraded = get(f"http://{serving['admin']}", "/api/v1/events")["events"][-1]
        assert (upgraded["verb"], "the first" in upgraded["reason"]) == ("upgrade", True)
        assert upgrade.turnout.post("/api/v1/config/reload")["revision"] == 1
