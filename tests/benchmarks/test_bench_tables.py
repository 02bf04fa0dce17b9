from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.bars import BARS, Bar, Of, judge
from benchmarks.bench import Run
from benchmarks.scenarios import SCENARIOS
from benchmarks.tables import ROWS, bars_table, figures_table, number

RATIO = Bar("cpu ÷ nginx's", Of("browser", "cpu_us"), Of("browser", "cpu_us", "nginx"), 1.7, 1.0)
RESULT = {
    "when": "2026-01-02T03:04:05+00:00", "commit": "abc1234567", "dirty": False, "cores_shared": False,
    "machine": {"cpu": "A CPU", "cores": 2, "memory_gib": 8, "kernel": "Linux 6.1", "python": "3.11.7",
                "load_average_before": 0.0},
    "effort": {"seconds": 3.0, "rounds": 5, "quick": False}, "versions": {"Turnout": "0.1.0", "nginx": "1.22.1"},
    "skipped": {"Envoy": "python -m benchmarks install"}, "notes": {},
}


def browser(peer: str, number: int, cpu_us: float, *flags: str) -> Run:
    return Run("browser", "", peer, number, {"cpu_us": cpu_us, "rps": 1e6 / cpu_us}, flags)


def test_a_bar_is_judged_by_the_median_of_ratios_within_rounds() -> None:
    runs = [browser("turnout", 0, 20), browser("nginx", 0, 10), browser("turnout", 1, 60), browser("nginx", 1, 40),
            browser("turnout", 2, 16), browser("nginx", 2, 10)]
    judgement = judge(RATIO, runs)
    assert judgement.value is not None
    assert (judgement.value.median, judgement.value.low, judgement.value.high) == (1.6, 1.5, 2.0)
    assert judgement.verdict == "yes"


@pytest.mark.parametrize(("cpu_us", "verdict"), [(10.0, "aim"), (17.0, "yes"), (17.1, "no")])
def test_a_bar_says_whether_it_is_reached(cpu_us: float, verdict: str) -> None:
    assert judge(RATIO, [browser("turnout", 0, cpu_us), browser("nginx", 0, 10)]).verdict == verdict


def test_what_must_never_happen_is_judged_by_the_worst_round() -> None:
    bar = next(bar for bar in BARS if bar.above.scenario == "kill")
    runs = [Run("kill", "", "turnout", n, {"lost_on_others": lost}) for n, lost in enumerate([0.0, 1.0, 0.0])]
    assert judge(bar, runs).verdict == "no"


def test_every_bar_and_row_is_about_a_scenario_that_exists() -> None:
    named = {row.scenario for row in ROWS} | {bar.above.scenario for bar in BARS}
    assert named == {scenario.name for scenario in SCENARIOS}


def test_a_bar_without_runs_is_not_measured() -> None:
    assert {judge(bar, []).verdict for bar in BARS} == {"not measured"}


def test_a_flag_of_either_side_marks_the_judgement() -> None:
    table = bars_table([browser("turnout", 0, 10), browser("nginx", 0, 10, "3 timeout errors")])
    assert table.rows[0][-1] == "aim !"
    assert any("nginx: 3 timeout errors" in note for note in table.notes)


def test_a_flagged_figure_is_marked_and_explained() -> None:
    table = figures_table([browser("turnout", 0, 10), browser("nginx", 0, 12.34, "3 timeout errors")])
    assert table.header == ["", "Turnout", "nginx"]
    assert table.rows[0] == ["browser-like request, CPU µs", "10.0", "12.3 !"]
    assert table.notes == ["! nginx, browser: 3 timeout errors"]


def test_a_peer_that_cannot_keep_the_rate_has_no_latency() -> None:
    run = Run("latency", "", "caddy", 0, {"added_p99_us": 1e6}, ("cannot keep this rate",))
    assert ["added latency, p99, ms", "! overloaded"] in figures_table([run]).rows


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (0.1234, "0.12"), (-1.5, "-1.50"), (12.34, "12.3"), (1234.5, "1,234")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_the_readme_names_date_commit_machine_and_what_is_missing() -> None:
    text = report.readme(RESULT, [browser("turnout", 0, 10)], "file.json")
    for part in ("2026-01-02", "`abc1234567`", "A CPU, 2 cores", "nginx 1.22.1", "Envoy is missing", "file.json"):
        assert part in text


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    text = f"before\n{report.START}\nold\n{report.END}\nafter\n"
    assert report.between_markers(text, "new") == f"before\n{report.START}\nnew\n{report.END}\nafter\n"


def test_a_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n")
    with pytest.raises(report.NoMarkersError, match="bench:start"):
        report.rewrite(readme, "table")
    assert readme.read_text() == "nothing here\n"


def test_columns_stand_under_each_other() -> None:
    lines = report.plain(figures_table([browser("turnout", 0, 10), browser("nginx", 0, 1000)])).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_a_quick_run_on_a_busy_machine_says_so() -> None:
    result = {**RESULT, "effort": {"seconds": 1, "rounds": 1, "quick": True}, "cores_shared": True,
              "machine": {**RESULT["machine"], "load_average_before": 2.0}}  # type: ignore[dict-item]
    assert len(report.cautions(result)) == 4
