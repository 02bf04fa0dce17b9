"""A real Prometheus for as long as a block lasts: a port of its own, an empty data folder, scrapes several a second."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import WITHIN_S, wait_until

_LISTENING = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')


class Prometheus:
    """A running one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.output: list[str] = []
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._port = wait_until(self._find_port, "Prometheus listens")

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.output.extend(self._process.stderr)

    def _find_port(self) -> int | None:
        found = _LISTENING.search("".join(self.output))
        assert found or self._process.poll() is None, self.output
        return int(found[1]) if found else None

    def ask(self, path: str) -> Any:
        """The data that its HTTP API answers with; None while it starts."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WITHIN_S)
        try:
            connection.request("GET", f"/api/v1/{path}")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        return json.loads(body)["data"] if response.status == 200 else None

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The present value of each series that a query finds, by its labels."""
        data = self.ask("query?" + urllib.parse.urlencode({"query": expression}))
        found = data["result"] if data else []
        return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in found}

    def close(self) -> None:
        """End it and wait for that."""
        self._process.kill()
        self._process.wait(WITHIN_S)
        self._reader.join(WITHIN_S)
        assert self._process.stderr is not None
        self._process.stderr.close()


@contextmanager
def scraping(target: str, rule_files: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Start Prometheus with one target, `host:port`; skips the test where there is no Prometheus."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed (Debian: prometheus)")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "prometheus.yml")
        file.write_text(json.dumps({
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
            "rule_files": list(map(str, rule_files)),
            "scrape_configs": [{"job_name": "turnout", "static_configs": [{"targets": [target]}]}],
        }))
        process = subprocess.Popen(
            [program, f"--config.file={file}", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
        )
        prometheus = None
        try:
            prometheus = Prometheus(process)
            yield prometheus
        finally:
            if prometheus is not None:
                prometheus.close()
            else:
                process.kill()
                process.wait()
