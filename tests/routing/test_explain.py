"""What became of a decision, as a reader is told it."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.record import Attempt, CallRecord
from proxy.routing.explain import course
from proxy.types import FailureKind


def told(*attempts: Attempt, **members: Any) -> dict[str, Any]:
    record = CallRecord("req-1", 0.0, selected_model="b", attempts=list(attempts), **members)
    return course(msgspec.to_builtins(record))


def test_the_same_model_again_is_a_retry() -> None:
    failed = Attempt("a", "p", "failed", FailureKind.UNAVAILABLE, 503)
    skipped, judged, last = Attempt("b", "p", "skipped"), Attempt("b", "p", "judge"), Attempt("b", "p", "ok")
    attempts = told(skipped, judged, failed, failed, last)["attempts"]
    assert [(a["model"], a.get("retry")) for a in attempts] == [
        ("b", None),
        ("b", None),
        ("a", None),
        ("a", True),
        ("b", None),
    ]


def test_an_attempt_has_no_empty_members() -> None:
    (attempt,) = told(Attempt("a", "p", "ok", status=200, seam="prefill", seam_at=7))["attempts"]
    assert attempt == {
        "model": "a",
        "provider": "p",
        "outcome": "ok",
        "status": 200,
        "began_ms": 0.0,
        "duration_ms": 0.0,
        "seam": "prefill",
        "seam_at": 7,
    }


def test_what_was_paid_is_told_apart() -> None:
    paid = told(cost_usd=0.5, wasted_usd=0.25, judge_usd=0.125)
    assert (paid["cost_usd"], paid["wasted_usd"], paid["judge_usd"]) == (0.5, 0.25, 0.125)
    assert (paid["request_id"], paid["selected_model"]) == ("req-1", "b")
