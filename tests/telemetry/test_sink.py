from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from proxy.clock import monotonic
from proxy.telemetry import logs
from proxy.telemetry.sink import Sink


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass


def test_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    lines = [b"line %d\n" % number for number in range(5000)]
    with open(tmp_path / "log", "ab") as file:
        sink = Sink(file.fileno(), "test")
        assert all(sink.write(line) for line in lines)
        sink.close(10.0)
    assert (tmp_path / "log").read_bytes() == b"".join(lines)
    assert sink.dropped == 0


def fill(fd: int) -> int:
    try:
        return os.write(fd, b"x" * 4096)
    except BlockingIOError:
        return 0


def test_a_reader_that_is_stuck_costs_lines_and_never_time(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    os.set_blocking(write_end, False)
    while fill(write_end):
        pass
    os.set_blocking(write_end, True)
    sink = Sink(write_end, "test", capacity=10_000)
    began = monotonic()
    accepted = sum(sink.write(b"x" * 99 + b"\n") for _ in range(10_000))
    assert monotonic() - began < 2.0
    assert 100 <= accepted < 10_000
    assert sink.dropped == 10_000 - accepted
    sink.close(0.05)
    assert sink.dropped > 10_000 - accepted
    os.close(read_end)  # lets go of the writing thread


def test_lines_of_two_processes_on_one_pipe_do_not_interleave(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(read_end, "rb", closefd=False) as stream:
            got.extend(stream)

    reader = threading.Thread(target=read)
    reader.start()
    sinks = [Sink(write_end, name) for name in ("a", "b")]
    lines = {b"%d-%d %b\n" % (which, number, b"y" * 200) for which in (0, 1) for number in range(1000)}
    for line in sorted(lines):
        assert sinks[line[0] - ord("0")].write(line)
    for sink in sinks:
        sink.close(10.0)
    os.close(write_end)
    reader.join(10.0)
    assert set(got) == lines


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    os.close(read_end)
    sink = Sink(write_end, "test")
    assert sink.write(b"nobody reads this\n")
    sink.close(10.0)
    assert sink.dropped == 1
    assert not sink.write(b"closed\n")


def test_events_are_json_lines_without_credentials(tmp_path: Path) -> None:
    with open(tmp_path / "events", "a") as stream:
        sink = logs.configure(stream)
        structlog.get_logger("x").warning(
            "connected", url="http://me:hush@host/", token="hush", nested={"Authorization": "hush", "n": [1, "a"]}
        )
        sink.close(5.0)
    structlog.reset_defaults()
    text = (tmp_path / "events").read_text()
    assert "hush" not in text
    event = json.loads(text)
    assert event["event"] == "connected"
    assert event["level"] == "warning"
    assert event["url"].endswith("@host/")
    assert event["nested"]["n"] == [1, "a"]
