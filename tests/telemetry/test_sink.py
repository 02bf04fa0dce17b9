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
from proxy.telemetry.outlet import LogFile
from proxy.telemetry.sink import Sink
from tests.support.deadline import wait_until


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
    wait_until(lambda: sink.ended, "the thread leaves")


def test_what_was_stuck_when_its_sink_was_closed_never_gets_into_a_descriptor_of_the_same_number(
    pipe: tuple[int, int]
) -> None:
    read_end, write_end = pipe
    os.set_blocking(write_end, False)
    while fill(write_end):
        pass
    os.set_blocking(write_end, True)
    several_writes = b"".join([b"y" * 99 + b"\n"] * 100)
    sink = Sink(write_end, "test", capacity=len(several_writes))
    assert sink.write_many(several_writes, 100)
    wait_until(lambda: sink.write_many(several_writes, 100), "the thread has the first ones in hand")
    sink.close(0.0)
    inherited, other = os.pipe()
    os.dup2(other, write_end)  # what the next open() may well do with the number of a closed descriptor
    os.close(other)
    drain = threading.Thread(target=lambda: b"".join(iter(lambda: os.read(read_end, 65536), b"")))
    drain.start()
    wait_until(lambda: sink.ended, "the thread leaves")
    drain.join(10.0)
    os.close(write_end)
    assert os.read(inherited, 1) == b""
    os.close(inherited)


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


def test_lines_handed_over_together_are_counted_each_when_they_are_lost(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    stuff(write_end)
    sink = Sink(write_end, "test", capacity=1000)
    batch = b"a line of 20 bytes.\n" * 40
    taken = [sink.write_many(batch, 40) for _ in range(10)]
    assert sink.dropped == 40 * taken.count(False)
    sink.close(0.05)
    assert sink.dropped == 400
    os.close(read_end)


def stuff(fd: int) -> None:
    """Fill a pipe to the brim."""
    os.set_blocking(fd, False)
    while fill(fd):
        pass
    os.set_blocking(fd, True)


def test_batches_are_cut_at_lines_for_a_pipe(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    sinks = [Sink(write_end, name) for name in ("a", "b")]
    batches = [b"".join(b"%d-%d %b\n" % (which, number, b"z" * (number % 900)) for number in range(500))
               for which in (0, 1)]
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(read_end, "rb", closefd=False) as stream:
            got.extend(stream)

    reader = threading.Thread(target=read)
    reader.start()
    for sink, batch in zip(sinks, batches, strict=True):
        assert sink.write_many(batch, 500)
    for sink in sinks:
        sink.close(10.0)
        assert sink.dropped == 0
    os.close(write_end)
    reader.join(10.0)
    assert sorted(got) == sorted(batches[0].splitlines(keepends=True) + batches[1].splitlines(keepends=True))


def test_a_file_is_made_private_to_its_group_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(2):
        sink = Sink(str(path), "test")
        assert sink.write(b"line\n")
        sink.close(5.0)
        assert sink.ended
    assert path.read_bytes() == b"line\nline\n"
    assert path.stat().st_mode & 0o137 == 0


def test_a_file_that_was_moved_away_is_made_anew_and_one_that_was_not_is_kept(tmp_path: Path) -> None:
    path, moved = tmp_path / "log", tmp_path / "moved"
    clock = [0.0]
    file = LogFile(str(path), lambda: clock[0])

    def write(line: bytes) -> None:
        file.ready()
        assert file.write(memoryview(line)) == len(line)

    write(b"1\n")
    clock[0] += 1.0
    write(b"2\n")
    path.rename(moved)
    write(b"3\n")  # it has looked less than a second ago
    clock[0] += 1.0
    write(b"4\n")
    file.close()
    assert (moved.read_bytes(), path.read_bytes()) == (b"1\n2\n3\n", b"4\n")


def test_a_fifo_that_nobody_reads_is_a_failure_and_no_endless_wait(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        LogFile(str(path)).ready()


def test_a_path_that_cannot_be_opened_is_tried_again_while_nothing_is_written(tmp_path: Path) -> None:
    directory = tmp_path / "later"
    sink = Sink(str(directory / "log"), "test")
    wait_until(lambda: sink.failed, "it says that it has failed")
    assert sink.write(b"lost\n")
    wait_until(lambda: sink.dropped == 1, "the line is counted")
    directory.mkdir()
    wait_until(lambda: not sink.failed, "it has tried again")
    assert sink.write(b"kept\n")
    sink.close(5.0)
    assert (directory / "log").read_bytes() == b"kept\n"


def test_a_full_disk_costs_exactly_the_lines_that_were_not_written() -> None:
    sink = Sink("/dev/full", "test")
    assert sink.write_many(b"one\ntwo\n", 2)
    sink.close(5.0)
    assert sink.dropped == 2
    assert sink.failed


def test_a_retired_sink_writes_what_it_has_and_lets_go(tmp_path: Path) -> None:
    sink = Sink(str(tmp_path / "log"), "test")
    assert sink.write(b"last words\n")
    sink.retire()
    assert not sink.write(b"too late\n")
    wait_until(lambda: sink.ended, "the thread has ended")
    assert (tmp_path / "log").read_bytes() == b"last words\n"
    assert sink.dropped == 1
