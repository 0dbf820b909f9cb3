"""Prometheus: counts are folded from records when they are flushed, so a call costs next to nothing.

Label values come from the registry and from closed enums only; anything else is `other`, absence `none`.
Label children are made once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from proxy.types import CallRecord, Model

NONE = "none"
OTHER = "other"

LATENCY = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds that whole LLM calls take."""
TTFT = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0, 8.0, 15.0, 30.0)
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)

_STATES = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Metrics:
    """A sink that counts, and what /metrics shows."""

    def __init__(
        self,
        models: Iterable[Model],
        intents: Iterable[str],
        circuits: Callable[[], Mapping[str, Any]],
        dropped: Callable[[], int] = lambda: 0,
    ) -> None:
        self._models = {model.id: model.provider for model in models}
        self._intents = frozenset(intents)
        self._registry = CollectorRegistry()
        self._children: dict[tuple[Any, ...], Any] = {}
        self._registry.register(_Gauges(tuple(self._models), circuits, dropped))
        own = self._registry
        model = ("model", "provider")
        self._requests = Counter(
            "llm_requests", "Calls that ended.", (*model, "intent", "outcome"), registry=own
        )
        self._latency = Histogram(
            "llm_request_latency_seconds", "From arrival to the end.", model, buckets=LATENCY, registry=own
        )
        self._fallback = Counter(
            "llm_fallback", "Calls answered by another than the first choice.", model, registry=own
        )
        self._prompt = Counter("llm_tokens_prompt", "Prompt tokens of answers.", model, registry=own)
        self._completion = Counter(
            "llm_tokens_completion", "Completion tokens of answers.", model, registry=own
        )
        self._cost = Counter("llm_cost_usd", "Cost of answers whose price is known.", model, registry=own)
        self._unknown = Counter("llm_cost_unknown", "Answers whose price is unknown.", model, registry=own)
        self._wasted = Counter("llm_wasted_cost_usd", "Cost of attempts that no caller saw.", registry=own)
        self._judge = Counter("llm_judge_cost_usd", "Cost of asking the judge.", registry=own)
        self._ttft = Histogram(
            "llm_time_to_first_token_seconds", "Of the answering attempt.", model, buckets=TTFT, registry=own
        )
        self._decisions = Counter(
            "llm_routing_decisions", "Plans, by the step that answered.", ("route",), registry=own
        )
        self._overhead = Histogram(
            "llm_proxy_overhead_seconds",
            "Time that was neither an upstream's nor a deliberate wait.",
            buckets=OVERHEAD,
            registry=own,
        )
        self._attempts = Counter("llm_attempts", "Attempts, by outcome.", (*model, "outcome"), registry=own)
        self._failures = Counter(
            "llm_upstream_failures", "Failed attempts, by kind.", (*model, "kind"), registry=own
        )

    def write(self, records: Sequence[CallRecord]) -> None:
        """Counts a batch."""
        for record in records:
            self._fold(record)

    def close(self) -> None:
        """Nothing is held back."""

    def render(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _fold(self, record: CallRecord) -> None:
        model = self._of(record.selected_model)
        self._child(self._requests, *model, self._intent(record), record.outcome).inc()
        self._child(self._latency, *model).observe(record.latency_ms / 1e3)
        self._child(self._overhead).observe(record.overhead_ms / 1e3)
        if record.route:
            self._child(self._decisions, record.route).inc()
        for attempt in record.attempts:
            asked = self._of(attempt.model)
            self._child(self._attempts, *asked, attempt.outcome).inc()
            if attempt.failure is not None:
                self._child(self._failures, *asked, str(attempt.failure)).inc()
        if record.selected_model is not None:
            self._answered(record, model)
        if record.wasted_usd:
            self._child(self._wasted).inc(record.wasted_usd)
        if record.judge_usd:
            self._child(self._judge).inc(record.judge_usd)

    def _answered(self, record: CallRecord, model: tuple[str, str]) -> None:
        if record.fallback_used:
            self._child(self._fallback, *model).inc()
        if record.ttft_ms is not None:
            self._child(self._ttft, *model).observe(record.ttft_ms / 1e3)
        if record.usage is not None:
            self._child(self._prompt, *model).inc(record.usage.prompt)
            self._child(self._completion, *model).inc(record.usage.completion)
        if record.cost_usd is None:
            self._child(self._unknown, *model).inc()
        else:
            self._child(self._cost, *model).inc(record.cost_usd)

    def _of(self, model: str | None) -> tuple[str, str]:
        if model is None:
            return NONE, NONE
        provider = self._models.get(model)
        return (model, provider) if provider is not None else (OTHER, OTHER)

    def _intent(self, record: CallRecord) -> str:
        if record.intent is None:
            return NONE
        return record.intent if record.intent in self._intents else OTHER

    def _child(self, metric: Any, *labels: str) -> Any:
        if not labels:
            return metric
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


class _Gauges(Collector):
    """What is true at the moment of a scrape."""

    def __init__(
        self, models: tuple[str, ...], circuits: Callable[[], Mapping[str, Any]], dropped: Callable[[], int]
    ) -> None:
        self._models = models
        self._circuits = circuits
        self._dropped = dropped

    def collect(self) -> Iterator[Any]:
        """The gauges, read afresh."""
        gauge = GaugeMetricFamily("circuit_open_gauge", "1 open, 0.5 half-open, 0 closed.", labels=("model",))
        circuits = self._circuits()
        for model in self._models:
            view = circuits.get(model)
            gauge.add_metric((model,), _STATES[str(view.state)] if view is not None else 0.0)
        yield gauge
        yield CounterMetricFamily(
            "llm_records_dropped", "Records that found the queue full.", value=self._dropped()
        )
