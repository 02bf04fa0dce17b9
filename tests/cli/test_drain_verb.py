"""`turnout drain` and `turnout restore`: what they ask, what they say, and when a drain that waits returns."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import WITHIN_S
from tests.support.origins import Origin, Peer
from tests.support.scripted_api import Answer, ScriptedApi, refusal, scripted, turnout

ROOT = str(Path(__file__).resolve().parents[2])
A, B = "http://10.0.0.1:9001", "http://10.0.0.2:9001"
DRAIN, RESTORE = "POST /api/v1/versions/old/drain", "POST /api/v1/versions/old/restore"
Json = dict[str, Any]


def server(address: str, *, drained: bool = False, in_flight: int = 0, idle: bool = False) -> Json:
    return {"address": address, "state": "drained" if drained else "up", "why": "", "phi": None, "in_flight": in_flight,
            "idle": idle, "drained": drained, "probe": None, "ejected_until_s": None}


def view(*servers: Json) -> Json:
    drained = all(each["drained"] for each in servers)
    return {"name": "old", "state": "drained" if drained else "up", "why": "",
            "in_flight": sum(each["in_flight"] for each in servers), "idle": all(each["idle"] for each in servers),
            "queue": 0, "limit": None, "servers": list(servers)}


def answered(version: Json, of: str | None = B, **more: Any) -> Answer:
    return Answer({"revision": 85, "dry_run": False, "applied": {"workers": 4, "of": 4, "replaced": []}, "took_ms": 2.1,
                   "notes": [], "server": of, "version": version, **more})


BUSY = view(server(A), server(B, drained=True, in_flight=3))
IDLE = view(server(A), server(B, drained=True, idle=True))


class Looked(ScriptedApi):
    """Every look at the version sees the next one of these."""

    def __init__(self, drain: Answer, *views: Answer) -> None:
        super().__init__({DRAIN: drain})
        self._views = iter(views)

    def script(self, peer: Peer) -> None:
        request = peer.request()
        if request is not None:
            self.asked.append(request)
            peer.send((next(self._views) if request.method == b"GET" else self.answers[DRAIN]).as_bytes())


class Broken(Answer):
    """The connection ends without an answer."""

    def as_bytes(self) -> bytes:
        return b""


def waiting(api: Looked, *arguments: str) -> Any:
    with Origin(api.script) as origin:
        return turnout("drain", "old", B, "--wait", *arguments, admin=origin.url)


def test_a_drain_says_what_holds_now_and_what_to_type_next() -> None:
    with scripted({DRAIN: answered(BUSY)}) as (url, api):
        result = turnout("drain", "old", B, "-m", "kernel", admin=url)
    assert result.exit_code == 0
    assert api.body() == {"server": B, "reason": "kernel"}
    assert result.stdout.splitlines() == [
        "old: up",
        f"  {A}  up",
        f"  {B}  drained, 3 in flight",
        "Revision 85, applied by 4 of 4 workers in 2.1 ms.",
        f"`turnout drain old {B} --wait` says when it can be stopped; `turnout restore old {B}` brings it back.",
    ]


def test_a_whole_version_is_drained_and_notes_are_shown() -> None:
    with scripted({DRAIN: answered(BUSY, None, notes=["requests go elsewhere\x1b[2J"])}) as (url, api):
        result = turnout("drain", "old", "--force", admin=url)
    assert api.body() == {"force": True}
    assert "note: requests go elsewhere\N{REPLACEMENT CHARACTER}[2J" in result.stdout
    assert "`turnout restore old` brings it back." in result.stdout


def test_a_dry_run_is_passed_on_and_says_so() -> None:
    with scripted({DRAIN: answered(BUSY, applied=None, dry_run=True)}) as (url, api):
        result = turnout("drain", "old", B, "--dry-run", admin=url)
    assert api.last.target.endswith(b"/drain?dry_run=true")
    assert result.stdout.splitlines()[0] == "Nothing was changed; it would be:"
    assert "brings it back" not in result.stdout


def test_restore_brings_back_and_says_how_that_is_taken_back() -> None:
    with scripted({RESTORE: answered(view(server(A), server(B)))}) as (url, api):
        result = turnout("restore", "old", "10.0.0.2:9001", admin=url)
    assert api.body() == {"server": "10.0.0.2:9001"}
    assert result.stdout.splitlines()[-1] == f"`turnout drain old {B}` takes that back."


def test_what_was_so_already_needs_no_taking_back() -> None:
    with scripted({RESTORE: answered(view(server(A), server(B)), applied=None)}) as (url, _):
        assert turnout("restore", "old", admin=url).stdout.splitlines()[-1] == "Revision 85: it was so already."


def test_fewer_workers_than_there_are_is_a_warning() -> None:
    with scripted({DRAIN: answered(BUSY, applied={"workers": 3, "of": 4, "replaced": [1]})}) as (url, _):
        assert "warning: 3 of 4 workers" in turnout("drain", "old", B, admin=url).stderr


@pytest.mark.parametrize("verb", ["drain", "restore"])
def test_json_is_what_the_api_said(verb: str) -> None:
    answer = answered(BUSY)
    with scripted({DRAIN: answer, RESTORE: answer}) as (url, _):
        assert json.loads(turnout(verb, "old", B, "--json", admin=url).stdout) == answer.body


def test_waiting_returns_when_it_is_idle_and_tells_how_many_are_left_meanwhile() -> None:
    less = view(server(A, in_flight=9), server(B, drained=True, in_flight=1))
    result = waiting(Looked(answered(BUSY), Answer(BUSY), Answer(less), Answer(IDLE)))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[3:] == [
        "Revision 85, applied by 4 of 4 workers in 2.1 ms.", "3 in flight", "1 in flight",
        f"Idle: stop it now. `turnout restore old {B}` brings it back.",
    ]


def test_nothing_in_flight_is_not_idle_until_every_worker_has_said_so() -> None:
    quiet = view(server(A), server(B, drained=True))
    api = Looked(answered(quiet), Answer(quiet), Answer(IDLE))
    assert waiting(api).exit_code == 0
    assert len(api.asked) == 3


def test_what_is_idle_at_once_is_not_waited_for() -> None:
    api = Looked(answered(IDLE))
    assert waiting(api).exit_code == 0
    assert len(api.asked) == 1


def test_time_that_is_up_is_exit_1_with_what_to_do() -> None:
    result = waiting(Looked(answered(BUSY), *[Answer(BUSY)] * 100), "--within", "50ms")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "turnout: still 3 in flight after 0.05 s",
        f"`turnout drain old {B} --wait` waits on; `turnout restore old {B}` brings it back.",
    ]


def test_a_server_that_somebody_restores_meanwhile_is_waited_for_no_more() -> None:
    result = waiting(Looked(answered(BUSY), Answer(view(server(A), server(B)))))
    assert result.exit_code == 1
    assert f"old {B} is no longer drained; `turnout events` says who changed that" in result.stderr


def test_a_server_that_the_file_names_no_more_is_waited_for_no_more() -> None:
    result = waiting(Looked(answered(BUSY), Answer(view(server(A)))))
    assert result.exit_code == 1
    assert "no longer drained" in result.stderr


def test_a_whole_version_is_waited_for_as_a_whole() -> None:
    half = view(server(A, drained=True, idle=True), server(B, drained=True, in_flight=2))
    done = view(server(A, drained=True, idle=True), server(B, drained=True, idle=True))
    api = Looked(answered(half, None), Answer(half), Answer(done))
    with Origin(api.script) as origin:
        result = turnout("drain", "old", "--wait", admin=origin.url)
    assert result.exit_code == 0
    assert "2 in flight" in result.stdout
    assert len(api.asked) == 3


def test_an_upgrade_meanwhile_does_not_end_the_waiting() -> None:
    assert waiting(Looked(answered(BUSY), Broken(), Answer(IDLE))).exit_code == 0


def test_ctrl_c_ends_the_waiting_and_not_the_drain() -> None:
    api = Looked(answered(BUSY), *[Answer(BUSY)] * 1000)
    with Origin(api.script) as origin, subprocess.Popen(
        [sys.executable, "-P", "-m", "proxy", "drain", "old", B, "--wait", "--admin", origin.url], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT},
    ) as waits:
        assert waits.stdout is not None
        assert [waits.stdout.readline() for _ in range(5)][-1] == "3 in flight\n"
        waits.send_signal(signal.SIGINT)
        _, said = waits.communicate(timeout=WITHIN_S)
        assert waits.returncode == 1
    assert said == (f"turnout: old {B} stays drained; `turnout drain old {B} --wait` waits on; "
                    f"`turnout restore old {B}` brings it back.\n")


def test_a_program_that_waits_gets_one_document_with_the_last_look() -> None:
    result = waiting(Looked(answered(BUSY), Answer(BUSY), Answer(IDLE)), "--json")
    found = json.loads(result.stdout)
    assert (found["revision"], found["version"]) == (85, IDLE)


@pytest.mark.parametrize(("arguments", "said"), [
    (["--within", "5s"], "--within goes with --wait"), (["--wait", "--dry-run"], "exclude each other"),
    (["--wait", "--within", "soon"], "soon"),
])
def test_options_that_make_no_sense_are_usage_errors_and_ask_nothing(arguments: list[str], said: str) -> None:
    with scripted({}) as (url, api):
        result = turnout("drain", "old", B, *arguments, admin=url)
    assert result.exit_code == 2
    assert said in result.stderr
    assert api.asked == []


def test_a_server_that_is_needed_is_a_conflict_and_force_is_named() -> None:
    with scripted({DRAIN: refusal(409, "last-server", "move them first (`turnout weight shop old=0 new=100`)")}) as (
            url, _):
        result = turnout("drain", "old", B, admin=url)
    assert result.exit_code == 5
    assert result.stderr.splitlines() == [
        "turnout: move them first (`turnout weight shop old=0 new=100`)",
        "--force drains it all the same: requests that have nowhere to go get 503 then.",
    ]


def test_an_unknown_version_is_told_which_there_are() -> None:
    answers = {"POST /api/v1/versions/odl/drain": refusal(404, "unknown-version", "no version is called `odl`"),
               "GET /api/v1/versions": Answer({"revision": 1, "versions": [{"name": "old"}, {"name": "new"}]})}
    with scripted(answers) as (url, _):
        result = turnout("drain", "odl", admin=url)
    assert result.exit_code == 1
    assert "Versions are: old, new." in result.stderr


def test_a_version_of_any_name_stands_in_the_path_as_one_step() -> None:
    with scripted({}) as (url, api):
        turnout("restore", "a/../b", admin=url)
    assert api.asked[0].target == b"/api/v1/versions/a%2F..%2Fb/restore"
