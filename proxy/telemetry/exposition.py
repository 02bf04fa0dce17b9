"""/metrics: what the fold has summed and what it is told of the supervisor, in the formats that Prometheus reads.

The only module that knows prometheus_client.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from proxy.telemetry.counters import LABELS
from proxy.telemetry.facts import Facts, Share, WorkerFacts
from proxy.telemetry.fold import Fold

__all__ = ["Exposition", "Facts", "Page", "Share", "WorkerFacts"]


class Page(Collector):
    """One consistent moment of all metrics; `text` may run in another thread while the fold goes on."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield from self._families

    def text(self, accept: str | None) -> tuple[bytes, str]:
        """Return the page and its content type: OpenMetrics where the Accept field asks for it, else text 0.0.4."""
        encoder, content_type = choose_encoder(accept or "")
        registry: Any = self
        return encoder(registry), content_type


class Exposition:
    """Makes pages. `buckets`: upper bounds in seconds of the latency histograms, ascending."""

    def __init__(self, fold: Fold, buckets: Sequence[float]) -> None:
        self._fold = fold
        self._buckets = tuple(buckets)

    def take(self, facts: Facts) -> Page:
        """Copy what there is now; call it where the fold is written (the event loop)."""
        families: list[Metric] = [GaugeMetricFamily("turnout_config_revision", "Revision in force.", facts.revision)]
        for name, labels in LABELS.items():
            if name.endswith("_total"):
                counter = CounterMetricFamily(name, name, labels=labels)
                for values, value in self._fold.counters(name).items():
                    counter.add_metric(values, value)
                families.append(counter)
        return Page(families)

    def render(self, facts: Facts, accept: str | None) -> tuple[bytes, str]:
        """`take` and `Page.text` in one; for one thread."""
        return self.take(facts).text(accept)
