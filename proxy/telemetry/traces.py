"""Spans by OpenTelemetry, made of finished records: one per call, a child for routing and for each attempt.

    chat auto              the caller's span, if it sent a traceparent, is its parent
      route                from the call's place to its first attempt
      chat groq/llama      an attempt

Attributes follow the semantic conventions for generative AI clients
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/). Without an endpoint nothing is
imported; the exporters weigh tens of megabytes, so only the one that is asked for is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from proxy.record import Attempt, CallRecord
from proxy.telemetry.policy import OtlpProtocol, TracePolicy
from proxy.types import Usage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span, SpanKind

_GOOD = frozenset({"ok", "caller_left"})

EXPORT_TIMEOUT = 5.0
"""Seconds for one export, retries included; the end of the process waits no longer for a silent collector."""
QUEUE = 2048
"""Spans that may wait to be exported."""


def open_traces(policy: TracePolicy, random: Callable[[], float]) -> list[SpanSink]:
    """The sink that the policy asks for, or none."""
    if not policy.endpoint:
        return []
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    account = Account()
    processor = BatchSpanProcessor(_counting(_exporter(policy, policy.endpoint), account), QUEUE)
    return [SpanSink(processor, policy, random, account)]


class Account:
    """Spans made, taken off the queue by the exporter's thread, and lost by it. Each has one writer."""

    def __init__(self) -> None:
        self.made = self.taken = self.failed = 0


def _counting(exporter: SpanExporter, account: Account) -> SpanExporter:
    """The exporter, which counts what it took and what the collector didn't take from it."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    export = exporter.export

    def counted(spans: Sequence[ReadableSpan]) -> SpanExportResult:
        account.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                account.failed += len(spans)
        return result

    exporter.export = counted  # type: ignore[method-assign]
    return exporter


class SpanSink:
    """A sink: spans for a share of the good calls and for every other."""

    def __init__(
        self,
        processor: SpanProcessor,
        policy: TracePolicy,
        random: Callable[[], float],
        account: Account | None = None,
    ) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": policy.service_name}),
            sampler=ALWAYS_ON,  # the choice is made here, before the SDK is asked: 5 us a call
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("kuro")
        self._ratio = policy.ratio
        self._random = random
        self._account = account
        self._unmade = 0

    def adopt(self, policy: TracePolicy) -> None:
        """A reload: another share. Where spans go stays as it is."""
        self._ratio = policy.ratio

    @property
    def lost(self) -> int:
        """Spans that found the queue full, or that the collector did not take."""
        return self._unmade + (self._account.failed if self._account else 0)

    def write(self, records: Sequence[CallRecord]) -> None:
        """Makes the spans of a batch; they are exported by the SDK's own thread."""
        for record in records:
            wanted = record.outcome not in _GOOD or self._random() < self._ratio
            if wanted and self._has_room(1 + (_decided(record) is not None) + len(record.attempts)):
                self._trace(record)

    def close(self) -> None:
        """Exports what is waiting, as far as that can be done in time."""
        # In a thread that ends with the process: the SDK waits for each batch in turn.
        closing = threading.Thread(target=self._provider.shutdown, name="kuro-traces", daemon=True)
        closing.start()
        closing.join(EXPORT_TIMEOUT)

    def _has_room(self, spans: int) -> bool:
        """Whether the queue takes so many more. The SDK would push out the oldest, and log each."""
        account = self._account
        if account is None:
            return True
        if account.made - account.taken + spans > QUEUE:
            self._unmade += spans
            return False
        account.made += spans
        return True

    def _trace(self, record: CallRecord) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        began = _nanoseconds(record.time)
        # A name that nobody serves is the caller's own invention: too many names for a span's.
        name = f"chat {record.requested_model}" if record.plan else "chat"
        error = None if record.outcome in _GOOD else record.error_code or record.outcome
        span = self._span(name, _remote(record.traceparent), SpanKind.SERVER, began, _call(record), error)
        parent = set_span_in_context(span)
        decided = _decided(record)
        if decided is not None:
            start = began + _nanoseconds(record.queued_ms / 1e3)
            child = self._span("route", parent, SpanKind.INTERNAL, start, _routing(record), None)
            child.end(max(began + _nanoseconds(decided / 1e3), start))
        for attempt in record.attempts:
            start = began + _nanoseconds(attempt.began_ms / 1e3)
            kind = SpanKind.INTERNAL if attempt.outcome == "skipped" else SpanKind.CLIENT
            answered = record.response_model if attempt.outcome == "ok" else None
            attributes = _attempt(attempt, answered, record.stream)
            child = self._span(f"chat {attempt.model}", parent, kind, start, attributes, attempt.failure)
            child.end(start + _nanoseconds(attempt.duration_ms / 1e3))
        span.end(began + _nanoseconds(record.latency_ms / 1e3))

    def _span(
        self,
        name: str,
        parent: Context | None,
        kind: SpanKind,
        start: int,
        attributes: dict[str, Any],
        error: str | None,
    ) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import Status, StatusCode

        known = {key: value for key, value in attributes.items() if value is not None}
        span = self._tracer.start_span(name, parent or Context(), kind, known, start_time=start)
        if error is not None:
            span.set_attribute("error.type", str(error))
            span.set_status(Status(StatusCode.ERROR, str(error)))
        return span


def _call(record: CallRecord) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": record.provider,
        "gen_ai.request.model": record.requested_model or None,
        "gen_ai.request.stream": record.stream or None,
        "gen_ai.response.model": record.response_model,
        "gen_ai.response.time_to_first_chunk": _seconds(record.ttft_ms) if record.stream else None,
        "gen_ai.conversation.id": record.session or None,
        "http.response.status_code": record.status,
        "kuro.request_id": record.request_id,
        "kuro.intent": record.intent,
        "kuro.route": record.route or None,
        "kuro.baseline_usd": record.baseline_usd,
        "kuro.selected_model": record.selected_model,
        "kuro.fallback_used": record.fallback_used,
        "kuro.cost_usd": record.cost_usd,
        "kuro.outcome": record.outcome,
        **_usage(record.usage),
    }


def _remote(traceparent: str) -> Context | None:
    """The caller's span as a parent; None: the call begins a trace of its own."""
    if not traceparent:
        return None
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    _, trace, span, flags = traceparent.split("-")[:4]
    seen = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(seen))


def _decided(record: CallRecord) -> float | None:
    """Milliseconds until the first model was asked for the answer; None when nothing was."""
    asked = (attempt.began_ms for attempt in record.attempts if attempt.outcome not in ("judge", "skipped"))
    return next(asked, None) if record.route else None


def _routing(record: CallRecord) -> dict[str, Any]:
    return {
        "kuro.route": record.route,
        "kuro.intent": record.intent,
        "kuro.difficulty": record.difficulty,
        "kuro.effort": record.effort,
        "kuro.profile": record.profile or None,
        "kuro.plan": record.plan or None,
    }


def _attempt(attempt: Attempt, response_model: str | None, streams: bool) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "gen_ai.response.model": response_model,
        "gen_ai.response.time_to_first_chunk": _seconds(attempt.ttft_ms) if streams else None,
        "http.response.status_code": attempt.status,
        "kuro.cost_usd": attempt.cost_usd,
        "kuro.outcome": attempt.outcome,
        **_usage(attempt.usage),
    }


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.prompt,
        "gen_ai.usage.output_tokens": usage.completion,
        "gen_ai.usage.cache_read.input_tokens": usage.cached or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning or None,
    }


def _seconds(milliseconds: float | None) -> float | None:
    return milliseconds / 1e3 if milliseconds is not None else None


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _exporter(policy: TracePolicy, endpoint: str) -> SpanExporter:
    headers = policy.headers or None
    if policy.protocol is OtlpProtocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        insecure = not endpoint.startswith("https:")
        return Grpc(endpoint=endpoint, headers=headers, insecure=insecure, timeout=EXPORT_TIMEOUT)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    return Http(endpoint=endpoint, headers=headers, timeout=EXPORT_TIMEOUT)
