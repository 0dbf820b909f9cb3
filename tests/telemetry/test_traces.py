"""Spans: what they say, and that they arrive."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import cycle
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from proxy.record import Attempt, CallRecord
from proxy.telemetry.policy import OtlpProtocol, TracePolicy
from proxy.telemetry.traces import QUEUE, SpanSink, open_traces
from tests.telemetry.collector import grpc_collector, http_collector, refusing


def spans(
    records: list[CallRecord], ratio: float = 1.0, dice: tuple[float, ...] = (0.5,)
) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    thrown = cycle(dice)
    sink = SpanSink(SimpleSpanProcessor(exporter), TracePolicy(ratio=ratio), lambda: next(thrown))
    sink.write(records)
    sink.close()
    return list(exporter.get_finished_spans())


def test_a_call_is_a_span_with_a_child_for_each_attempt(make: Any) -> None:
    _, first, second, call = spans([make()])
    assert [span.name for span in (call, first, second)] == ["chat auto", "chat groq/llama", "chat or/sonnet"]
    assert (call.kind, first.kind, second.kind) == (SpanKind.SERVER, SpanKind.CLIENT, SpanKind.CLIENT)
    assert call.parent is None
    assert first.parent is not None and second.parent is not None
    assert first.parent.span_id == second.parent.span_id == call.context.span_id
    assert call.resource.attributes["service.name"] == "kuro-proxy"


def test_times_are_those_of_the_call(make: Any) -> None:
    _, first, second, call = spans([make()])
    arrival = 1_800_000_000 * 10**9
    times = [time or 0 for span in (call, first, second) for time in (span.start_time, span.end_time)]
    assert [(time - arrival) / 1e6 for time in times] == pytest.approx([0, 780, 1, 51, 60, 760])


def test_attributes_follow_the_conventions_for_generative_ai(make: Any) -> None:
    _, first, second, call = spans([make()])
    assert call.attributes is not None and second.attributes is not None and first.attributes is not None
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": "auto",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "claude-sonnet",
        "gen_ai.response.time_to_first_chunk": 0.26,
        "gen_ai.conversation.id": "s1",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "http.response.status_code": 200,
        "kuro.request_id": "req-1",
        "kuro.intent": "code_generation",
        "kuro.route": "score",
        "kuro.selected_model": "or/sonnet",
        "kuro.fallback_used": True,
        "kuro.cost_usd": 0.002,
        "kuro.outcome": "ok",
    }
    assert second.attributes["gen_ai.request.model"] == "or/sonnet"
    assert second.attributes["gen_ai.response.model"] == "claude-sonnet"
    assert second.attributes["gen_ai.usage.input_tokens"] == 100
    assert first.attributes["error.type"] == "server_error"
    assert first.attributes["http.response.status_code"] == 500
    assert first.status.status_code is StatusCode.ERROR
    assert call.status.status_code is second.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("members", "error"),
    [
        pytest.param({"outcome": "error", "error_code": "upstream_error"}, "upstream_error", id="an error"),
        pytest.param({"outcome": "aborted"}, "aborted", id="a stream that broke"),
        pytest.param({"outcome": "caller_left"}, None, id="a caller that left is no error"),
    ],
)
def test_errors_are_marked(make: Any, members: dict[str, Any], error: str | None) -> None:
    call = spans([make(**members)])[-1]
    assert call.attributes is not None
    assert call.attributes.get("error.type") == error
    assert call.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)


def test_the_decision_is_a_child_from_the_calls_place_to_its_first_attempt(make: Any) -> None:
    routing, *_, call = spans([make(queued_ms=0.5)])
    assert (routing.name, routing.kind) == ("route", SpanKind.INTERNAL)
    assert routing.parent is not None and routing.parent.span_id == call.context.span_id
    assert ((routing.end_time or 0) - (routing.start_time or 0)) / 1e6 == pytest.approx(0.5)
    assert routing.attributes is not None
    assert routing.attributes["kuro.plan"] == ("groq/llama", "or/sonnet")


def test_a_call_belongs_to_its_callers_trace(make: Any) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    made = spans([make(traceparent=f"00-{trace}-{span}-00")])
    call = made[-1]
    assert call.parent is not None
    assert (call.parent.span_id, call.parent.is_remote) == (int(span, 16), True)
    assert {each.context.trace_id for each in made} == {int(trace, 16)}


def test_a_whole_reply_has_no_first_chunk(make: Any) -> None:
    for span in spans([make(stream=False)]):
        assert "gen_ai.response.time_to_first_chunk" not in (span.attributes or {})


def test_a_name_that_nobody_serves_names_no_span(refused: CallRecord) -> None:
    refused.requested_model = "made-up-by-a-caller"
    (call,) = spans([refused])
    assert call.name == "chat"
    assert call.attributes is not None
    assert call.attributes["gen_ai.request.model"] == "made-up-by-a-caller"


def test_a_model_that_was_skipped_was_not_called(make: Any) -> None:
    skipped, _ = spans([make(attempts=[Attempt("m", "p", outcome="skipped", reason="circuit_open")])])
    assert skipped.kind is SpanKind.INTERNAL


def test_a_share_of_good_calls_and_every_other_is_traced(make: Any) -> None:
    good = [make(request_id=f"good-{n}", attempts=[]) for n in range(10)]
    bad = [make(request_id=f"bad-{n}", outcome="error", attempts=[]) for n in range(10)]
    seen = spans([*good, *bad], ratio=0.2, dice=(0.1, 0.3, 0.5, 0.7, 0.9))
    names = [str((span.attributes or {})["kuro.request_id"]) for span in seen]
    assert [name for name in names if name.startswith("good")] == ["good-0", "good-5"]
    assert len([name for name in names if name.startswith("bad")]) == 10


def test_without_an_endpoint_there_is_no_sink_and_nothing_is_imported() -> None:
    script = (
        "import sys\n"
        "from proxy.telemetry.traces import open_traces\n"
        "from proxy.telemetry.policy import TracePolicy\n"
        "assert open_traces(TracePolicy(), lambda: 0.5) == []\n"
        "assert open_traces(TracePolicy(endpoint=''), lambda: 0.5) == []\n"
        "assert not {'opentelemetry', 'grpc', 'requests'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# --- over the wire -------------------------------------------------------------------------------


Took = list[tuple[str, dict[str, str], ExportTraceServiceRequest]]


def names(took: Took) -> list[str]:
    return sorted(
        span.name
        for _, _, request in took
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )


def export(policy: TracePolicy, record: CallRecord) -> None:
    (sink,) = open_traces(policy, lambda: 0.0)
    sink.write([record])
    sink.close()


def test_spans_arrive_over_http(make: Any) -> None:
    with http_collector(ExportTraceServiceRequest.FromString) as (took, url):
        export(TracePolicy(endpoint=f"{url}/v1/traces", ratio=1.0, headers={"x-team": "llm"}), make())
    assert names(took) == ["chat auto", "chat groq/llama", "chat or/sonnet", "route"]
    path, headers, request = took[0]
    assert (path, headers["x-team"]) == ("/v1/traces", "llm")
    resource = {a.key: a.value.string_value for a in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "kuro-proxy"


def test_spans_arrive_over_grpc(make: Any) -> None:
    answer = ExportTraceServiceResponse()
    with grpc_collector(add_TraceServiceServicer_to_server, TraceServiceServicer, answer) as (took, url):
        policy = TracePolicy(endpoint=url, protocol=OtlpProtocol.GRPC, ratio=1.0, headers={"x-team": "llm"})
        export(policy, make())
    assert names(took) == ["chat auto", "chat groq/llama", "chat or/sonnet", "route"]
    assert took[0][1]["x-team"] == "llm"


def test_spans_that_are_refused_or_find_the_queue_full_are_counted(make: Any) -> None:
    gate = threading.Event()
    with refusing(gate) as url:
        (sink,) = open_traces(TracePolicy(endpoint=f"{url}/v1/traces", ratio=1.0), lambda: 0.0)
        began = time.monotonic()
        sink.write([make()] * 2000)
        assert time.monotonic() - began < 2
        # All but those that wait or are on their way; the exporter has taken one batch at most.
        assert 8000 - QUEUE - 512 - 4 <= sink.lost <= 8000 - QUEUE + 4
        gate.set()
        sink.close()
        assert sink.lost == 8000


def test_the_policy_never_shows_its_headers() -> None:
    assert "secret" not in repr(TracePolicy(endpoint="http://c", headers={"authorization": "secret"}))
