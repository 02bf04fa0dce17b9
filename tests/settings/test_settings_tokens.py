"""Tokens of the admin API: where they come from, and that no message ever shows one."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.settings import Settings, load_file

SECRET = "S3cret-" + "q7Zx" * 5
BASE = """\
versions: {old: {servers: ['http://h:1']}, new: {servers: ['http://h:2']}}
routes: [{name: r, split: {old: 1, new: 1}}]
admin: {listen: '0.0.0.0:9900', tokens: [%s]}
"""


def load(folder: Path, *tokens: str, environ: dict[str, str] | None = None) -> Settings:
    entries = [
        f"{{name: {name}, role: operator, {token}}}" for name, token in zip("abc", tokens, strict=False)
    ]
    (folder / "turnout.yaml").write_text(BASE % ", ".join(entries))
    return load_file(folder / "turnout.yaml", environ or {})


def refusal(folder: Path, *tokens: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, *tokens, environ=environ)
    assert len(caught.value.problems) == 1, caught.value
    assert caught.value.problems[0].where.startswith(f"{folder}/turnout.yaml:3:")
    return f"{caught.value.problems[0].path}: {caught.value.problems[0].message}"


def keep(folder: Path, content: bytes, mode: int = 0o600) -> None:
    (folder / "token").write_bytes(content)
    (folder / "token").chmod(mode)


def test_all_three_ways_give_the_same_digest(tmp_path: Path) -> None:
    keep(tmp_path, f"{SECRET}\n".encode())
    digest = sha256(SECRET.encode())
    ways = ("token_env: A", "token_file: token", f"token_sha256: {digest.hexdigest()}")
    for way in ways:
        (token,) = load(tmp_path, way, environ={"A": SECRET}).admin.tokens
        assert (token.name, token.role, token.digest) == ("a", "operator", digest.digest())


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_newline_behind_a_token_does_not_count(tmp_path: Path, end: bytes) -> None:
    keep(tmp_path, SECRET.encode() + end)
    assert load(tmp_path, "token_file: token").admin.tokens[0].digest == sha256(SECRET.encode()).digest()


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"\n\n", SECRET.encode() + b"\n\n", b" " + SECRET.encode(), b"x" * 1025, b"\xff" * 20,
     SECRET.encode() + b"\0", f"{SECRET}\n{SECRET}".encode()],
)  # fmt: skip
def test_what_a_file_holds_beyond_one_plain_line_is_refused(tmp_path: Path, content: bytes) -> None:
    keep(tmp_path, content)
    assert refusal(tmp_path, "token_file: token") == (
        "admin.tokens[0].token_file: the file must hold 16 to 1024 visible ASCII characters on one line: "
        "take `openssl rand -hex 32`"
    )


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert refusal(tmp_path, "token_file: none").startswith(
        "admin.tokens[0].token_file: the file cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "token"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    assert refusal(tmp_path, "token_file: token") in (
        "admin.tokens[0].token_file: is not a regular file",
        "admin.tokens[0].token_file: the file cannot be read: Is a directory "
        "(a relative path starts at the folder of this configuration)",
    )


def test_a_file_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    keep(tmp_path, SECRET.encode(), 0o640)
    assert load(tmp_path, "token_file: token").warnings == ()
    keep(tmp_path, SECRET.encode(), 0o644)
    (warning,) = load(tmp_path, "token_file: token").warnings
    assert warning.message == "everybody on this machine can read the file: `chmod o-r`"


def test_exactly_one_source_is_given(tmp_path: Path) -> None:
    assert refusal(tmp_path, "token_env: A, token_file: token", environ={"A": SECRET}) == (
        "admin.tokens[0].token_file: `token_env` is there too: keep one of them"
    )
    assert refusal(tmp_path, "token_env: null").startswith("admin.tokens[0]: where is the token?")


def test_the_same_token_twice_is_refused_wherever_it_comes_from(tmp_path: Path) -> None:
    digest = sha256(SECRET.encode()).hexdigest()
    assert refusal(tmp_path, "token_env: A", f"token_sha256: {digest.upper()}", environ={"A": SECRET}) == (
        "admin.tokens[1].token_sha256: is the same token as that of `a` (line 3): nobody could tell who made a change"
    )


@pytest.mark.parametrize("nothing", [b"", b"\n"])
def test_the_hash_of_nothing_is_no_token(tmp_path: Path, nothing: bytes) -> None:
    assert "is the hash of nothing" in refusal(tmp_path, f"token_sha256: {sha256(nothing).hexdigest()}")


def test_without_an_operator_nobody_could_change_anything(tmp_path: Path) -> None:
    text = BASE % "{name: a, role: viewer, token_env: A}"
    (tmp_path / "turnout.yaml").write_text(text)
    (warning,) = load_file(tmp_path / "turnout.yaml", {"A": SECRET}).warnings
    assert warning.message.startswith("none has the role `operator`")


@pytest.mark.parametrize("secret", [SECRET, "deadbeef" * 8, "hunter2", "JBSWY3DPEHPK3PXP", "Zm9vYmFy_Zm9vYmFy-Zm9v"])
@pytest.mark.parametrize(
    "entry",
    ["token_env: %s", "token_file: %s", "token_file: %s/", "token_sha256: %s!", "token_sha256: %s00", "token_env: [%s]",
     "token_env: A, token_file: {a: %s}"],
)  # fmt: skip
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, entry: str, secret: str) -> None:
    said = refusal(tmp_path, entry % secret, environ={"A": SECRET})
    assert not any(secret[at : at + 4] in said for at in range(len(secret) - 3))


@pytest.mark.parametrize("admin", [SECRET, f"[{SECRET}]", f"{{tokens: {SECRET}}}", f"{{tokens: [{SECRET}]}}"])
def test_a_secret_instead_of_a_section_is_not_repeated(tmp_path: Path, admin: str) -> None:
    head = BASE.partition("admin")[0]
    (tmp_path / "turnout.yaml").write_text(f"{head}admin: {admin}\n")
    with pytest.raises(ConfigError) as caught:
        load_file(tmp_path / "turnout.yaml", {})
    assert SECRET[:4] not in str(caught.value)


@pytest.mark.parametrize("value", ["short", SECRET + " ", SECRET + "ü", "x" * 1025])
def test_a_variable_without_a_proper_token_is_named_and_not_its_content(tmp_path: Path, value: str) -> None:
    said = refusal(tmp_path, "token_env: TURNOUT_TOKEN", environ={"TURNOUT_TOKEN": value})
    assert "the environment variable TURNOUT_TOKEN must hold 16 to 1024 visible ASCII characters" in said
    assert value[:4] not in said
