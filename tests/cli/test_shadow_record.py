from __future__ import annotations

import json
import os
import pty
import signal
import socket
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


OFF = b'{"ended":"off"}\n'
LEAVING = b'{"ended":"leaving"}\n'
WHY_OFF = "turnout: the recording ended early: nothing of the route is compared any more\n"


class Stream:
    """Answers the request for a recording with these pieces, and ends it in order or not at all.

    `ends`: the last piece; as a rule it says that nothing is compared any more, so that nobody asks again.
    """

    def __init__(self, *pieces: bytes, ends: bytes | None = OFF) -> None:
        self.pieces = pieces
        self.ends = ends
        self.asked: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        request = peer.request()
        assert request is not None
        self.asked.append(request.target)
        peer.send(HEAD, *map(chunk, self.pieces))
        if self.ends is not None:
            peer.send(chunk(self.ends) if self.ends else b"", b"0\r\n\r\n")
        else:
            peer.read_to_end()


class InTurn:
    """Each connection has the next of these scripts."""

    def __init__(self, *scripts: Callable[[Peer], None]) -> None:
        self.scripts = scripts

    def __call__(self, peer: Peer) -> None:
        self.scripts[peer.number](peer)


def breaks(peer: Peer) -> None:
    """Sends a pair and the beginning of another, and is gone, as one that was killed."""
    peer.request()
    peer.send(HEAD, chunk(line(1)), b"40\r\n{")


def recorded(stream: Callable[[Peer], None], path: Path, *options: str) -> tuple[int, str, str]:
    with Origin(stream) as origin:
        result = turnout("shadow", "shop", "record", str(path), *options, admin=origin.url)
    return result.exit_code, result.stdout, result.stderr


def test_every_pair_becomes_a_line_that_only_its_owner_can_read(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    stream = Stream(b"\n", line(1) + line(2)[:40], line(2)[40:] + b"\n", line(3))
    code, text, errors = recorded(stream, file, "--sample", "10%")
    assert (code, errors) == (1, WHY_OFF)
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
    code, _, errors = recorded(Stream(line(1), ends=None), file, "--for", "300ms")
    assert (code, errors) == (0, "")
    assert file.read_bytes() == line(1)


def test_a_recording_goes_on_when_turnout_is_there_again(tmp_path: Path) -> None:
    def busy(peer: Peer) -> None:
        peer.request()
        peer.send(refusal(503, "", "this process is leaving").as_bytes())

    file = tmp_path / "x"
    script = InTurn(breaks, busy, Stream(line(2), ends=LEAVING), Stream(line(3), ends=b""), Stream(b"\n", line(4)))
    code, text, errors = recorded(script, file)
    assert file.read_bytes() == b"".join(map(line, range(1, 5)))
    assert (code, errors.count("; trying again\n")) == (1, 3)
    assert "4 requests" in text
    assert "Turnout was lost 3 times: what passed meanwhile is not in it." in text


def test_a_recording_whose_turnout_does_not_come_back_in_its_time_is_no_success(tmp_path: Path) -> None:
    def refuses(peer: Peer) -> None:
        peer.reset()

    with Origin(lambda peer: refuses(peer) if peer.number else breaks(peer)) as origin:
        result = turnout("shadow", "shop", "record", str(tmp_path / "x"), "--for", "700ms", admin=origin.url)
    assert result.exit_code == 4
    assert result.stderr.count("; trying again") == 1
    assert "turnout: the recording ended early: " in result.stderr
    assert (tmp_path / "x").read_bytes() == line(1)


def test_a_recording_that_may_not_go_on_says_why(tmp_path: Path) -> None:
    def refuses(peer: Peer) -> None:
        peer.request()
        peer.send(refusal(409, "no-comparison", "nothing of `shop` is compared").as_bytes())

    code, text, errors = recorded(InTurn(Stream(line(1), ends=LEAVING), refuses), tmp_path / "x", "--json")
    assert code == 5
    assert "turnout: the recording ended early: nothing of `shop` is compared\n" in errors
    assert (json.loads(text)["requests"], json.loads(text)["interruptions"]) == (1, 1)


def test_nobody_records_with_a_token_that_is_good_no_more(tmp_path: Path) -> None:
    code, _, errors = recorded(Stream(line(1), ends=b'{"ended":"forbidden"}\n'), tmp_path / "x")
    assert (code, errors) == (1, "turnout: the recording ended early: the token is no longer good for it\n")


def test_a_route_without_a_comparison_cannot_be_recorded(tmp_path: Path) -> None:
    def refuses(peer: Peer) -> None:
        peer.request()
        peer.send(refusal(409, "no-comparison", "nothing of `shop` is compared").as_bytes())

    code, _, errors = recorded(refuses, tmp_path / "x")
    assert code == 5
    assert "nothing of `shop` is compared" in errors
    assert not (tmp_path / "x").exists()


def test_a_file_that_was_there_stays_when_nothing_can_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert turnout("shadow", "shop", "record", str(tmp_path / "x"), admin=f"unix:{tmp_path}/none").exit_code == 4
    assert (tmp_path / "x").exists()


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    stream = Stream(line(1))
    code, _, errors = recorded(stream, tmp_path / "none" / "x")
    assert code == 1
    assert "cannot be written: No such file or directory" in errors
    assert stream.asked == []


def read_until(master: int, text: bytes) -> bytes:
    """What a terminal shows, up to and with this."""
    shown = b""
    while text not in shown:
        shown += os.read(master, 4096)
    return shown


def test_ctrl_c_ends_it_with_what_there_is(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with Origin(Stream(line(1), ends=None)) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "shadow", "shop", "record", str(tmp_path / "x")], text=True,
        stdout=subprocess.PIPE, stderr=slave, env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url},
    ) as process:
        read_until(master, b"1 request, ")      # tells when the line was written
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    os.close(slave)
    os.close(master)
    assert process.returncode == 0
    assert f"{tmp_path}/x: 1 request, " in output
    assert (tmp_path / "x").read_bytes() == line(1)


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a directory"])
def test_only_a_regular_file_is_written(kind: str, tmp_path: Path) -> None:
    path, stream = tmp_path / "x", Stream(line(1))
    if kind == "a pipe":
        os.mkfifo(path, 0o640)
    elif kind == "a directory":
        path.mkdir(0o750)
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    before = path.stat()
    code, _, errors = recorded(stream, path)
    assert (code, stream.asked) == (1, [])
    assert f"{path} cannot be written: it is {kind} and not a regular file" in errors
    assert (path.stat().st_mode, path.stat().st_ino) == (before.st_mode, before.st_ino)


def test_a_full_disk_leaves_whole_lines_and_is_told_with_what_was_written(tmp_path: Path) -> None:
    file, room = tmp_path / "x", 2 * len(line(1)) + 20
    program = (f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
               "runpy.run_module('proxy', run_name='__main__')")
    with Origin(Stream(line(1) + line(2) + line(3), ends=None)) as origin:
        result = subprocess.run(
            [sys.executable, "-P", "-B", "-c", program, "shadow", "shop", "record", str(file), "--for", "300ms"],
            text=True, capture_output=True, timeout=30, check=False,
            env={"PYTHONPATH": ROOT, "TURNOUT_ADMIN": origin.url})
    assert result.returncode == 1, result.stderr
    assert file.read_bytes() == line(1) + line(2)
    assert f"the recording ended early: {file} cannot be written: File too large" in result.stderr
    assert f"{file}: 2 requests, " in result.stdout


def test_half_a_line_that_was_there_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_bytes(b'one\n{"half')
    with RotatedFile(str(path), max_size=1000, keep=1) as file:
        file.write(b"two")
    assert path.read_bytes() == b'one\n{"half\ntwo\n'
    assert (file.lines, file.bytes) == (1, 4)


def test_what_was_rotated_away_and_which_files_are_left_is_told(tmp_path: Path) -> None:
    file, options = tmp_path / "my shop", ("--max-size", "64KiB", "--keep", "1")
    lines = [json.dumps(pair(f"/{number}", body={"text": 30_000 * "x"})).encode() + b"\n" for number in range(7)]
    _, text, _ = recorded(Stream(*lines), file, *options)
    assert text.splitlines() == [
        f"{file}: 7 requests, 0.2 MiB.",
        "The oldest 4 were rotated away (--keep, --max-size): 3 are left.",
        f"They are in 2 files, the oldest first: {file}.1, {file}.",
        f"Next: `cat '{file}.1' '{file}' | turnout replay - --to URL` sends them again and compares.",
    ]
    assert (tmp_path / "my shop.1").read_bytes() + file.read_bytes() == b"".join(lines[4:])
    _, text, _ = recorded(Stream(*lines), tmp_path / "y", *options, "--json")
    answer = json.loads(text)
    assert (answer["requests"], answer["rotated_away"]) == (7, 4)
    assert answer["files"] == [f"{tmp_path}/y.1", f"{tmp_path}/y"]


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
    assert "\r\x1b[Kturnout: the recording ended early" in shown
    assert "2 requests" in output
