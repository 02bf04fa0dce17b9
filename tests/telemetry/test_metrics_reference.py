from __future__ import annotations

import re
from pathlib import Path

from proxy.telemetry.families import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    _, _, rest = PAGE.read_text().partition("<!-- metrics:start -->\n")
    shown, end, _ = rest.partition("<!-- metrics:end -->")
    assert end
    assert shown == table(), "put there what `python -m proxy.telemetry.families` prints"


def test_every_file_that_the_page_names_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text())
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
