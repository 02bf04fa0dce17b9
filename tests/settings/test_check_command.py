"""`turnout check` and `turnout schema` as an operator runs them, probes on real sockets."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.check import check
from proxy.cli.schema import schema
from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings.occupant import occupant
from proxy.settings.probe import try_bind, try_server


@pytest.fixture
def busy() -> Iterator[socket.socket]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return port_of(server)


def write(folder: Path, *, listen: str = "127.0.0.1:0", server: str = "http://127.0.0.1:1", more: str = "") -> str:
    file = folder / "turnout.yaml"
    file.write_text(
        f"listen: '{listen}'\nadmin: {{listen: '127.0.0.1:0'}}\nworkers: 2\n"
        f"versions: {{old: {{servers: ['{server}']}}}}\n"
        f"routes: [{{name: shop, split: {{old: 1}}, sticky: {{by: cookie}}}}]\n{more}"
    )
    return str(file)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check, arguments)


def test_a_right_file_is_summed_up(tmp_path: Path) -> None:
    file = write(tmp_path, listen="127.0.0.1:8080")
    result = run("-c", file)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{file}: ok",
        "  listen    127.0.0.1:8080 (2 workers)",
        "  admin     127.0.0.1:0 (this machine only, no token asked for)",
        f"  state     {tmp_path / '.turnout'}; access log off; this file is looked at every 1 s",
        "  versions  old (1 server)",
        "  route     shop: */ → old 100% (baseline old; sticky by cookie `turnout`)",
        f"  warning   {file}:5:30: routes[0].split: has a single version: rollback has nowhere to go "
        "(list another one, with weight 0)",
    ]


def test_the_summary_says_who_may_change_what_and_that_nothing_is_kept(tmp_path: Path) -> None:
    digest = "ab" * 32
    more = "state_dir: memory\nwatch: none\naccess_log: stdout\n"
    file = write(tmp_path, more=more)
    text = Path(file).read_text()
    admin = f"admin: {{listen: '127.0.0.1:0', tokens: [{{name: ci, role: operator, token_sha256: {digest}}}]}}"
    Path(file).write_text(text.replace("admin: {listen: '127.0.0.1:0'}", admin))
    lines = run("-c", file).output.splitlines()
    assert "  admin     127.0.0.1:0 (ci: operator)" in lines
    kept = "in memory: changes are forgotten at a restart"
    assert f"  state     {kept}; access log stdout; this file is not watched" in lines
    assert digest not in run("--json", "-c", file).output


def test_a_wrong_file_exits_3_with_every_problem_on_standard_error(tmp_path: Path) -> None:
    file = write(tmp_path, more="listn: x\nlimits: {head: 1}\n")
    result = run("-c", file)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{file}:6:1: listn: is not known (did you mean `listen`?)",
        f"{file}:7:16: limits.head: `1` has no unit: write `1B`, `1KiB` or `1MiB`",
        f"{file}: 2 problems",
    ]


def test_a_missing_file_exits_3(tmp_path: Path) -> None:
    result = run("-c", str(tmp_path / "none.yaml"))
    assert result.exit_code == 3
    assert "cannot be read: No such file or directory" in result.stderr


def test_problems_and_summaries_are_to_be_had_as_json(tmp_path: Path) -> None:
    wrong = json.loads(run("--json", "-c", write(tmp_path, more="listn: x\n")).stdout)
    assert wrong["ok"] is False
    assert wrong["problems"][0]["path"] == "listn"
    right = json.loads(run("--json", "-c", write(tmp_path)).stdout)
    assert right["ok"] is True
    assert right["routes"] == [{"name": "shop", "host": None, "path": "/", "baseline": "old", "shares": {"old": 100.0},
                                "shadow": None}]
    assert "probe" not in right


def test_a_probe_that_reaches_everything_exits_0(tmp_path: Path, busy: socket.socket) -> None:
    result = run("--probe", "-c", write(tmp_path, server=f"http://127.0.0.1:{port_of(busy)}"))
    assert result.exit_code == 0, result.output
    assert f"server    old http://127.0.0.1:{port_of(busy)}: connected in " in result.output


def test_a_probe_that_fails_exits_1_and_says_what_failed(tmp_path: Path, busy: socket.socket) -> None:
    file = write(tmp_path, listen=f"127.0.0.1:{port_of(busy)}", server=f"http://localhost:{free_port()}")
    result = run("--probe", "--json", "-c", file)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert [entry["ok"] for entry in found["probe"]] == [False, True, True, False]
    assert f"(pid {os.getpid()})" in found["probe"][0]["detail"]
    assert found["probe"][3]["detail"] == "refused: nothing listens there"


def test_a_probe_says_which_folder_or_file_cannot_be_written(tmp_path: Path, busy: socket.socket) -> None:
    (tmp_path / "file").touch()
    more = "state_dir: ./file/state\naccess_log: ./none/access.log\n"
    result = run("--probe", "-c", write(tmp_path, server=f"http://127.0.0.1:{port_of(busy)}", more=more))
    assert result.exit_code == 1
    failed = [line for line in result.output.splitlines() if "FAILED" in line]
    assert failed == [
        f"  state     {tmp_path}/file/state: FAILED: cannot be made: {tmp_path}/file is not a folder",
        f"  log       {tmp_path}/none/access.log: FAILED: the folder {tmp_path}/none does not exist",
    ]
    assert sorted(os.listdir(tmp_path)) == ["file", "turnout.yaml"]


def test_who_listens_on_a_unix_socket_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listen = Listen("", 0, path)
    assert try_bind(listen).ok
    assert not os.path.exists(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        assert try_bind(listen).ok  # nobody listens: left behind, and Turnout would take it
        server.listen()
        assert f"(pid {os.getpid()})" in try_bind(listen).detail
        assert try_server(Server("", 0, path), 1.0)[0]
    assert os.path.exists(path)
    assert not try_bind(Listen("", 0, str(tmp_path / "none" / "s"))).ok


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        (Listen("192.0.2.1", 0), "no such address on this machine"),
        (Listen("no-such-host.invalid", 0), "the name does not resolve"),
    ],
)
def test_an_address_that_is_not_ours_cannot_be_bound(listen: Listen, words: str) -> None:
    assert words in try_bind(listen).detail


def test_a_server_that_does_not_accept_is_given_up_on() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        with socket.create_connection(server.getsockname()):  # the queue holds one, and is full now
            assert try_server(Server("127.0.0.1", port_of(server)), 0.05) == (False, "does not accept within 50ms")


def test_a_server_that_does_not_resolve_or_exist_says_so(tmp_path: Path) -> None:
    assert "does not resolve" in try_server(Server("no-such-host.invalid", 1), 1.0)[1]
    assert try_server(Server("", 0, str(tmp_path / "s")), 1.0) == (False, "there is no such socket")


def test_nobody_is_named_where_nobody_listens() -> None:
    assert occupant(Listen("127.0.0.1", free_port())) is None


def test_the_schema_is_printed_as_json() -> None:
    result = CliRunner().invoke(schema)
    assert result.exit_code == 0
    assert json.loads(result.output)["title"] == "Turnout configuration"


@pytest.mark.parametrize(("more", "says"), [
    ("", "shadow 12.5% of GET|HEAD to new, compared)"),
    (", control: true", "shadow 12.5% of GET|HEAD to new, compared, with a control)"),
    (", compare: off, methods: [GET]", "shadow 12.5% of GET to new, not compared)"),
])
def test_a_shadow_is_summed_up(tmp_path: Path, more: str, says: str) -> None:
    file = tmp_path / "turnout.yaml"
    file.write_text("workers: 2\nversions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}}\n"
                    f"routes: [{{name: shop, split: {{old: 1, new: 0}}, shadow: {{to: new, percent: 12.5%{more}}}}}]\n")
    result = run("-c", str(file))
    assert says in result.stdout
    assert "warning" not in result.stdout
