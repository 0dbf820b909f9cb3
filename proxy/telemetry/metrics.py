"""Prometheus: counts are folded from records when they are flushed, and put into words when scraped.

    records --fold--> dicts of label values -> numbers --collect--> /metrics
    circuits, drops -----------------------------------^  read at the scrape

Label values come from the registry and from closed sets only; anything else is `other`, absence `none`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.types import Attempt, CallRecord, FailureKind, Model

NONE = "none"
OTHER = "other"

LATENCY = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds that whole LLM calls take."""
TTFT = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds to the first token."""
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
"""Seconds of our own."""

QUEUED = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds in the queue, of those that had to wait."""

COUNTED = {
    "llm_records_dropped": "Records that found the queue full.",
    "llm_log_lines_lost": "Log lines that could not be written.",
    "llm_spans_lost": "Spans that found their queue full, or that the collector did not take.",
    "llm_batches_lost": "Batches of records that a sink failed to take.",
    "llm_queue_refused": "Calls that were sent away because there was no place for them.",
}
GAUGES = {
    "llm_queue_in_flight": "Calls that are being served.",
    "llm_queue_waiting": "Calls that wait for a place.",
}
"""Name -> help of what is read at the scrape from those who count it."""

OUTCOMES = frozenset({"ok", "error", "refused", "caller_left", "aborted"})
ATTEMPT_OUTCOMES = frozenset({"ok", "failed", "skipped", "cancelled", "cut", "judge"})
KINDS = frozenset(FailureKind)
RELOADS = frozenset({"changed", "unchanged", "refused"})
ROUTES = frozenset({"cache", "semantic", "judge", "score", "sticky", "default", "explicit"})
RULE = "rule:"
"""Before the name of a rule; rules are named in the configuration."""

_STATES = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
_MODEL = ("model", "provider")

Labels = tuple[str, ...]


class Counter:
    """One counter by label values; its name is exposed with `_total`."""

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self._name, self._help, self._labels = name, help, labels
        # Without labels there is one series, and it starts at 0: a rate needs the step from 0 to 1.
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, labels: Labels, amount: float = 1.0) -> None:
        """Counts."""
        values = self._values
        values[labels] = values.get(labels, 0.0) + amount

    def collect(self) -> Iterator[Metric]:
        """As the exposition wants it."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Histogram:
    """One histogram by label values."""

    def __init__(self, name: str, help: str, bounds: tuple[float, ...], labels: Labels = ()) -> None:
        self._name, self._help, self._labels, self._bounds = name, help, labels, bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Counts a value in its bucket; a bound belongs to the bucket that it ends."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def collect(self) -> Iterator[Metric]:
        """As the exposition wants it: buckets hold all that is below them."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        names = [*map(str, self._bounds), "+Inf"]
        for labels, counts in self._counts.items():
            reached, buckets = 0, []
            for name, count in zip(names, counts, strict=True):
                reached += count
                buckets.append((name, reached))
            family.add_metric(labels, buckets, self._sums[labels])
        yield family


class Metrics(Collector):
    """A sink that counts, and what /metrics shows."""

    def __init__(
        self,
        models: Iterable[Model],
        intents: Iterable[str],
        circuits: Callable[[], Mapping[str, Any]],
        counted: Mapping[str, Callable[[], float]] = {},
    ) -> None:
        """`counted` reads what others count, by the names in `COUNTED` and `GAUGES`."""
        self._circuits = circuits
        self._counted = counted
        self._requests = Counter("llm_requests", "Calls that ended.", (*_MODEL, "intent", "outcome"))
        self._latency = Histogram(
            "llm_request_latency_seconds", "From a call's arrival to its end.", LATENCY, _MODEL
        )
        self._ttft = Histogram(
            "llm_time_to_first_token_seconds", "From a call's arrival to its first token.", TTFT, _MODEL
        )
        self._overhead = Histogram(
            "llm_proxy_overhead_seconds",
            "Time that was neither an upstream's nor a deliberate wait.",
            OVERHEAD,
        )
        self._queued = Histogram(
            "llm_queue_seconds", "Time in the queue, of calls that had to wait for a place.", QUEUED
        )
        self._decisions = Counter("llm_routing_decisions", "Plans, by what decided.", ("route",))
        self._fallback = Counter("llm_fallback", "Calls that another than the first choice answered.", _MODEL)
        self._prompt = Counter("llm_tokens_prompt", "Prompt tokens of answers.", _MODEL)
        self._completion = Counter("llm_tokens_completion", "Completion tokens of answers.", _MODEL)
        self._cost = Counter("llm_cost_usd", "Cost of answers whose price is known.", _MODEL)
        self._unknown = Counter("llm_cost_unknown", "Answers whose price is unknown.", _MODEL)
        self._wasted = Counter("llm_wasted_cost_usd", "Cost of attempts that no caller saw.")
        self._judge = Counter("llm_judge_cost_usd", "Cost of asking the judge.")
        self._attempts = Counter("llm_attempts", "Attempts.", (*_MODEL, "outcome"))
        self._failures = Counter("llm_upstream_failures", "Failed attempts, by why.", (*_MODEL, "kind"))
        self._reloads = Counter("llm_config_reloads", "Reloads of the configuration.", ("result",))
        for result in RELOADS:
            self._reloads.add((result,), 0.0)
        self._labelled: dict[str, Labels] = {}
        """Every model that was ever known: calls of models that went away are still on their way."""
        self._epoch, self._loaded = "", 0.0
        self.know(models, intents)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def know(self, models: Iterable[Model], intents: Iterable[str]) -> None:
        """The registry in force: the values that labels may have. What was counted stays."""
        self._models: dict[str, Labels] = {}
        self._intents = frozenset(intents)
        for model in models:
            labels = self._models[model.id] = self._labelled[model.id] = (model.id, model.provider)
            # From 0 on, so that a rate sees the first one; a cost only where there is a price.
            for counter in (self._fallback, self._prompt, self._completion):
                counter.add(labels, 0.0)
            (self._unknown if model.price is None else self._cost).add(labels, 0.0)

    def loaded(self, epoch: str, at: float) -> None:
        """This configuration is in force since `at`, Unix time."""
        self._epoch, self._loaded = epoch, at

    def reloaded(self, result: str) -> None:
        """A reload has ended, as one of RELOADS."""
        self._reloads.add((_closed(result, RELOADS),))

    def write(self, records: Sequence[CallRecord]) -> None:
        """Counts a batch."""
        for record in records:
            self._fold(record)

    def close(self) -> None:
        """Nothing is held back."""

    def render(self) -> tuple[bytes, str]:
        """The exposition (text format 0.0.4) and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Metric]:
        """Every series, those that are read at the scrape included."""
        for series in vars(self).values():
            if isinstance(series, Counter | Histogram):
                yield from series.collect()
        for name, read in self._counted.items():
            family = GaugeMetricFamily if name in GAUGES else CounterMetricFamily
            yield family(name, {**COUNTED, **GAUGES}[name], value=read())
        yield GaugeMetricFamily(
            "llm_config_loaded_timestamp_seconds", "When the configuration was last read.", value=self._loaded
        )
        info = GaugeMetricFamily("llm_config_info", "1; the epoch in force.", labels=("epoch",))
        info.add_metric((self._epoch,), 1.0)
        yield info
        yield self._open()

    def _open(self) -> Metric:
        gauge = GaugeMetricFamily("circuit_open_gauge", "1 open, 0.5 half-open, 0 closed.", labels=_MODEL)
        circuits = self._circuits()
        for model, labels in self._models.items():
            view = circuits.get(model)
            gauge.add_metric(labels, _STATES[view.state] if view is not None else 0.0)
        return gauge

    def _fold(self, record: CallRecord) -> None:
        model = self._labels(record.selected_model)
        intent = _closed(record.intent, self._intents)
        self._requests.add((*model, intent, _closed(record.outcome, OUTCOMES)))
        self._latency.observe(model, record.latency_ms / 1e3)
        self._overhead.observe((), record.overhead_ms / 1e3)
        if record.queued_ms:
            self._queued.observe((), record.queued_ms / 1e3)
        if record.route:
            self._decisions.add((_route(record.route),))
        for attempt in record.attempts:
            self._fold_attempt(attempt)
        if record.selected_model is not None:
            self._fold_answer(record, model)
        if record.wasted_usd:
            self._wasted.add((), record.wasted_usd)
        if record.judge_usd:
            self._judge.add((), record.judge_usd)

    def _fold_attempt(self, attempt: Attempt) -> None:
        model = self._labels(attempt.model)
        self._attempts.add((*model, _closed(attempt.outcome, ATTEMPT_OUTCOMES)))
        if attempt.failure is not None:
            self._failures.add((*model, _closed(attempt.failure, KINDS)))

    def _fold_answer(self, record: CallRecord, model: Labels) -> None:
        if record.fallback_used:
            self._fallback.add(model)
        if record.ttft_ms is not None:
            self._ttft.observe(model, record.ttft_ms / 1e3)
        if record.usage is not None:
            self._prompt.add(model, record.usage.prompt)
            self._completion.add(model, record.usage.completion)
        if record.cost_usd is None:
            self._unknown.add(model)
        else:
            self._cost.add(model, record.cost_usd)

    def _labels(self, model: str | None) -> Labels:
        return (NONE, NONE) if model is None else self._labelled.get(model, (OTHER, OTHER))


def _closed(value: str | None, known: frozenset[str]) -> str:
    if value is None:
        return NONE
    return value if value in known else OTHER


def _route(route: str) -> str:
    return route if route in ROUTES or route.startswith(RULE) else OTHER
