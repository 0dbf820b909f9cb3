"""A sink that counts: what is in each record is folded into series when records are flushed.

    records --fold--> series --+       those of plain calls by way of tallies, which are spread at the scrape
    circuits, drops, queue ----+--snapshot--> /metrics (exposition.py), other workers (board.py), OTLP
                          read at the scrape

Label values come from the registry and from closed sets only; anything else is `other`, absence `none`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from proxy import __version__
from proxy.record import Attempt, CallRecord
from proxy.telemetry import process
from proxy.telemetry.families import FAMILIES, Kind, Labels
from proxy.telemetry.series import Histogram, Series, add, fresh
from proxy.types import FailureKind, Model

NONE = "none"
OTHER = "other"

OUTCOMES = frozenset({"ok", "error", "refused", "caller_left", "aborted"})
ATTEMPT_OUTCOMES = frozenset({"ok", "failed", "skipped", "cancelled", "cut", "judge"})
KINDS = frozenset(FailureKind)
LASTING = (FailureKind.AUTH, FailureKind.QUOTA)
"""After one of these nothing is asked for minutes: the first must be seen."""
RELOADS = frozenset({"changed", "unchanged", "refused"})
ROUTES = frozenset({"cache", "semantic", "judge", "score", "sticky", "escalation", "explore", "default",
                    "explicit"})  # fmt: skip
RULE = "rule:"
"""Before the name of a rule; rules are named in the configuration."""
REASONS = frozenset({"circuit_open", "key_refused", "quota_exhausted", "throttled", "unavailable",
                     "overloaded", "probe_in_flight", "disabled", "forced_open"})  # fmt: skip
"""Why a model was passed over."""
STATES = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
"""Of circuits, and how they are drawn."""

SHORTEST_MS = 1.0
"""A stream that was written faster came in one piece: it has no speed."""

READ = frozenset(
    {
        "llm_records_dropped_total",
        "llm_batches_lost_total",
        "llm_log_lines_lost_total",
        "llm_spans_lost_total",
        "llm_metric_exports_lost_total",
        "llm_conversations",
        "llm_conversations_untold",
        "llm_conversations_lost_total",
        "llm_call_log_lost_total",
        "llm_queue_refused_total",
        "llm_queue_in_flight",
        "llm_queue_waiting",
        "llm_connections",
        "llm_tasks",
        "llm_upstream_connections",
    }
)
"""What is read at the scrape from those who count it."""


class Tally(Struct):
    """What plain calls come to: those that the first model answered, whose plan and intent were alike."""

    calls: float = 0.0
    prompt: float = 0.0
    completion: float = 0.0
    cached: float = 0.0
    unpriced: float = 0.0
    cost: float = 0.0
    baseline: float | None = None


class Metrics:
    """Counts for one process."""

    def __init__(
        self,
        models: Iterable[Model],
        intents: Iterable[str],
        circuits: Callable[[], Mapping[str, Any]],
        counted: Mapping[str, Callable[[], float]] = {},
    ) -> None:
        """`circuits`: model -> its circuit's view; `counted`: what others count, by the names in `READ`."""
        self._circuits = circuits
        self._counted = {**process.COUNTED, **counted}
        self._series = series = fresh()
        self._counters = counters = series.counters
        self._requests = counters["llm_requests_total"]
        self._attempts = counters["llm_attempts_total"]
        self._prompt = counters["llm_tokens_prompt_total"]
        self._completion = counters["llm_tokens_completion_total"]
        self._cached = counters["llm_tokens_cached_total"]
        self._cost = counters["llm_cost_usd_total"]
        self._baseline = counters["llm_baseline_cost_usd_total"]
        self._unknown = counters["llm_cost_unknown_total"]
        self._fallback = counters["llm_fallback_total"]
        self._latency = Histogram("llm_request_latency_seconds", series)
        self._ttft = Histogram("llm_time_to_first_token_seconds", series)
        self._speed = Histogram("llm_tokens_per_second", series)
        self._overhead = Histogram("llm_proxy_overhead_seconds", series)
        self._queued = Histogram("llm_queue_seconds", series)
        self._lag = Histogram("llm_event_loop_lag_seconds", series)
        series.gauges["llm_workers"][()] = 1.0
        series.gauges["llm_proxy_info"][__version__,] = 1.0
        for result in RELOADS:
            add(counters["llm_config_reloads_total"], (result,), 0.0)
        self._tallies: dict[tuple[str | None, str | None, str], Tally] = {}
        """By model, intent and route."""
        self._labelled: dict[str, Labels] = {}
        """Every model that was ever known: calls of models that went away are still on their way."""
        self.know(models, intents)

    def know(self, models: Iterable[Model], intents: Iterable[str]) -> None:
        """The registry in force: the values that labels may have. What was counted stays."""
        self._spread()
        self._models: dict[str, Labels] = {}
        self._intents = frozenset(intents)
        for model in models:
            labels = self._models[model.id] = self._labelled[model.id] = (model.id, model.provider)
            # From 0 on, so that a rate sees the first one; a cost only where there is a price.
            priced = (self._unknown,) if model.price is None else (self._cost, self._baseline)
            throttles = self._counters["llm_throttles_total"]
            for numbers in (self._fallback, self._prompt, self._completion, self._cached, throttles, *priced):
                add(numbers, labels, 0.0)
            for kind in LASTING:
                add(self._counters["llm_upstream_failures_total"], (*labels, str(kind)), 0.0)
            for state in STATES:
                add(self._counters["llm_circuit_transitions_total"], (*labels, state), 0.0)

    def loaded(self, epoch: str, at: float) -> None:
        """This configuration is in force since `at`, Unix time."""
        gauges = self._series.gauges
        gauges["llm_config_loaded_timestamp_seconds"][()] = at
        gauges["llm_config_info"] = {(epoch,): 1.0}

    def reloaded(self, result: str) -> None:
        """A reload has ended, as one of RELOADS."""
        add(self._counters["llm_config_reloads_total"], (_closed(result, RELOADS),))

    def write(self, records: Sequence[CallRecord]) -> None:
        """Counts a batch."""
        for record in records:
            self._fold(record)

    def close(self) -> None:
        """Nothing is held back."""

    def late(self, seconds: float) -> None:
        """The event loop woke so much later than it should have."""
        self._lag.observe((), seconds)

    def moved(self, model: str, state: str) -> None:
        """A circuit has changed to this state."""
        labels = (*self._labels(model), _closed(state, STATES))
        add(self._counters["llm_circuit_transitions_total"], labels)

    def snapshot(self) -> Series:
        """What was counted and how things stand now. Still counted into: encode it or copy it at once."""
        self._spread()
        series = self._series
        for name, read in self._counted.items():
            numbers = series.counters if FAMILIES[name].kind is Kind.COUNTER else series.gauges
            numbers[name][()] = float(read())
        self._look_at_circuits()
        return series

    def _look_at_circuits(self) -> None:
        gauges, views = self._series.gauges, self._circuits()
        drawn: dict[Labels, float] = {}
        states: dict[Labels, float] = {}
        throttled: dict[Labels, float] = {}
        disabled: dict[Labels, float] = {}
        for model, labels in self._models.items():
            view = views.get(model)
            now = str(view.state) if view is not None else "closed"
            drawn[labels] = STATES[now]
            throttled[labels] = float(view is not None and view.throttled_for > 0.0)
            disabled[labels] = float(view is not None and view.disabled)
            states.update({(*labels, state): float(state == now) for state in STATES})
        gauges["circuit_open_gauge"] = drawn
        gauges["llm_circuit_state"] = states
        gauges["llm_throttled"] = throttled
        gauges["llm_model_disabled"] = disabled

    # --- folding ---

    def _fold(self, record: CallRecord) -> None:
        model = self._labels(record.selected_model)
        self._latency.observe(model, record.latency_ms / 1e3)
        self._overhead.observe((), record.overhead_ms / 1e3)
        if record.queued_ms:
            self._queued.observe((), record.queued_ms / 1e3)
        attempts = record.attempts
        only = attempts[0] if len(attempts) == 1 and record.outcome == "ok" else None
        if only is None or only.outcome != "ok" or only.failure or only.hedge or record.fallback_used:
            self._fold_whole(record, model)
            return
        self._tally(record)
        if record.stream:
            self._fold_times(record, model, only)

    def _tally(self, record: CallRecord) -> None:
        key = record.selected_model, record.intent, record.route
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        tally.calls += 1.0
        usage = record.usage
        if usage is not None:
            tally.prompt += usage.prompt
            tally.completion += usage.completion
            tally.cached += usage.cached
        if record.cost_usd is None:
            tally.unpriced += 1.0
        else:
            tally.cost += record.cost_usd
            # Beside a cost that is known only: the difference is what was saved.
            if record.baseline_usd is not None:
                tally.baseline = (tally.baseline or 0.0) + record.baseline_usd

    def _spread(self) -> None:
        """Counts what the tallies hold."""
        tallies, self._tallies = self._tallies, {}
        for (name, intent, route), tally in tallies.items():
            model, calls = self._labels(name), tally.calls
            add(self._requests, (*model, _closed(intent, self._intents), "ok"), calls)
            add(self._attempts, (*model, "ok"), calls)
            self._fold_decision(route, intent, calls)
            add(self._prompt, model, tally.prompt)
            add(self._completion, model, tally.completion)
            add(self._cached, model, tally.cached)
            if tally.unpriced:
                add(self._unknown, model, tally.unpriced)
            if tally.unpriced < calls:
                add(self._cost, model, tally.cost)
            if tally.baseline is not None:
                add(self._baseline, model, tally.baseline)

    def _fold_whole(self, record: CallRecord, model: Labels) -> None:
        """A call of which there is more to be said."""
        intent = _closed(record.intent, self._intents)
        add(self._requests, (*model, intent, _closed(record.outcome, OUTCOMES)))
        if record.route:
            self._fold_decision(record.route, record.intent, 1.0)
        last = None
        for attempt in record.attempts:
            self._fold_attempt(attempt, last)
            last = attempt
        if record.selected_model is not None:
            self._fold_answer(record, model, last)
        if record.wasted_usd:
            add(self._counters["llm_wasted_cost_usd_total"], (), record.wasted_usd)
        if record.judge_usd:
            add(self._counters["llm_judge_cost_usd_total"], (), record.judge_usd)

    def _fold_decision(self, route: str, intent: str | None, calls: float) -> None:
        add(self._counters["llm_routing_decisions_total"], (_route(route),), calls)
        if intent is not None:  # a model that was named is not decided about
            result = "hit" if route == "cache" else "miss"
            add(self._counters["llm_decision_cache_total"], (result,), calls)

    def _fold_attempt(self, attempt: Attempt, last: Attempt | None) -> None:
        model = self._labels(attempt.model)
        outcome = attempt.outcome
        add(self._attempts, (*model, _closed(outcome, ATTEMPT_OUTCOMES)))
        if attempt.failure is not None:
            add(self._counters["llm_upstream_failures_total"], (*model, _closed(attempt.failure, KINDS)))
            if attempt.failure is FailureKind.RATE_LIMIT:
                add(self._counters["llm_throttles_total"], model)
        if attempt.hedge:
            result = "won" if outcome in ("ok", "cut") else "lost"
            add(self._counters["llm_hedges_total"], (*model, result))
        if outcome == "skipped":
            add(self._counters["llm_skips_total"], (*model, _closed(attempt.reason, REASONS)))
        elif last is not None and last.model == attempt.model and last.outcome == "failed":
            add(self._counters["llm_retries_total"], (*model, _closed(last.failure, KINDS)))

    def _fold_answer(self, record: CallRecord, model: Labels, last: Attempt | None) -> None:
        usage = record.usage
        if record.fallback_used:
            add(self._fallback, model)
        if usage is not None:
            add(self._prompt, model, usage.prompt)
            add(self._completion, model, usage.completion)
            if usage.cached:
                add(self._cached, model, usage.cached)
        if record.cost_usd is None:
            add(self._unknown, model)
        else:
            add(self._cost, model, record.cost_usd)
            # Beside a cost that is known only: the difference is what was saved.
            if record.baseline_usd is not None:
                add(self._baseline, model, record.baseline_usd)
        if record.stream:
            if last is not None and last.outcome == "cancelled":  # by this answer, which was quicker
                last = next((each for each in record.attempts if each.outcome == "ok"), last)
            cut = next((each for each in record.attempts if each.outcome == "cut"), None)
            self._fold_times(record, model, last, None if cut is None else self._labels(cut.model))

    def _fold_times(
        self, record: CallRecord, model: Labels, last: Attempt | None, began: Labels | None = None
    ) -> None:
        """How soon a stream began, by `began` where another went on, and how fast its last attempt wrote."""
        if record.ttft_ms is None:
            return
        self._ttft.observe(began or model, record.ttft_ms / 1e3)
        if last is not None and last.outcome == "ok" and last.usage is not None:
            writing = last.duration_ms - (last.ttft_ms or 0.0)
            if writing > SHORTEST_MS:
                self._speed.observe(model, last.usage.completion / writing * 1e3)

    def _labels(self, model: str | None) -> Labels:
        return (NONE, NONE) if model is None else self._labelled.get(model, (OTHER, OTHER))


def _closed(value: str | None, known: Container[str]) -> str:
    if value is None:
        return NONE
    return value if value in known else OTHER


def _route(route: str) -> str:
    return route if route in ROUTES or route.startswith(RULE) else OTHER
