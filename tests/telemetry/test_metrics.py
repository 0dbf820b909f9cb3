"""What records count for, read back by the parser of the Prometheus client."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.dispatch.breaker import Breakers, Refusal, State
from proxy.dispatch.policy import BreakerPolicy
from proxy.record import Attempt, CallRecord
from proxy.telemetry.exposition import render
from proxy.telemetry.families import FAMILIES
from proxy.telemetry.metrics import ATTEMPT_OUTCOMES, OUTCOMES, READ, REASONS, STATES, Metrics
from proxy.types import FailureKind, Model, Price, Usage

MODELS = (
    Model("groq/llama", "groq", "llama"),
    Model("or/sonnet", "openrouter", "sonnet", price=Price(3.0, 15.0)),
)
SONNET = {"model": "or/sonnet", "provider": "openrouter"}
LLAMA = {"model": "groq/llama", "provider": "groq"}

CONTRACT = (
    "llm_requests_total",
    "llm_request_latency_seconds_count",
    "llm_fallback_total",
    "llm_tokens_prompt_total",
    "llm_tokens_completion_total",
    "llm_cost_usd_total",
    "circuit_open_gauge",
)


class Page:
    """A scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self.text = render(metrics.snapshot()).decode()
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        found = [s.value for s in self.samples if s.name == name and s.labels == labels]
        assert len(found) <= 1, f"{name} {labels} stands there twice"
        return found[0] if found else None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(MODELS, ["code_generation"], dict)


def test_a_call_is_counted_everywhere_once(metrics: Metrics, make: Any) -> None:
    metrics.write([make()])
    page = Page(metrics)
    assert page.value("llm_requests_total", **SONNET, intent="code_generation", outcome="ok") == 1
    assert page.value("llm_request_latency_seconds_count", **SONNET) == 1
    assert page.value("llm_request_latency_seconds_sum", **SONNET) == pytest.approx(0.78)
    assert page.value("llm_request_latency_seconds_bucket", **SONNET, le="0.5") == 0
    assert page.value("llm_request_latency_seconds_bucket", **SONNET, le="1.0") == 1
    assert page.value("llm_request_latency_seconds_bucket", **SONNET, le="+Inf") == 1
    assert page.value("llm_time_to_first_token_seconds_sum", **SONNET) == pytest.approx(0.26)
    assert page.value("llm_fallback_total", **SONNET) == 1
    assert page.value("llm_tokens_prompt_total", **SONNET) == 100
    assert page.value("llm_tokens_completion_total", **SONNET) == 20
    assert page.value("llm_cost_usd_total", **SONNET) == pytest.approx(0.002)
    assert page.value("llm_cost_unknown_total", **SONNET) is None
    assert page.value("llm_wasted_cost_usd_total") == pytest.approx(0.001)
    assert page.value("llm_routing_decisions_total", route="score") == 1
    assert page.value("llm_proxy_overhead_seconds_count") == 1
    assert page.value("llm_attempts_total", **LLAMA, outcome="failed") == 1
    assert page.value("llm_attempts_total", **SONNET, outcome="ok") == 1
    assert page.value("llm_upstream_failures_total", **LLAMA, kind="server_error") == 1
    assert page.value("circuit_open_gauge", **SONNET) == 0


def test_the_series_of_the_contract_have_exactly_these_names(metrics: Metrics, make: Any) -> None:
    metrics.write([make()])
    names = {sample.name for sample in Page(metrics).samples}
    assert names.issuperset(CONTRACT)
    assert not [name for name in names if name.endswith("_created")]


def test_every_family_says_what_it_is(metrics: Metrics, make: Any) -> None:
    metrics.write([make()])
    page = Page(metrics)
    for family in page.families:
        assert family.documentation.endswith("."), family.name
        assert family.type in ("counter", "gauge", "histogram")
        assert re.fullmatch("[a-z_]+", family.name)
        assert (family.type == "counter") == (f"{family.name}_total" in FAMILIES)
    assert len({family.name for family in page.families}) == len(page.families)


def test_a_call_that_was_refused_has_no_model(metrics: Metrics, refused: CallRecord) -> None:
    metrics.write([refused])
    page = Page(metrics)
    assert (
        page.value("llm_requests_total", model="none", provider="none", intent="none", outcome="refused") == 1
    )
    assert sum(s.value for s in page.samples if s.name == "llm_cost_unknown_total") == 0


def test_an_unknown_price_is_counted_apart(metrics: Metrics, make: Any) -> None:
    metrics.write([make(cost_usd=None)])
    page = Page(metrics)
    assert page.value("llm_cost_unknown_total", **SONNET) == 1
    assert page.value("llm_cost_usd_total", **SONNET) == 0


def test_nothing_that_a_caller_or_an_upstream_made_up_becomes_a_label(metrics: Metrics, make: Any) -> None:
    evil = 'x"} 1\nevil{a="'
    record = make(
        selected_model=evil,
        provider=evil,
        requested_model=evil,
        intent=evil,
        outcome=evil,
        route=evil,
        attempts=[Attempt(evil, evil, outcome=evil)],
    )
    metrics.write([record] * 3)
    page = Page(metrics)
    assert "evil" not in page.text
    other = {"model": "other", "provider": "other"}
    assert page.value("llm_requests_total", **other, intent="other", outcome="other") == 3
    assert page.value("llm_attempts_total", **other, outcome="other") == 3
    assert page.value("llm_routing_decisions_total", route="other") == 3


@pytest.mark.parametrize(
    "route", ["cache", "rule:short-chat", "judge", "score", "sticky", "escalation", "default", "explicit"]
)
def test_routes_keep_their_names(metrics: Metrics, make: Any, route: str) -> None:
    metrics.write([make(route=route)])
    assert Page(metrics).value("llm_routing_decisions_total", route=route) == 1


def test_the_closed_sets_hold_what_records_can_say() -> None:
    said = set(re.findall("`([a-z_]+)`", (Attempt.__doc__ or "").partition("outcome")[2]))
    assert said - {"outcome"} == ATTEMPT_OUTCOMES
    assert {"ok", "error", "refused", "caller_left", "aborted"} == OUTCOMES


def test_series_start_at_zero_where_their_labels_are_known(metrics: Metrics) -> None:
    page = Page(metrics)
    for name in ("llm_fallback_total", "llm_tokens_prompt_total", "llm_tokens_completion_total"):
        assert page.value(name, **LLAMA) == page.value(name, **SONNET) == 0
    assert (page.value("llm_cost_usd_total", **SONNET), page.value("llm_cost_usd_total", **LLAMA)) == (
        0,
        None,
    )
    assert page.value("llm_cost_unknown_total", **LLAMA) == 0
    assert page.value("llm_wasted_cost_usd_total") == 0


def test_a_reload_changes_the_labels_and_keeps_the_counts(metrics: Metrics, make: Any) -> None:
    metrics.write([make()])
    metrics.know(MODELS[:1], ["math"])
    metrics.write([make()])
    page = Page(metrics)
    assert page.value("llm_requests_total", **SONNET, intent="code_generation", outcome="ok") == 1
    # A call of a model that went away was still on its way: it is known by its name.
    assert page.value("llm_requests_total", **SONNET, intent="other", outcome="ok") == 1
    assert page.value("circuit_open_gauge", **SONNET) is None


def test_what_is_read_at_the_scrape() -> None:
    now = [100.0]
    breakers = Breakers(BreakerPolicy(), lambda: now[0], lambda: 0.5)
    counts = {name: index for index, name in enumerate(READ)}
    metrics = Metrics(
        MODELS,
        [],
        breakers.snapshot,
        {name: lambda count=count: count for name, count in counts.items()},  # type: ignore[misc]
    )
    assert Page(metrics).value("circuit_open_gauge", **LLAMA) == 0
    breakers.force_open("groq/llama")
    page = Page(metrics)
    assert page.value("circuit_open_gauge", **LLAMA) == 1
    for name, count in counts.items():
        assert page.value(name) == count


def test_time_in_the_queue_is_told_of_those_who_waited(metrics: Metrics, make: Any) -> None:
    metrics.write([make(queued_ms=0.0), make(queued_ms=40.0)])
    page = Page(metrics)
    assert page.value("llm_queue_seconds_count") == 1
    assert page.value("llm_queue_seconds_sum") == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("members", "baseline", "cost"),
    [
        pytest.param({"baseline_usd": 0.01}, 0.01, 0.002, id="a known cost has its baseline"),
        pytest.param(
            {"baseline_usd": 0.01, "cost_usd": None}, 0, 0, id="beside an unknown cost it says nothing"
        ),
        pytest.param({}, 0, 0.002, id="without a baseline it stays 0"),
    ],
)
def test_what_was_saved_is_the_baseline_less_the_cost(
    metrics: Metrics, make: Any, members: dict[str, Any], baseline: float, cost: float
) -> None:
    metrics.write([make(**members)])
    page = Page(metrics)
    assert page.value("llm_baseline_cost_usd_total", **SONNET) == baseline
    assert page.value("llm_cost_usd_total", **SONNET) == cost


def test_streams_have_a_time_to_the_first_token_and_a_speed(metrics: Metrics, make: Any) -> None:
    metrics.write([make(), make(stream=False)])
    page = Page(metrics)
    assert page.value("llm_time_to_first_token_seconds_count", **SONNET) == 1
    assert page.value("llm_tokens_per_second_count", **SONNET) == 1
    assert page.value("llm_tokens_per_second_sum", **SONNET) == pytest.approx(20 / 0.5)


def test_a_stream_that_came_in_one_piece_has_no_speed(metrics: Metrics, make: Any) -> None:
    whole = Attempt("or/sonnet", "openrouter", "ok", ttft_ms=200, duration_ms=200.5, usage=Usage(1, 1))
    metrics.write([make(attempts=[whole])])
    assert Page(metrics).value("llm_tokens_per_second_count", **SONNET) is None


def test_attempts_tell_retries_throttles_and_who_was_passed_over(metrics: Metrics, make: Any) -> None:
    limited = Attempt("groq/llama", "groq", "failed", FailureKind.RATE_LIMIT, 429)
    broken = Attempt("groq/llama", "groq", "failed", FailureKind.SERVER_ERROR, 500)
    skipped = Attempt("groq/llama", "groq", "skipped", reason="throttled")
    judged = Attempt("or/sonnet", "openrouter", "judge", FailureKind.CONNECT)
    answered = Attempt("or/sonnet", "openrouter", "ok", usage=Usage(1, 1))
    metrics.write([make(attempts=[judged, limited, broken, skipped, answered])])
    page = Page(metrics)
    assert page.value("llm_retries_total", **LLAMA, kind="rate_limit") == 1
    assert page.value("llm_retries_total", **LLAMA, kind="server_error") is None
    assert page.value("llm_retries_total", **SONNET, kind="connect") is None
    assert page.value("llm_throttles_total", **LLAMA) == 1
    assert page.value("llm_throttles_total", **SONNET) == 0
    assert page.value("llm_skips_total", **LLAMA, reason="throttled") == 1


def test_the_decision_cache_is_told_of_calls_that_were_decided_about(metrics: Metrics, make: Any) -> None:
    metrics.write([make(route="cache"), make(route="score"), make(route="explicit", intent=None)])
    page = Page(metrics)
    assert page.value("llm_decision_cache_total", result="hit") == 1
    assert page.value("llm_decision_cache_total", result="miss") == 1


def test_circuits_are_told_by_state_and_by_their_changes() -> None:
    now = [100.0]
    breakers = Breakers(
        BreakerPolicy(), lambda: now[0], lambda: 0.5, lambda model, _, new, __: metrics.moved(model, str(new))
    )
    metrics = Metrics(MODELS, [], breakers.snapshot)
    breakers.force_open("groq/llama")
    breakers.throttle("or/sonnet", 5)
    page = Page(metrics)
    states = {state: page.value("llm_circuit_state", **LLAMA, state=state) for state in STATES}
    assert states == {"closed": 0, "half_open": 0, "open": 1}
    assert page.value("llm_circuit_state", **SONNET, state="closed") == 1
    assert (page.value("llm_throttled", **LLAMA), page.value("llm_throttled", **SONNET)) == (0, 1)
    assert page.value("llm_circuit_transitions_total", **LLAMA, state="open") == 1
    now[0] += 6
    assert Page(metrics).value("llm_throttled", **SONNET) == 0


def test_the_closed_sets_of_circuits_hold_what_circuits_say() -> None:
    assert set(re.findall("`([a-z_]+)`", Refusal.__doc__ or "")) == REASONS
    assert set(State) == set(STATES)


def test_what_happens_once_is_seen_to_step_from_nothing(metrics: Metrics) -> None:
    before = Page(metrics)
    for kind in ("auth", "quota"):
        assert before.value("llm_upstream_failures_total", **LLAMA, kind=kind) == 0
    for state in STATES:
        assert before.value("llm_circuit_transitions_total", **SONNET, state=state) == 0


def test_a_late_event_loop_is_seen(metrics: Metrics) -> None:
    metrics.late(0.0005)
    metrics.late(0.2)
    page = Page(metrics)
    assert page.value("llm_event_loop_lag_seconds_bucket", le="0.001") == 1
    assert page.value("llm_event_loop_lag_seconds_count") == 2


def test_the_process_tells_of_itself(metrics: Metrics) -> None:
    page = Page(metrics)
    assert (page.value("process_cpu_seconds_total") or 0) > 0
    assert (page.value("process_resident_memory_bytes") or 0) > 1e6
    assert (page.value("process_open_fds") or 0) > 2
    assert page.value("llm_workers") == 1


@pytest.mark.parametrize("won", [True, False])
def test_who_was_begun_beside_a_late_one_counts_as_a_hedge(metrics: Metrics, make: Any, won: bool) -> None:
    late, answered = make().attempts
    late.failure, late.outcome = None, "cancelled"
    late.hedge, answered.hedge = not won, won
    # In the order in which they were begun.
    metrics.write([make(attempts=[late, answered] if won else [answered, late])])
    page = Page(metrics)
    hedge = SONNET if won else LLAMA
    assert page.value("llm_hedges_total", **hedge, result="won" if won else "lost") == 1
    assert page.value("llm_tokens_per_second_count", **SONNET) == 1


def test_the_first_token_of_a_continued_stream_is_of_the_model_that_began_it(
    metrics: Metrics, make: Any
) -> None:
    began, went_on = make().attempts
    began.outcome, began.ttft_ms = "cut", 260.0
    metrics.write([make(attempts=[began, went_on])])
    page = Page(metrics)
    assert page.value("llm_time_to_first_token_seconds_count", **LLAMA) == 1
    assert page.value("llm_time_to_first_token_seconds_count", **SONNET) is None
    assert page.value("llm_tokens_per_second_count", **SONNET) == 1
