"""The exposition, read back by Prometheus' own parser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.dispatch.breaker import Breakers
from proxy.dispatch.policy import BreakerPolicy
from proxy.telemetry.metrics import ATTEMPT_OUTCOMES, COUNTED, GAUGES, OUTCOMES, Metrics
from proxy.types import Attempt, CallRecord, Model, Price

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
        body, self.content_type = metrics.render()
        self.text = body.decode()
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
    assert len({family.name for family in page.families}) == len(page.families)
    assert page.content_type == "text/plain; version=0.0.4; charset=utf-8"


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
    "route", ["cache", "rule:short-chat", "judge", "score", "sticky", "default", "explicit"]
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
    counts = {name: index for index, name in enumerate((*COUNTED, *GAUGES))}
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
        assert page.value(name if name in GAUGES else f"{name}_total") == count


def test_time_in_the_queue_is_told_of_those_who_waited(metrics: Metrics, make: Any) -> None:
    metrics.write([make(queued_ms=0.0), make(queued_ms=40.0)])
    page = Page(metrics)
    assert page.value("llm_queue_seconds_count") == 1
    assert page.value("llm_queue_seconds_sum") == pytest.approx(0.04)
