from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.shadow.rotation import RotatedFile
from tests.support.origins import Origin, Peer
from tests.support.scripted_api import refusal, turnout
from tests.support.shadow_answers import pair

ROOT = str(Path(__file__).resolve().parents[2])
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def line(number: int) -> bytes:
    return json.dumps(pair(f"/items/{number}")).encode() + b"\n"


class Stream:
    """Answers the request for a recording with these pieces, and ends it or not."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.pieces = pieces
        self.ends = ends
        self.asked: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        self.asked.append(request.target)
        peer.send(HEAD, *map(chunk, self.pieces))
        if self.ends:
            peer.send(b"0\r\n\r\n")
        else:
            peer.read_to_end()


def recorded(stream: Callable[[Peer], None], path: Path, *options: str) -> tuple[int, str, str]:
    with Origin(stream) as origin:
        result = turnout("shadow", "shop", "record", str(path), *options, admin=origin.url)
    return result.exit_code, result.stdout, result.stderr


def test_every_pair_becomes_a_line_that_only_its_owner_can_read(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    stream = Stream(b"\n", line(1) + line(2)[:40], line(2)[40:] + b"\n", line(3))
    code, text, _ = recorded(stream, file, "--sample", "10%")
    assert code == 0
    assert stream.asked == [b"/api/v1/routes/shop/shadow/record?sample=0.1"]
    assert file.read_bytes() == line(1) + line(2) + line(3)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert text.splitlines() == [f"{file}: 3 requests, 0.0 MiB.",
                                 f"Next: `turnout replay {file} --to URL` sends them again and compares."]


def test_lines_that_were_lost_are_counted_and_not_written(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    _, text, _ = recorded(Stream(line(1), b'{"lost": 4}\n', b'{"lost":3}\n'), file, "--json")
    answer = json.loads(text)
    assert (answer["requests"], answer["lost"], answer["bytes"]) == (1, 7, len(line(1)))
    assert file.read_bytes() == line(1)


def test_it_ends_by_itself_when_its_time_is_over(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    code, _, errors = recorded(Stream(line(1), ends=False), file, "--for", "300ms")
    assert (code, errors) == (0, "")
    assert file.read_bytes() == line(1)


def test_what_was_recorded_before_the_connection_broke_is_kept(tmp_path: Path) -> None:
    def breaks(peer: Peer) -> None:
        peer.request()
        peer.send(HEAD, chunk(line(1)), b"40\r\n{")

    code, _, errors = recorded(breaks, tmp_path / "x")
    assert code == 4
    assert "lost Turnout" in errors
    assert (tmp_path / "x").read_bytes() == line(1)


def test_a_route_without_a_comparison_cannot_be_recorded(tmp_path: Path) -> None:
    def refuses(peer: Peer) -> None:
        peer.request()
        peer.send(refusal(409, "no-comparison", "nothing of `shop` is compared").as_bytes())

    code, _, errors = recorded(refuses, tmp_path / "x")
    assert code == 5
    assert "nothing of `shop` is compared" in errors


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    stream = Stream(line(1))
    code, _, errors = recorded(stream, tmp_path / "none" / "x")
    assert code == 1
    assert "cannot be written: No such file or directory" in errors
    assert stream.asked == []


def test_ctrl_c_ends_it_with_what_there_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)         # tells when the line was written
    with Origin(Stream(line(1), b"\n", ends=False)) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "shadow", "shop", "record", str(pipe)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url},
    ) as process, pipe.open("rb") as reading:
        assert reading.readline() == line(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert f"{pipe}: 1 request, " in output


def test_a_file_is_turned_before_it_grows_too_large_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with RotatedFile(str(path), max_size=20, keep=2) as file:
        for number in range(9):
            file.write(b"line-%04d" % number)
    assert path.read_text().split() == ["line-0008"]
    assert (tmp_path / "r.1").read_text().split() == ["line-0006", "line-0007"]
    assert (tmp_path / "r.2").read_text().split() == ["line-0004", "line-0005"]
    assert sorted(os.listdir(tmp_path)) == ["r", "r.1", "r.2"]
    assert (file.lines, file.bytes) == (9, 90)


def test_without_old_files_only_the_newest_lines_stay(tmp_path: Path) -> None:
    with RotatedFile(str(tmp_path / "r"), max_size=10, keep=0) as file:
        file.write(b"one")
        file.write(b"two")
        file.write(b"three")
    assert (tmp_path / "r").read_text().split() == ["three"]


def test_a_recording_goes_on_in_a_file_that_is_there_and_makes_it_private(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("before\n")
    path.chmod(0o644)
    with RotatedFile(str(path), max_size=1000, keep=1) as file:
        file.write(b"after")
    assert path.read_text() == "before\nafter\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_not_followed_to_somebody_else_s_file(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("x")
    (tmp_path / "r").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic"):
        RotatedFile(str(tmp_path / "r"), max_size=1000, keep=1)


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with Origin(Stream(line(1), line(2))) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "shadow", "shop", "record", str(tmp_path / "r")], text=True,
        stdout=subprocess.PIPE, stderr=slave, env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url},
    ) as process:
        output, _ = process.communicate(timeout=30)
    os.close(slave)
    shown = os.read(master, 4096).decode()
    os.close(master)
    assert shown.startswith("\r1 request, 0.0 MiB; Ctrl-C ends it")
    assert shown.endswith("\r\x1b[K")
    assert "2 requests" in output
