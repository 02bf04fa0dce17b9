from __future__ import annotations

import re

import pytest
import yaml

from tests.support.promql import CONFIG, RULE_FILES, Rule, names_in, recorded, rules, unknown_labels, unknown_names
from tests.support.scrape import promtool

PROMETHEUS = CONFIG / "prometheus"
TESTS = sorted(PROMETHEUS.glob("*.test.yml"))
ALERTS = [rule for rule in rules() if "alert" in rule]


def name_of(rule: Rule) -> str:
    return str(rule.get("alert") or rule["record"])


def test_whatever_lies_in_the_monitoring_folder_is_a_rule_file_that_promtool_takes() -> None:
    said = promtool("check", "rules", *map(str, RULE_FILES))
    assert said.count("SUCCESS") == len(RULE_FILES)


def test_the_rules_make_of_known_numbers_what_their_tests_say() -> None:
    assert "FAILED" not in promtool("test", "rules", *map(str, TESTS))


def test_the_example_of_a_scrape_is_valid_and_finds_the_rules() -> None:
    assert f"{len(RULE_FILES)} rule files found" in promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


@pytest.mark.parametrize("rule", rules(), ids=name_of)
def test_a_rule_asks_only_for_what_turnout_exposes_or_another_rule_records(rule: Rule) -> None:
    assert not unknown_names(rule["expr"])
    assert not unknown_labels(rule["expr"])


def test_every_recorded_name_is_used_by_an_alert_a_rule_or_a_dashboard() -> None:
    asking = [rule["expr"] for rule in rules()]
    asking += [path.read_text() for path in (CONFIG / "grafana/dashboards").glob("*.json")]
    used = {name for text in asking for name in recorded() if name in text}
    assert used == recorded()


@pytest.mark.parametrize("alert", ALERTS, ids=name_of)
def test_an_alert_says_how_urgent_it_is_what_it_means_and_what_to_do(alert: Rule) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket", "info"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert all(len(text) > 20 for text in alert["annotations"].values())


def test_every_alert_fires_in_a_test() -> None:
    fired = {
        name
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for asked in test.get("promql_expr_test", ())
        for sample in asked["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {alert["alert"] for alert in ALERTS}


def test_the_reader_of_queries_finds_names_and_labels_that_are_not_there() -> None:
    query = 'sum by (x) (rate(turnout_requests_total{route="turnout_no",colour!="red"}[2m])) / turnout_nothing_total'
    assert names_in(query) == {"turnout_requests_total", "turnout_nothing_total"}
    assert unknown_names(query) == {"turnout_nothing_total"}
    assert unknown_labels(query) == {("turnout_requests_total", "colour")}
