"""What counts and times, and the text that is made of it for a scrape.

A store can hold any number of definitions, so each metric tells at most :data:`MOST` of them apart; what comes later
is counted under :data:`OTHER`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from saga.metrics.catalogue import CATALOGUE

#: The format of what :meth:`Metrics.text` returns.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Definitions, services or routes that one metric tells apart.
MOST: Final = 1_000
#: Stands for every definition or service beyond.
OTHER: Final = "(other)"

_BY_NAME: Final = {each.name: each for each in CATALOGUE}

#: How a saga can end.
ENDS: Final = ("completed", "compensated", "abandoned")

#: Values by their labels.
Reading: TypeAlias = Mapping[tuple[str, ...], float]


class _Kept:
    """Values of one metric by its labels. A dict on the one thread that counts takes a tenth of a locked child's time."""

    def __init__(self, name: str) -> None:
        self.described = _BY_NAME[name]
        self._named: set[str] = set()

    def _bounded(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels that a new set of labels is kept under."""
        if not labels or labels[0] in self._named:
            return labels
        if len(self._named) >= MOST:
            return (OTHER, *labels[1:])
        self._named.add(labels[0])
        return labels


class Counted(_Kept):
    """A counter."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Count once more; 0: only begin to."""
        counts = self._counts
        try:
            counts[labels] += count
        except KeyError:
            labels = self._bounded(labels)
            counts[labels] = counts.get(labels, 0) + count

    def family(self) -> Metric:
        """Return what has been counted."""
        described = self.described
        family = CounterMetricFamily(described.name, described.meaning, labels=described.labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return family


class Timed(_Kept):
    """A histogram of seconds."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._bounds = self.described.buckets
        #: How many were in each bucket, and in the last place their sum.
        self._seen: dict[tuple[str, ...], list[float]] = {}

    def add(self, seconds: float, *labels: str) -> None:
        """Take note of a duration."""
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen.setdefault(self._bounded(labels), [0.0] * (len(self._bounds) + 2))
        seen[bisect_left(self._bounds, seconds)] += 1
        seen[-1] += seconds

    def family(self) -> Metric:
        """Return what has been seen."""
        described = self.described
        family = HistogramMetricFamily(described.name, described.meaning, labels=described.labels)
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        for labels, seen in self._seen.items():
            counts = accumulate(seen[:-1])
            family.add_metric(labels, buckets=list(zip(names, counts, strict=True)), sum_value=seen[-1])
        return family


class Metrics(Collector):
    """The instruments of one coordinator; used on its event loop's thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._reads: dict[str, Callable[[], Reading]] = {}
        self._kept: list[Counted | Timed] = []
        self._started: set[str] = set()
        self.starts, self.ends = self._counted("saga_starts_total"), self._counted("saga_ends_total")
        self.attempts, self.durations = (
            self._counted("saga_attempts_total"),
            self._timed("saga_duration_seconds"),
        )
        self.parked, self.late = self._counted("saga_parked_total"), self._counted("saga_late_total")
        self.claims, self.errors = (
            self._counted("saga_claims_total"),
            self._counted("saga_store_errors_total"),
        )
        self.requests = self._counted("saga_participant_requests_total")
        self.request_durations = self._timed("saga_participant_request_duration_seconds")
        self.writes = self._timed("saga_store_write_duration_seconds")
        self._answers = self._counted("saga_http_requests_total")
        self._answer_durations = self._timed("saga_http_request_duration_seconds")
        self.claims.add(count=0)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def _counted(self, name: str) -> Counted:
        made = Counted(name)
        self._kept.append(made)
        return made

    def _timed(self, name: str) -> Timed:
        made = Timed(name)
        self._kept.append(made)
        return made

    def read(self, name: str, reading: Callable[[], Reading]) -> None:
        """Ask for the values of a metric of the catalogue at each scrape; ``reading`` returns at once."""
        self._reads[name] = reading

    def gauge(self, name: str, reading: Callable[[], float]) -> None:
        """Ask for the one value of a gauge without labels at each scrape."""
        self._reads[name] = lambda: {(): reading()}

    def started(self, definition: str) -> None:
        """Count a start; what else may be counted of the definition begins with the first, at 0, so that it shows."""
        if definition not in self._started and len(self._started) < MOST:
            self._started.add(definition)
            self.late.add(definition, count=0)
            for status in ENDS:
                self.ends.add(definition, status, count=0)
        self.starts.add(definition)

    def answered(self, method: str, route: str | None, status: int, seconds: float | None) -> None:
        """Count an answer of the HTTP API; ``route`` is the template it matched, ``seconds`` None: it waited."""
        # A client may make methods up; those of routes are ours.
        self._answers.add(method if route else OTHER, route or "(none)", str(status))
        if route and seconds is not None:
            self._answer_durations.add(seconds, route)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted, and what is read now."""
        for kept in self._kept:
            yield kept.family()
        for name, reading in self._reads.items():
            described = _BY_NAME[name]
            make = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
            family = make(name, described.meaning, labels=described.labels)
            for labels, value in reading().items():
                family.add_metric(labels, value)
            yield family
