"""/metrics: one custom Collector over what the workers reported and what is told of the supervisor.

The only module that knows prometheus_client. Invariant: `Page.text` is byte for byte what prometheus_client's own
encoders make of the same Collector. Those take 4 to 8 µs a line, and a thousand routes have 58,000 lines: up to half a
second of the supervisor's interpreter at each scrape. Here a line takes 0.8 µs: no object of its own, no sorting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from proxy.telemetry import shadowing
from proxy.telemetry.buckets import cumulative
from proxy.telemetry.facts import ComparerFacts, Facts, ServerFacts, Share, WorkerFacts
from proxy.telemetry.families import FAMILIES, Family
from proxy.telemetry.fold import Fold
from proxy.telemetry.names import DURATION
from proxy.telemetry.procstat import CpuTotals
from proxy.telemetry.reading import (
    HistogramRows,
    Rows,
    read_durations,
    read_facts,
    read_fold,
    read_processes,
    read_shadow_durations,
)
from proxy.telemetry.scope import Labels

__all__ = ["ComparerFacts", "Exposition", "Facts", "Page", "ServerFacts", "Share", "WorkerFacts"]

_OPENMETRICS = "application/openmetrics-text"
_PLAIN_BELOW = 1_000_000
"""From here on the formats write a number with an exponent."""
_go: Callable[[float], str] = floatToGoString


class Exposition:
    """Makes pages. `buckets`: upper bounds in seconds of the latency histograms, ascending."""

    def __init__(self, fold: Fold, buckets: Sequence[float]) -> None:
        self._fold = fold
        self._buckets = tuple(buckets)
        self._cpu = CpuTotals()

    def take(self, facts: Facts) -> Page:
        """Copy what there is now. Call it where the fold is written, in the event loop; the rest may be elsewhere."""
        return Page(self._fold.copy(), facts, facts.buckets or self._buckets, self._cpu)

    def render(self, facts: Facts, accept: str | None) -> tuple[bytes, str]:
        """`take` and `Page.text` in one, for callers with one thread."""
        return self.take(facts).text(accept)


class Page(Collector):
    """One moment of all metrics; every method may run in another thread than the one that made it."""

    def __init__(self, fold: Fold, facts: Facts, buckets: Sequence[float], cpu: CpuTotals) -> None:
        self._fold = fold
        self._facts = facts
        self._buckets = buckets
        self._cpu = cpu

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a value, as prometheus_client knows them."""
        yield from self._families()

    def text(self, accept: str | None) -> tuple[bytes, str]:
        """Return the page and its content type: OpenMetrics where the Accept field asks for it, otherwise text."""
        _, content_type = choose_encoder(accept or "")
        openmetrics = content_type.startswith(_OPENMETRICS)
        parts: list[str] = []
        for family in self._families():
            parts.append(_head(family, openmetrics))
            parts += family.lines()
        if openmetrics:
            parts.append("# EOF\n")
        return "".join(parts).encode(), content_type

    def _families(self) -> Iterator[_Plain | _Durations]:
        fold, facts = self._fold, self._facts
        rows = {**read_fold(fold, facts), **read_facts(facts), **read_processes(facts, self._cpu)}
        for name, family in FAMILIES.items():
            if name == DURATION:
                yield _Durations(family, read_durations(fold, facts), self._buckets)
            elif name == shadowing.DURATION:
                if durations := read_shadow_durations(fold, facts):
                    yield _Durations(family, durations, self._buckets)
            elif rows[name]:
                yield _Plain(family, rows[name])


class _Plain(Metric):
    """A metric with one number per series. Its samples are made only when prometheus_client asks for them."""

    def __init__(self, family: Family, rows: Rows) -> None:
        self._rows = rows
        super().__init__(family.base, family.help, family.kind, family.unit)
        self.full_name = family.name
        self.labels = family.labels

    @property
    def samples(self) -> list[Sample]:
        """What prometheus_client's encoders read."""
        return [
            Sample(self.full_name, dict(zip(self.labels, values, strict=True)), value) for values, value in self._rows
        ]

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """The base class begins with an empty list."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the samples, the same in both formats."""
        name, label_text = self.full_name, _LabelText(self.labels)
        for values, value in self._rows:
            yield f"{name}{{{label_text(values)}}} {_number(value)}\n" if values else f"{name} {_number(value)}\n"


class _Durations(Metric):
    """The histogram of durations, in the operator's buckets."""

    def __init__(self, family: Family, rows: HistogramRows, bounds: Sequence[float]) -> None:
        self._rows = rows
        self._bounds = bounds
        self._les = [*map(_go, bounds), "+Inf"]
        super().__init__(family.base, family.help, family.kind, family.unit)
        self.full_name = family.name
        self.labels = family.labels

    @property
    def samples(self) -> list[Sample]:
        """What prometheus_client's encoders read."""
        samples = []
        for values, buckets, total in self._rows:
            labels = dict(zip(self.labels, values, strict=True))
            counts = cumulative(buckets, self._bounds)
            samples += [
                Sample(f"{self.name}_bucket", {"le": le, **labels}, count)
                for le, count in zip(self._les, counts, strict=True)
            ]
            samples += [Sample(f"{self.name}_count", labels, counts[-1]), Sample(f"{self.name}_sum", labels, total)]
        return samples

    @samples.setter
    def samples(self, _: list[Sample]) -> None:
        """The base class begins with an empty list."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the samples, the same in both formats; `le` sorts before the other labels."""
        name, label_text = self.name, _LabelText(self.labels)
        heads = [f'{name}_bucket{{le="{le}",' for le in self._les]
        for values, buckets, total in self._rows:
            text = label_text(values)
            counts = cumulative(buckets, self._bounds)
            for head, count in zip(heads, counts, strict=True):
                yield f"{head}{text}}} {_number(count)}\n"
            yield f"{name}_count{{{text}}} {_number(counts[-1])}\n{name}_sum{{{text}}} {_number(total)}\n"


class _LabelText:
    """How the labels of a metric are written: sorted by name, their values escaped."""

    def __init__(self, names: Labels) -> None:
        self._order = sorted(range(len(names)), key=names.__getitem__)
        self._pattern = ",".join(f'{names[place]}="%s"' for place in self._order)

    def __call__(self, values: Labels) -> str:
        return self._pattern % tuple([_escape(values[place]) for place in self._order])


def _head(metric: _Plain | _Durations, openmetrics: bool) -> str:
    """The lines that say what a metric is: OpenMetrics names it without `_total` and `_info`."""
    if openmetrics:
        unit = f"# UNIT {metric.name} {metric.unit}\n" if metric.unit else ""
        return f"# HELP {metric.name} {metric.documentation}\n# TYPE {metric.name} {metric.type}\n{unit}"
    kind = "gauge" if metric.type == "info" else metric.type
    return f"# HELP {metric.full_name} {metric.documentation}\n# TYPE {metric.full_name} {kind}\n"


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value


def _number(value: float) -> str:
    return repr(float(value)) if 0 <= value < _PLAIN_BELOW else _go(value)
