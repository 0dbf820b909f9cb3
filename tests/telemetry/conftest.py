"""Records as a call would leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proxy.record import Attempt, CallRecord
from proxy.types import FailureKind, Usage

Make = Callable[..., CallRecord]


@pytest.fixture
def make() -> Make:
    """A call that failed at one model and was answered by the next; members can be set otherwise."""

    def record(**members: Any) -> CallRecord:
        usage = Usage(prompt=100, completion=20, cached=40, reasoning=5)
        attempts = [
            Attempt("groq/llama", "groq", "failed", FailureKind.SERVER_ERROR, 500, "boom", 1.0, None, 50.0),
            Attempt(
                "or/sonnet",
                "openrouter",
                "ok",
                None,
                200,
                "",
                60.0,
                200.0,
                700.0,
                usage=usage,
                cost_usd=0.002,
            ),
        ]
        defaults: dict[str, Any] = {
            "request_id": "req-1",
            "time": 1_800_000_000.0,
            "session": "s1",
            "requested_model": "auto",
            "selected_model": "or/sonnet",
            "response_model": "claude-sonnet",
            "provider": "openrouter",
            "stream": True,
            "intent": "code_generation",
            "intents": {"code_generation": 0.9},
            "route": "score",
            "plan": ("groq/llama", "or/sonnet"),
            "attempts": attempts,
            "usage": usage,
            "cost_usd": 0.002,
            "wasted_usd": 0.001,
            "ttft_ms": 260.0,
            "latency_ms": 780.0,
            "overhead_ms": 0.4,
            "fallback_used": True,
            "outcome": "ok",
            "status": 200,
        }
        return CallRecord(**{**defaults, **members})

    return record


@pytest.fixture
def refused() -> CallRecord:
    """A call that was refused before it was routed."""
    return CallRecord(request_id="req-2", time=1_800_000_001.0, outcome="refused", status=400, latency_ms=0.2)
