"""What a query asks for, read without a parser, and whether Prometheus can parse it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from proxy.telemetry.families import FAMILIES, series_names
from tests.support.scrape import promtool

CONFIG = Path(__file__).parents[2] / "config"
RULE_FILES = sorted((CONFIG / "monitoring").iterdir())

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_FROM_THE_SCRAPE = frozenset({"job", "instance", "le"})

Rule = dict[str, Any]


def rules() -> list[Rule]:
    """Every recording and alerting rule."""
    files = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def exposed() -> dict[str, frozenset[str]]:
    """The labels of every name that /metrics shows."""
    return {name: frozenset(family.labels) for family in FAMILIES.values() for name in series_names(family)}


def recorded() -> frozenset[str]:
    """The names that recording rules make."""
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


def names_in(expression: str) -> set[str]:
    """The metrics of Turnout in a query."""
    return {name for name in _NAME.findall(_STRING.sub('""', expression)) if "turnout_" in name}


def unknown_names(expression: str) -> set[str]:
    """The metrics that nothing exposes and nothing records."""
    return names_in(expression) - set(exposed()) - recorded()


def unknown_labels(expression: str) -> set[tuple[str, str]]:
    """Labels that are asked of a metric which does not carry them: such a selector finds nothing, silently."""
    labels = exposed()
    return {
        (name, label)
        for name, matchers in _SELECTOR.findall(_STRING.sub('""', expression))
        for label in _MATCHER.findall(matchers)
        if name in labels and label not in labels[name] | _FROM_THE_SCRAPE
    }


def assert_parse(expressions: Iterable[str], folder: Path) -> None:
    """Have Prometheus parse each query; Grafana's intervals stand for five minutes."""
    made = [
        {"record": f"turnout:query{number}:parsed", "expr": re.sub(r"\$__\w*interval", "5m", expression)}
        for number, expression in enumerate(expressions)
    ]
    file = folder / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": made}]}))
    promtool("check", "rules", str(file))


def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard by its file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted((CONFIG / "grafana/dashboards").glob("*.json"))}


def queries_of(dashboard: dict[str, Any]) -> Iterator[str]:
    """The queries of a dashboard: its panels, its annotations and the values of its variables."""
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (annotation["expr"] for annotation in dashboard["annotations"]["list"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
            assert asked is not None, variable
            yield asked[1]
