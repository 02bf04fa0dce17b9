from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.settings import load_bytes
from proxy.settings.environment import substitute

ENVIRON = {"NAME": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "value"),
        ("a${NAME}b${NAME}", "avaluebvalue"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-x}", "x"),
        ("${NONE:-}", ""),
        ("${NAME:-x}", "value"),
        ("$$", "$"),
        ("$${NAME}", "${NAME}"),
        ("$$$$", "$$"),
        ("$.a[*].b", "$.a[*].b"),
        ("$..a", "$..a"),
        ("$", "$"),
        ("$['a'].${NAME}", "$['a'].value"),
        ("$$.a", "$.a"),
        ("${NONE:-a:-b}", "a:-b"),
    ],
)
def test_references_are_replaced(text: str, expected: str) -> None:
    assert substitute(text, ENVIRON) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${NONE}", "NONE is not set"),
        ("$NAME", "a lone `$`"),
        ("${}", "names no environment variable"),
        ("a$.b", "a lone `$`"),
        ("${NA-ME}", "names no environment variable"),
        ("${NAME", "a lone `$`"),
        ("${A}${B}", "A is not set"),
    ],
)
def test_a_reference_that_fails_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        substitute(text, ENVIRON)
    assert words in str(caught.value)


def test_a_variable_that_refers_to_another_is_plain_text() -> None:
    assert substitute("${A}", {"A": "${NAME}"}) == "${NAME}"


@pytest.mark.parametrize("hostile", ["x, evil: y", "[1, 2]", "{a: b}", "*a", "# x", "null"])
def test_a_variable_never_becomes_structure(hostile: str) -> None:
    text = "versions: {old: {servers: ['http://h:1']}}\nroutes: [{name: r, split: {old: 1}, salt: '${SALT}'}]"
    assert load_bytes(text.encode(), "f", {"SALT": hostile}).routes[0].salt == hostile


def test_a_variable_with_a_line_break_is_refused_where_it_is_used() -> None:
    text = "versions: {old: {servers: ['http://h:1']}}\nroutes: [{name: r, split: {old: 1}, salt: '${SALT}'}]"
    with pytest.raises(ConfigError, match=r"^f:2:43: routes\[0\]\.salt: `x\\u000a  evil: y` is not a salt"):
        load_bytes(text.encode(), "f", {"SALT": "x\n  evil: y"})
