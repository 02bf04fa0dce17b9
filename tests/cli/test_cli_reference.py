from __future__ import annotations

from pathlib import Path

import click
import pytest

from proxy.cli.main import VERBS, main
from proxy.cli.reference import reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
ASKING = set(VERBS) - {"run", "demo", "check", "schema", "healthcheck", "completion", "replay"}


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == reference(), "write it anew: python -m proxy.cli.reference > docs/cli.md"


def command(verb: str) -> click.Command:
    found = main.get_command(click.Context(main), verb)
    assert found is not None
    return found


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"demo"}))
def test_every_verb_has_an_example_of_itself(verb: str) -> None:
    assert f"turnout {verb}" in (command(verb).help or "").partition("Example")[2]


@pytest.mark.parametrize("verb", sorted(ASKING | {"healthcheck"}))
def test_every_verb_that_asks_can_be_told_where_and_can_answer_programs(verb: str) -> None:
    assert {"admin", "as_json"} <= {param.name for param in command(verb).params}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_takes_a_token_as_an_argument(verb: str) -> None:
    assert not [param.name for param in command(verb).params if "token" in (param.name or "")]
