"""What the supervisor's log shows, and what it must not."""

from __future__ import annotations

import json
import os
import pty
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from proxy.telemetry.logs import configure


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logged(path: Path, **values: Any) -> dict[str, Any]:
    """One event as a line of JSON, read again."""
    with path.open("w") as stream:
        sink = configure(stream)
        structlog.get_logger("test").warning("said", **values)
        sink.close(5.0)
    line: dict[str, Any] = json.loads(path.read_text())
    return line


@pytest.mark.parametrize("key", [
    "token", "TURNOUT_TOKEN", "secret", "password", "Authorization", "set-cookie", "api_key"])
def test_what_is_called_a_credential_is_hidden_at_any_depth(key: str, tmp_path: Path) -> None:
    line = logged(tmp_path / "log", **{key: "s3cret"}, more={"list": [{key: "s3cret"}]})
    assert "s3cret" not in json.dumps(line)
    assert line[key] == line["more"]["list"][0][key] == "•••"


@pytest.mark.parametrize("value", [
    "cannot reach http://bob:s3cret@host:1/x", b"http://bob:s3cret@host:1", ["http://bob:s3cret@host"],
    OSError("http://bob:s3cret@host"), {"http://bob:s3cret@host"}, "sent Authorization: Bearer s3cret",
    "bearer  s3cret",
])
def test_what_looks_like_a_credential_is_hidden_in_whatever_it_stands(value: object, tmp_path: Path) -> None:
    assert "s3cret" not in json.dumps(logged(tmp_path / "log", value=value), ensure_ascii=False)


def test_an_exception_shows_no_credential_either(tmp_path: Path) -> None:
    line = logged(tmp_path / "log", exc_info=ValueError("http://bob:s3cret@host"))
    assert "ValueError" in line["exception"]
    assert "s3cret" not in line["exception"]


def test_numbers_and_lists_stay_what_they_are(tmp_path: Path) -> None:
    line = logged(tmp_path / "log", pid=7, share=0.5, ok=True, nothing=None, names=["a", "b"])
    assert {key: line[key] for key in ("pid", "share", "ok", "nothing", "names")} == {
        "pid": 7, "share": 0.5, "ok": True, "nothing": None, "names": ["a", "b"]}


def test_one_event_is_one_line_whatever_it_says(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(path, value='a\nb\r\x1b[2J\u2028\x85\x7f\U000e0001"}\n{"event": "forged"}')
    assert len(path.read_text().splitlines()) == 1
    assert path.read_text()[:-1].isprintable()


def test_what_others_wrote_does_not_steer_a_terminal() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with os.fdopen(slave, "w") as stream:
        sink = configure(stream)
        structlog.get_logger("test").warning("said", because="a\x1b]0;title\x07b\x9b2J\x7f", of=["\x1b[2J"])
        sink.close(5.0)
        shown = os.read(master, 65_536).decode()
    os.close(master)
    assert "said" in shown
    assert not any(bad in shown for bad in ("\x1b]", "\x07", "\x9b", "\x7f", "\x1b[2J"))
