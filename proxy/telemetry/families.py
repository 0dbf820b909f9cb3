"""Every series that /metrics shows, in the order in which it shows them: what it counts, by which labels.

Names and units follow Prometheus' rules (https://prometheus.io/docs/practices/naming/); the first seven
and their names are the contract's.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

Labels = tuple[str, ...]


class Kind(StrEnum):
    """What a series is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(Struct, frozen=True):
    """Series of one name."""

    kind: Kind
    name: str
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """A histogram's, ascending."""
    greatest: bool = False
    """Of several workers' gauges the greatest is shown; all others, like counters, are added up."""


LATENCY = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds that whole LLM calls take."""
TTFT = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds to the first token."""
SPEED = (1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0)
"""Tokens a second, from a laptop to wafer-sized chips."""
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)
"""Seconds of our own."""
QUEUED = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds in the queue, of those that had to wait."""
LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds by which the event loop is late."""

_MODEL = ("model", "provider")


def _counter(name: str, help: str, *labels: str) -> Family:
    return Family(Kind.COUNTER, name, help, labels)


def _gauge(name: str, help: str, *labels: str, greatest: bool = False) -> Family:
    return Family(Kind.GAUGE, name, help, labels, greatest=greatest)


def _histogram(name: str, help: str, bounds: tuple[float, ...], *labels: str) -> Family:
    return Family(Kind.HISTOGRAM, name, help, labels, bounds)


_ALL = (
    _counter("llm_requests_total", "Calls that ended.", *_MODEL, "intent", "outcome"),
    _histogram("llm_request_latency_seconds", "From a call's arrival to its end.", LATENCY, *_MODEL),
    _counter("llm_fallback_total", "Calls that another than the first choice answered.", *_MODEL),
    _counter("llm_tokens_prompt_total", "Prompt tokens of answers.", *_MODEL),
    _counter("llm_tokens_completion_total", "Completion tokens of answers.", *_MODEL),
    _counter("llm_cost_usd_total", "Cost of answers whose price is known.", *_MODEL),
    _gauge(
        "circuit_open_gauge",
        "1 open, 0.5 half-open, 0 closed; of several workers the one that is furthest from closed.",
        *_MODEL,
        greatest=True,
    ),
    # answers
    _histogram(
        "llm_time_to_first_token_seconds", "From a stream's arrival to its first token.", TTFT, *_MODEL
    ),
    _histogram(
        "llm_tokens_per_second", "Completion tokens a second of streams, once they had begun.", SPEED, *_MODEL
    ),
    _counter("llm_tokens_cached_total", "Prompt tokens that came from a provider's cache.", *_MODEL),
    # money
    _counter("llm_cost_unknown_total", "Answers whose price is unknown.", *_MODEL),
    _counter(
        "llm_baseline_cost_usd_total",
        "What answers whose price is known would have cost at the baseline's price.",
        *_MODEL,
    ),
    _counter("llm_wasted_cost_usd_total", "Cost of attempts that no caller saw."),
    _counter("llm_judge_cost_usd_total", "Cost of asking the judge."),
    # routing
    _counter("llm_routing_decisions_total", "Plans, by what decided.", "route"),
    _counter("llm_decision_cache_total", "Calls for auto, by whether their decision was remembered.",
             "result"),
    # attempts
    _counter("llm_attempts_total", "Attempts.", *_MODEL, "outcome"),
    _counter("llm_upstream_failures_total", "Failed attempts, by why.", *_MODEL, "kind"),
    _counter("llm_retries_total", "Attempts at the same model again, by why the one before failed.",
             *_MODEL, "kind"),
    _counter("llm_hedges_total", "Attempts begun beside one that was late, by who was quicker.",
             *_MODEL, "result"),
    _counter("llm_throttles_total", "Attempts that the upstream refused for their rate (429).", *_MODEL),
    _counter("llm_skips_total", "Models that were passed over on the way, by why.", *_MODEL, "reason"),
    # circuits
    _gauge("llm_circuit_state", "Workers whose circuit is in this state.", *_MODEL, "state"),
    _gauge("llm_throttled", "Workers that wait because the upstream asked for patience.", *_MODEL),
    _gauge("llm_model_disabled", "1 while an operator has the model out of service.", *_MODEL,
           greatest=True),
    _counter("llm_circuit_transitions_total", "Circuits that changed, by what to.", *_MODEL, "state"),
    # the proxy itself
    _histogram(
        "llm_proxy_overhead_seconds",
        "Time that was neither an upstream's nor a deliberate wait; of streams until their first token.",
        OVERHEAD,
    ),
    _histogram("llm_queue_seconds", "Time in the queue, of calls that had to wait for a place.", QUEUED),
    _gauge("llm_queue_in_flight", "Calls that are being served."),
    _gauge("llm_queue_waiting", "Calls that wait for a place."),
    _counter("llm_queue_refused_total", "Calls that were sent away because there was no place for them."),
    _gauge("llm_connections", "Connections of callers."),
    _gauge("llm_upstream_connections", "Connections to upstreams, the idle ones included."),
    _gauge("llm_tasks", "Tasks of the event loop: a few, and one for each call."),
    _histogram("llm_event_loop_lag_seconds", "How late the event loop woke, ten times a second.", LAG),
    _gauge("llm_conversations", "Conversations that are remembered, by the worker that knows most.",
           greatest=True),
    _gauge("llm_conversations_untold", "Conversations that some worker has still to hear of from another."),
    _gauge("llm_workers", "Processes that serve."),
    _counter("llm_worker_deaths_total", "Workers that ended without having been told to."),
    _gauge("llm_proxy_info", "1, by version.", "version", greatest=True),
    # the configuration
    _counter("llm_config_reloads_total", "Reloads of the configuration.", "result"),
    _gauge("llm_config_loaded_timestamp_seconds", "When the configuration was last read, in Unix time.",
           greatest=True),
    _gauge("llm_config_info", "1, by the epoch in force.", "epoch", greatest=True),
    # what was lost on the way to a sink
    _counter("llm_records_dropped_total", "Records that found the queue full."),
    _counter("llm_batches_lost_total", "Batches of records that a sink failed to take."),
    _counter("llm_log_lines_lost_total", "Log lines that could not be written."),
    _counter("llm_conversations_lost_total", "Conversations, or letters, that a worker never heard of."),
    _counter("llm_call_log_lost_total", "Calls that the call log could not keep."),
    _counter("llm_metric_exports_lost_total", "Exports of metrics that no collector took."),
    _counter("llm_spans_lost_total", "Spans that found their queue full, or that no collector took."),
    # the processes, by the names that every Prometheus client gives them
    _counter("process_cpu_seconds_total", "Processor time of all workers."),
    _gauge("process_resident_memory_bytes", "Resident memory of all workers."),
    _gauge("process_open_fds", "Files and sockets that all workers hold."),
)  # fmt: skip

FAMILIES = {family.name: family for family in _ALL}
