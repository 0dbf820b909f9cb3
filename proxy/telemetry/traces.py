"""Spans by OpenTelemetry, made of finished records: one per call, one child per attempt.

Attributes follow the semantic conventions for generative AI clients
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/). Without an endpoint nothing is
imported; the exporters weigh tens of megabytes, so only the one that is asked for is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from proxy.telemetry.policy import TracePolicy, TraceProtocol
from proxy.types import Attempt, CallRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_GOOD = frozenset({"ok", "caller_left"})


def open_traces(policy: TracePolicy, random: Callable[[], float]) -> list[SpanSink]:
    """The sink that the policy asks for, or none."""
    return [SpanSink(_provider(policy), policy.ratio, random)] if policy.endpoint else []


class SpanSink:
    """A sink: spans for a share of the good calls and for every other."""

    def __init__(self, provider: TracerProvider, ratio: float, random: Callable[[], float]) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("kuro")
        self._ratio = ratio
        self._random = random

    def write(self, records: Sequence[CallRecord]) -> None:
        """Makes the spans of a batch; they are exported by the SDK's own thread."""
        for record in records:
            if record.outcome not in _GOOD or self._random() < self._ratio:
                self._trace(record)

    def close(self) -> None:
        """Exports what is waiting."""
        self._provider.shutdown()

    def _trace(self, record: CallRecord) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        began = int(record.time * 1e9)
        span = self._tracer.start_span(
            f"chat {record.requested_model}",
            kind=SpanKind.SERVER,
            start_time=began,
            attributes=_known(_call(record)),
        )
        if record.outcome not in _GOOD:
            span.set_status(Status(StatusCode.ERROR, record.error_code or record.outcome))
        parent = set_span_in_context(span)
        for attempt in record.attempts:
            start = began + int(attempt.began_ms * 1e6)
            child = self._tracer.start_span(
                f"chat {attempt.model}",
                context=parent,
                kind=SpanKind.CLIENT,
                start_time=start,
                attributes=_known(_attempt(attempt)),
            )
            if attempt.failure is not None:
                child.set_status(Status(StatusCode.ERROR, str(attempt.failure)))
            child.end(start + int(attempt.duration_ms * 1e6))
        span.end(began + int(record.latency_ms * 1e6))


def _call(record: CallRecord) -> dict[str, Any]:
    usage = record.usage
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": record.provider,
        "gen_ai.request.model": record.requested_model,
        "gen_ai.response.model": record.response_model,
        "gen_ai.usage.input_tokens": usage.prompt if usage else None,
        "gen_ai.usage.output_tokens": usage.completion if usage else None,
        "error.type": record.error_code,
        "http.response.status_code": record.status,
        "kuro.request_id": record.request_id,
        "kuro.intent": record.intent,
        "kuro.route": record.route,
        "kuro.selected_model": record.selected_model,
        "kuro.fallback_used": record.fallback_used,
        "kuro.cost_usd": record.cost_usd,
        "kuro.time_to_first_chunk": record.ttft_ms / 1e3 if record.ttft_ms is not None else None,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    usage = attempt.usage
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "gen_ai.usage.input_tokens": usage.prompt if usage else None,
        "gen_ai.usage.output_tokens": usage.completion if usage else None,
        "error.type": str(attempt.failure) if attempt.failure else None,
        "http.response.status_code": attempt.status,
        "kuro.outcome": attempt.outcome,
    }


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _provider(policy: TracePolicy) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": policy.service_name}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(policy)))
    return provider


def _exporter(policy: TracePolicy) -> SpanExporter:
    if policy.protocol is TraceProtocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        insecure = not (policy.endpoint or "").startswith("https:")
        return Grpc(endpoint=policy.endpoint, headers=policy.headers or None, insecure=insecure)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http(endpoint=policy.endpoint, headers=policy.headers or None)
