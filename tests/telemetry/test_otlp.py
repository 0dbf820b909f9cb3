"""Metrics by OTLP: what they say, and that they arrive."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, Histogram, Sum

from proxy.telemetry.families import FAMILIES, Kind
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.otlp import MetricExport, metrics_data, open_exports, unit
from proxy.telemetry.policy import MetricPolicy, OtlpProtocol
from proxy.telemetry.series import Series
from proxy.types import Model, Price
from tests.telemetry.collector import grpc_collector, http_collector, refusing

MODELS = [
    Model("groq/llama", "groq", "llama", price=Price(1.0, 2.0)),
    Model("or/sonnet", "openrouter", "sonnet", price=Price(3.0, 15.0)),
]


@pytest.fixture
def metrics(make: Any) -> Metrics:
    """A stream that one model failed and another answered has been counted."""
    metrics = Metrics(MODELS, ["code_generation"], dict, {})
    metrics.write([make()])
    return metrics


def test_every_family_that_has_a_series_is_sent_with_its_kind_labels_and_unit(metrics: Metrics) -> None:
    series = metrics.snapshot()
    (resource,) = metrics_data(series, "kuro-proxy", 100.0, 160.0).resource_metrics
    (scope,) = resource.scope_metrics
    sent = {metric.name: metric for metric in scope.metrics}
    shown = {**series.counters, **series.gauges, **series.histograms}
    assert set(sent) == {name for name, numbers in shown.items() if numbers}
    cost, ttft = sent["llm_cost_usd_total"], sent["llm_time_to_first_token_seconds"]
    assert (cost.unit, ttft.unit) == ("USD", "s")
    assert isinstance(cost.data, Sum) and cost.data.is_monotonic
    assert cost.data.aggregation_temporality is AggregationTemporality.CUMULATIVE
    by_model = {dict(point.attributes or {})["model"]: point for point in cost.data.data_points}
    assert by_model["or/sonnet"].value == 0.002
    assert (by_model["or/sonnet"].start_time_unix_nano, by_model["or/sonnet"].time_unix_nano) == (
        100 * 10**9,
        160 * 10**9,
    )
    assert isinstance(ttft.data, Histogram)
    (point,) = ttft.data.data_points
    assert dict(point.attributes or {}) == {"model": "or/sonnet", "provider": "openrouter"}
    assert (point.count, point.sum) == (1, pytest.approx(0.26))
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    below = [n for n, bound in zip(point.bucket_counts, point.explicit_bounds, strict=False) if bound < 0.26]
    assert not any(below) and sum(point.bucket_counts) == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("llm_request_latency_seconds", "s"),
        ("process_cpu_seconds_total", "s"),
        ("llm_tokens_per_second", "1/s"),
        ("process_resident_memory_bytes", "By"),
        ("llm_wasted_cost_usd_total", "USD"),
        ("llm_requests_total", "1"),
    ],
)
def test_a_name_says_its_unit(name: str, said: str) -> None:
    assert name in FAMILIES and unit(name) == said


def test_the_resource_tells_processes_and_restarts_apart() -> None:
    def instance(began: float) -> object:
        resource = metrics_data(Series(), "kuro-proxy", began, began).resource_metrics[0].resource
        assert resource.attributes["service.name"] == "kuro-proxy"
        return resource.attributes["service.instance.id"]

    assert instance(1.0) == instance(1.0) != instance(2.0)


def test_without_an_endpoint_there_is_no_export_and_nothing_is_imported() -> None:
    script = (
        "import sys\n"
        "from proxy.telemetry.otlp import open_exports\n"
        "from proxy.telemetry.policy import MetricPolicy\n"
        "assert open_exports(MetricPolicy(), 'kuro', lambda: 0.0) == []\n"
        "assert open_exports(MetricPolicy(endpoint=''), 'kuro', lambda: 0.0) == []\n"
        "assert not {'opentelemetry', 'grpc', 'requests'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_the_policy_never_shows_its_headers() -> None:
    assert "secret" not in repr(MetricPolicy(endpoint="http://c", headers={"authorization": "secret"}))


# --- over the wire -------------------------------------------------------------------------------


def names(request: ExportMetricsServiceRequest) -> set[str]:
    return {
        metric.name
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def opened(policy: MetricPolicy, wall: list[float]) -> MetricExport:
    (export,) = open_exports(policy, "kuro-proxy", lambda: wall[0])
    return export


def test_metrics_arrive_over_http_when_it_is_time_and_at_the_end(metrics: Metrics) -> None:
    wall = [1000.0]
    with http_collector(ExportMetricsServiceRequest.FromString) as (took, url):
        endpoint = f"{url}/v1/metrics"
        export = opened(MetricPolicy(endpoint=endpoint, interval=30, headers={"x-team": "llm"}), wall)
        for wall[0] in (1000.0, 1000.5, 1029.0, 1030.5):
            export.beat(metrics.snapshot)
        export.close(metrics.snapshot)
    assert export.lost == 0
    assert len(took) in (2, 3)  # the one of 1030.5 is left out while the first is on its way
    path, headers, request = took[0]
    assert (path, headers["x-team"]) == ("/v1/metrics", "llm")
    counted = {name for name, family in FAMILIES.items() if family.kind is Kind.COUNTER}
    assert {"llm_requests_total", "llm_time_to_first_token_seconds"} <= names(request)
    assert not {name for name in names(request) if name not in FAMILIES} and names(request) & counted


def test_metrics_arrive_over_grpc(metrics: Metrics) -> None:
    answer = ExportMetricsServiceResponse()
    servicer = MetricsServiceServicer
    with grpc_collector(add_MetricsServiceServicer_to_server, servicer, answer) as (took, url):
        policy = MetricPolicy(endpoint=url, protocol=OtlpProtocol.GRPC, headers={"x-team": "llm"})
        opened(policy, [1000.0]).close(metrics.snapshot)
    (_, headers, request) = took[0]
    assert headers["x-team"] == "llm" and "llm_requests_total" in names(request)


def test_what_no_collector_takes_is_counted_and_holds_nobody_up(metrics: Metrics) -> None:
    gate, wall = threading.Event(), [1000.0]
    with refusing(gate) as url:
        export = opened(MetricPolicy(endpoint=f"{url}/v1/metrics", interval=1), wall)
        for wall[0] in (1000.0, 1002.0, 1004.0):
            export.beat(metrics.snapshot)
        gate.set()
        export.close(metrics.snapshot)
    assert export.lost in (2, 3)
