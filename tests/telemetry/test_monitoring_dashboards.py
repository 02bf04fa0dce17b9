from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promql import CONFIG, assert_parse, dashboards, queries_of, unknown_labels, unknown_names

GRAFANA = CONFIG / "grafana"
Board = dict[str, Any]

every_dashboard = pytest.mark.parametrize("board", dashboards().values(), ids=dashboards())


def panels(board: Board) -> list[Board]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_there_are_two_dashboards_with_addresses_of_their_own() -> None:
    assert {board["uid"] for board in dashboards().values()} == {"turnout-old-beside-new", "turnout-proxy"}


@every_dashboard
def test_every_query_asks_for_what_turnout_exposes_and_prometheus_parses_it(board: Board, tmp_path: Path) -> None:
    queries = list(queries_of(board))
    assert not set().union(*map(unknown_names, queries))
    assert not set().union(*map(unknown_labels, queries))
    assert_parse(queries, tmp_path)


@every_dashboard
def test_the_data_source_is_a_variable_and_so_is_everything_that_queries_name_with_a_dollar(board: Board) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    asked = {name for query in queries_of(board) for name in re.findall(r"\$(?!__)(\w+)", query)}
    assert asked <= set(variables)
    sources = [panel["datasource"] for panel in panels(board)]
    sources += [target["datasource"] for panel in panels(board) for target in panel["targets"]]
    sources += [each["datasource"] for each in board["annotations"]["list"]]
    assert all(source["uid"] == "${datasource}" for source in sources)


@every_dashboard
def test_panels_have_titles_and_numbers_of_their_own_and_do_not_cover_each_other(board: Board) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in board["panels"]]
    assert all(titles)
    assert len(titles) == len(set(titles))
    for one, other in combinations([panel["gridPos"] for panel in board["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
        assert one["x"] + one["w"] <= 24


@every_dashboard
def test_a_dashboard_leads_to_the_other(board: Board) -> None:
    others = {each["uid"] for each in dashboards().values()} - {board["uid"]}
    assert {link["url"] for link in board["links"]} == {f"/d/{uid}" for uid in others}


def test_old_beside_new_repeats_for_every_route_and_has_both_sides() -> None:
    board = dashboards()["old-beside-new.json"]
    assert [row["repeat"] for row in board["panels"] if row["type"] == "row"] == ["route"]
    queries = "\n".join(queries_of(board))
    assert all(f'role="{role}"' in queries for role in ("baseline", "candidate"))
    assert all(f":p{quantile}_2m" in queries for quantile in (50, 95, 99))


def test_grafana_is_told_where_data_and_dashboards_are() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/turnout.yml").read_text())["providers"]
    assert source["type"] == "prometheus"
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
