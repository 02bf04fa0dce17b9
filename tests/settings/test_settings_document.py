"""Files that are not even a document: each a clear error, never a traceback."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.settings import load_bytes, load_file, strict_yaml
from tests.support.exploring import examples

GOOD = "versions: {old: {servers: ['http://h:1']}}\nroutes: [{name: r, split: {old: 1}}]\n"


@pytest.fixture(params=["C", "Python"], autouse=True)
def each_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be built without libyaml: both parsers must say the same."""
    monkeypatch.setattr(strict_yaml, "Loader", yaml.CSafeLoader if request.param == "C" else yaml.SafeLoader)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_bytes(text if isinstance(text, bytes) else text.encode(), "f", {})
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_is_read_with_and_without_a_byte_order_mark() -> None:
    assert load_bytes(GOOD.encode(), "f", {}) == load_bytes(b"\xef\xbb\xbf" + GOOD.encode(), "f", {})
    assert load_bytes(GOOD.replace("\n", "\r\n").encode(), "f", {}) == load_bytes(GOOD.encode(), "f", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: is empty: `versions` and `routes` are needed"),
        ("# only a comment\n", "f: is empty: `versions` and `routes` are needed"),
        ("---\n", "f: is empty: `versions` and `routes` are needed"),
        ("~", "f: is empty: `versions` and `routes` are needed"),
        ("- a\n- b", "f:1:1: must be a mapping (`key: value`), not a list"),
        ("\n\nword", "f:3:1: must be a mapping (`key: value`), not a single value"),
        ("listen: x\n\tworkers: 1", "f:2:1: a tab cannot indent YAML: use spaces"),
        ("a: 1\n---\nb: 2", "f:2:1: a second document begins here: one file holds one"),
        ("a: *nobody", "f:1:4: a: no anchor `&nobody` comes before this alias"),
        ("a: &a [*a]", "f:1:8: a[0]: `*a` contains itself"),
        (b"a: \xff", "f:1:4: is not UTF-8 text"),
        (b"a: 1\nb: \xe9", "f:2:4: is not UTF-8 text"),
        ("a: 1".encode("utf-16"), "f:1:1: is not UTF-8 text"),
        ("a: 1\nb: \x00", "f:2:4: contains a control character (U+0000)"),
        ("a: \x1b[2J", "f:1:4: contains a control character (U+001B)"),
        (b"a: " + b"x" * (1 << 20), "f: is larger than 1 MiB"),
        ("a: " + "[" * 40 + "]" * 40, "f:1:36: a" + "[0]" * 32 + ": is nested more than 32 levels deep"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_says_one_thing(text: str | bytes, message: str) -> None:
    assert problems(text) == [message]


def test_what_is_not_yaml_says_where() -> None:
    assert re.match(
        r"f:(1:9|2:1): is not YAML: while parsing a flow mapping \(begun in line 1\), ", problems("a: {b: 1")[0]
    )
    assert problems("listen: [::1]:80\n")[0].endswith("(put quotes around IPv6 addresses)")
    assert problems("limits: {body: ${SIZE}}\n")[-1].endswith("(inside `{}` and `[]`, put quotes around `${…}`)")


def test_laughing_lines_are_stopped_before_they_are_built() -> None:
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    assert problems("\n".join(bomb))[-1].endswith("more than 200000 values once aliases are expanded")


def test_aliases_are_counted() -> None:
    assert problems("a: &a 1\nb: [" + "*a, " * 1001 + "]")[-1].endswith("more than 1000 aliases")


def test_variables_cannot_blow_a_file_up() -> None:
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        load_bytes(("a: [" + "'${BIG}', " * 100 + "]").encode(), "f", {"BIG": "x" * 100_000})


def test_aliases_share_whole_values() -> None:
    text = GOOD + "limits: {head: &size 64KiB, response_head: *size}\n"
    assert load_bytes(text.encode(), "f", {}).policy.limits.response_head == 65536


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("workers: !!int 2", "f:3:10: workers: tags (`!x`, `!!x`) have no meaning here: write the value alone"),
        (
            "workers: !!python/name:os.system",
            "f:3:10: workers: tags (`!x`, `!!x`) have no meaning here: write the value alone",
        ),
        (
            "<<: {workers: 2}",
            "f:3:1: merge keys (`<<`) are not supported: write them out, or share whole values (`*name`)",
        ),
        ("? [a, b]\n: 1", "f:3:3: a key must be a single text"),
        ("&a workers: 1", "f:3:1: a key takes no anchor and no tag"),
        ('state_dir: "a\\0b"', "f:3:12: state_dir: contains a control character (U+0000)"),
        ("routes: []", "f:3:1: `routes` is given twice: first in line 2"),
    ],
)
def test_what_hides_the_configuration_is_refused(line: str, message: str) -> None:
    assert problems(GOOD + line) == [message]


@pytest.mark.parametrize("kind", ["folder", "missing", "unreadable name"])
def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path, kind: str) -> None:
    path = {"folder": str(tmp_path), "missing": str(tmp_path / "none.yaml"), "unreadable name": "a\0b"}[kind]
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert len(caught.value.problems) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    (tmp_path / "f").touch(mode=0)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_file(tmp_path / "f")


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))))
@examples(suppress=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(ConfigError):
        load_bytes(raw, "f", {})


_ALPHABET = st.sampled_from(
    [
        *"abr:-?,[]{}#&*!|>'\"%@` \n\t\\$01.~<",
        "\n  ",
        "- ",
        ": ",
        "split",
        "routes",
        "versions",
        "servers",
        "${X}",
        "null",
        "\\x",
        "\\UFFFFFFFF",
        "\\uD800",
        "%YAML 9",
        "http://h:1",
        "limits",
        "head",
    ]
)


@given(st.lists(_ALPHABET).map("".join))
@examples(300, suppress=[HealthCheck.function_scoped_fixture])
def test_anything_that_looks_like_yaml_is_read_or_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bytes(text.encode(), "f", {"X": "x"})
    str(caught.value).encode()


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.text(max_size=8),
        st.sampled_from(["old", "1", "012", "50%", "http://h:1", "/", "cookie", "10s", "1KiB"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "listen",
                    "admin",
                    "tokens",
                    "versions",
                    "old",
                    "new",
                    "servers",
                    "routes",
                    "name",
                    "split",
                    "match",
                    "headers",
                    "sticky",
                    "by",
                    "app_cookie",
                    "mode",
                    "override",
                    "from",
                    "shadow",
                    "to",
                    "percent",
                    "compare",
                    "limits",
                    "timeouts",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["listen", "admin", "versions", "routes", "limits", "secret", "zzz"]), _VALUES))
@examples(200, suppress=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_structure_is_read_or_refused(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bytes(yaml.safe_dump(data, allow_unicode=True).encode(), "f", {})
    assert all(problem.where.startswith("f") for problem in caught.value.problems)
