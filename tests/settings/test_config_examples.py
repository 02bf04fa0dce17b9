"""What config/ shows and says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from proxy.settings import load_file
from proxy.settings.schema import json_schema, keys
from proxy.settings.strict_yaml import parse

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(CONFIG.glob("*.yaml"))
ENVIRON = {"TURNOUT_TOKEN": "0123456789abcdef", "TURNOUT_TOKEN_FILE": "token"}
README = (CONFIG / "README.md").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads_and_leaves_nothing_to_be_warned_of(path: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fedcba9876543210\n")
    (tmp_path / "token").chmod(0o600)
    assert load_file(path, {**ENVIRON, "TURNOUT_TOKEN_FILE": str(tmp_path / "token")}).warnings == ()


class EditorLoader(yaml.SafeLoader):
    """YAML 1.2, as editors read it: only `true` and `false` are booleans (§10.3.2), so that `on` is a key like any."""


EditorLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}
EditorLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_good_to_an_editor(path: Path) -> None:
    validator = Draft202012Validator(json_schema())
    data = yaml.load(path.read_text(), EditorLoader)
    assert [error.message for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_in_the_readme(path: Path) -> None:
    assert f"[{path.name}]({path.name})" in README


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "text",
    [
        "listn: x",
        "limits: {head: 32}",
        "limits: {heads: 32KiB}",
        "timeouts: {connect: 10}",
        "workers: 0",
        "listen: 8080",
        "listen: []",
        "versions: {a: {servers: 'http://h'}}",
        "versions: {a: {servers: ['https://h']}}",
        "versions: {-a: {servers: ['http://h']}}",
        "versions: {}",
        "routes: []",
        "routes: [{name: r}]",
        "routes: [{name: r, split: {old: -1}}]",
        "routes: [{name: r, split: {}}]",
        "routes: [{name: r, split: {a: 1}, sticky: {}}]",
        "routes: [{name: r, split: {a: 1}, match: {headers: {X: {present: false}}}}]",
        "admin: {tokens: [{name: a, role: admin, token_env: A}]}",
        "trusted_proxies: 10.0.0.0/8",
        "routes: [{name: r, split: {a: 1}, shadow: {to: a}}]",
        "routes: [{name: r, split: {a: 1}, shadow: {to: a, percent: 101}}]",
        "routes: [{name: r, split: {a: 1}, shadow: {to: a, percent: 1, compare: on}}]",
        "routes: [{name: r, split: {a: 1}, shadow: {to: a, percent: 1, compare: {body: xml}}}]",
        "routes: [{name: r, split: {a: 1}, shadow: {to: a, percent: 1, alert_below: 0.99}}]",
        "versions: {a: {servers: ['http://h'], probe: healthz}}",
        "versions: {a: {servers: ['http://h'], probe: {interval: 1}}}",
        "versions: {a: {servers: ['http://h'], probe: {status: [100]}}}",
        "versions: {a: {servers: ['http://h'], eject: {failures: 50%}}}",
        "versions: {a: {servers: ['http://h'], breaker: {failures: 5}}}",
        "versions: {a: {servers: ['http://h'], panic: 0.3}}",
        "versions: {a: {servers: ['http://h'], in_flight: 0}}",
        "versions: {a: {servers: ['http://h'], queue: many}}",
        "routes: [{name: r, split: {a: 1}, retry: {'on': [500]}}]",
        "routes: [{name: r, split: {a: 1}, retry: sometimes}]",
        "routes: [{name: r, split: {a: 1}, when_down: wait}]",
        "routes: [{name: r, split: {a: 1}, priority: 2}]",
        "limits: {client_rate: 100}",
    ],
)
def test_an_editor_sees_most_mistakes(text: str) -> None:
    good = {"versions": {"a": {"servers": ["http://h"]}}, "routes": [{"name": "r", "split": {"a": 1}}]}
    validator = Draft202012Validator(json_schema())
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **yaml.safe_load(text)})


def paths(data: Any, path: str = "") -> set[str]:
    """The paths of all keys with a value, as the documentation writes them."""
    if isinstance(data, dict):
        if path.endswith((".headers", ".header", ".set_headers")):
            return {path}       # the names are the operator's
        names = {"NAME"} if path == "versions" else set()
        return set().union(*(paths(value, f"{path}.{next(iter(names), key)}".removeprefix("."))
                             for key, value in data.items()), {path})  # fmt: skip
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return set().union(*(paths(item, f"{path}[]") for item in data))
    return {path}


def test_the_full_example_has_every_key() -> None:
    document, _ = parse((CONFIG / "full.yaml").read_bytes(), "full.yaml", ENVIRON)
    assert {key.path for key in keys()} - paths(document.data) == set()


def documented() -> dict[str, str]:
    """Key → default, from the tables of the README that have both."""
    rows = re.findall(r"^\| `([\w.\[\]]+)` \| (.*?) \| .+? \| .+ \|$", README, re.MULTILINE)
    assert len(rows) == len({key for key, _ in rows}), "a key has two rows"
    return {key: default.strip().strip("`") for key, default in rows}


def test_the_readme_has_every_key_with_the_default_that_the_code_has() -> None:
    assert documented() == {key.path: key.default for key in keys()}


def test_every_key_is_described() -> None:
    assert [key.path for key in keys() if len(key.description) < 5] == []
