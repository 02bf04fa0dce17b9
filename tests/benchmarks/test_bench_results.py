from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import machine, results
from benchmarks.__main__ import main
from benchmarks.bench import Run
from benchmarks.processes import Cores, choose_cores

RUN = Run("browser", "", "turnout", 0, {"cpu_us": 20.5}, ("1 read errors",))


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    path = results.save({"when": "2026-01-02T03:04:05+00:00", "commit": "abc"}, [RUN], tmp_path)
    assert path.name == "2026-01-02T0304-abc.json"
    result, runs = results.load(path)
    assert result["commit"] == "abc"
    assert runs == [RUN]


def test_a_second_result_does_not_overwrite_the_first_and_is_the_newest(tmp_path: Path) -> None:
    about = {"when": "2026-01-02T03:04:05+00:00", "commit": "abc"}
    first = results.save(about, [], tmp_path)
    later = results.save({**about, "when": "2026-01-02T03:05:00+00:00"}, [RUN], tmp_path)
    again = results.save(about, [], tmp_path)
    assert len({first, later, again}) == 3
    assert results.newest(tmp_path) == later
    later.unlink()
    assert results.newest(tmp_path) == again


def test_there_may_be_no_result(tmp_path: Path) -> None:
    assert results.newest(tmp_path) is None


def test_configurations_keep_neither_paths_nor_ports(tmp_path: Path) -> None:
    texts = {"a": f"listen 127.0.0.1:18080; root {tmp_path};", "b": f"listen 127.0.0.1:18081; root {tmp_path};",
             "long": "x" * 10_000}
    found = results.configurations(texts, tmp_path)
    assert found["a"]["text"] == "listen 127.0.0.1:PORT; root {work};"
    assert found["a"]["sha256"] == found["b"]["sha256"]
    assert "text" not in found["long"]
    assert str(tmp_path) not in json.dumps(found)


def test_proxy_and_load_have_a_core_each_where_there_are_two() -> None:
    assert choose_cores({5, 3, 4}) == Cores(proxy=3, load=4)
    assert choose_cores({2}).shared


def test_a_kernel_is_named_without_what_its_builder_added() -> None:
    assert machine.kernel("6.1.0-18-cloud-amd64") == "Linux 6.1.0"


def test_the_processor_is_named_once() -> None:
    assert machine.cpu_model("processor\t: 0\nmodel name\t: A CPU\nmodel name\t: A CPU\n") == "A CPU"


@pytest.mark.parametrize("arguments", [["run", "--peers", "squid"], ["run", "--scenarios", "lunch"]])
def test_an_unknown_name_is_answered_with_the_known_ones(arguments: list[str]) -> None:
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 2
    assert "known:" in outcome.output
