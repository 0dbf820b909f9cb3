"""A decision without a call: what the ladder says to a request, for a reader or a file."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from proxy.routing.features import code_share
from proxy.routing.language import language
from proxy.routing.router import Router
from proxy.types import ChatRequest, Classification, RoutePlan


def decide(router: Router, request: ChatRequest, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The decision as CONTRACT section 1 gives it: intents, step, plan, scores, microseconds.

    The router must have an empty memory (`Router.apart`). Raises ApiError when the request can't be
    planned. The judge is not asked.
    """
    began = perf_counter()
    router.plan(request, headers or {}, judging=False)
    took = (perf_counter() - began) * 1e6
    # The timed plan is the one that a call gets; this one carries the reasons.
    plan = router.plan(request, headers or {}, judging=False, traced=True)
    assert isinstance(plan, RoutePlan)
    return {**described(plan), "decision_us": round(took, 1)}


def described(plan: RoutePlan) -> dict[str, Any]:
    """A traced plan as plain data."""
    seen = plan.classification
    return {
        "intent": seen.top if seen else None,
        "intents": {name: round(value, 4) for name, value in seen.intents} if seen else {},
        "difficulty": round(seen.difficulty, 4) if seen else None,
        "step": plan.route,
        "selected_model": plan.models[0],
        "profile": plan.profile,
        "plan": list(plan.models),
        "origins": dict(zip(plan.models, plan.origins, strict=False)),
        "scores": {
            scored.model: {
                **{term: round(value, 4) for term, value in scored.terms.items()},
                "total": round(scored.total, 4),
            }
            for scored in plan.scores
        },
        "weights": dict(plan.weights),
        "exploring": plan.exploring,
        "explore": _explore(plan),
        "judge": _judged(plan),
        "steering": _steering(plan),
        "effort": _effort(plan),
        "filtered": dict(plan.filtered),
        "evidence": list(seen.evidence) if seen else [],
        "features": {
            "prompt_tokens": plan.features.prompt_tokens,
            "completion_tokens": plan.features.completion_tokens,
            "expected_tokens": round(plan.expected),
            "needs": sorted(plan.features.needs),
            "turns": plan.features.turns,
            "code_share": round(code_share(plan.features.ask), 3),
            "language": plan.language or language(plan.features.ask),
            "tool_loop": plan.features.tool_loop,
            "background": plan.features.background,
        },
        "rungs": [{"step": r.step, "answer": r.answer, "took_us": round(r.took_us, 1)} for r in plan.rungs],
    }


def _explore(plan: RoutePlan) -> dict[str, Any] | None:
    """Who might have been asked first, and with what chance; None where nothing is left to chance."""
    if plan.lot is None:
        return None
    odds = {model: round(chance, 4) for model, chance in plan.lot.chances.items()}
    return {"chances": odds, "instead_of": plan.lot.instead_of or None}


def _judged(plan: RoutePlan) -> dict[str, Any] | None:
    """What a judge's verdict changed."""
    judged, seen = plan.judged, plan.classification
    if judged is None or seen is None:
        return None
    before = _leading(judged.before, judged.model_before)
    after = _leading(seen, plan.models[0])
    verdict = {"intent": judged.intent, "confidence": judged.confidence, "difficulty": judged.difficulty}
    changed = [name for name in ("intent", "model") if before[name] != after[name]]
    return {"asked": judged.judge, "verdict": verdict, "before": before, "after": after, "changed": changed}


def _leading(seen: Classification, model: str | None) -> dict[str, Any]:
    return {
        "intent": seen.top,
        "confidence": round(seen.intents[0][1], 4),
        "difficulty": round(seen.difficulty, 4),
        "model": model,
    }


def _effort(plan: RoutePlan) -> dict[str, Any] | None:
    """How hard to think and why, and what each model is told of that; None where levels aren't chosen."""
    if not plan.effort_why:
        return None
    return {"level": plan.effort, "why": plan.effort_why, "models": dict(plan.efforts)}


def _steering(plan: RoutePlan) -> dict[str, Any]:
    """What the caller wished for; empty where it wished for nothing."""
    allowed = {} if plan.allowed is None else {"allowed": sorted(plan.allowed)}
    return allowed if plan.tradeoff is None else {**allowed, "tradeoff": plan.tradeoff}


COURSE = (
    "request_id", "selected_model", "attempts", "usage", "queued_ms", "cost_usd", "wasted_usd", "judge_usd",
)  # fmt: skip
"""What of a call's record `course` reads."""


def course(record: Mapping[str, Any]) -> dict[str, Any]:
    """What came of a decision, from its call's record as plain data: each attempt, and what was paid.

    An attempt has no members that are empty; `retry` is one that asks the same model again.
    """
    asked: set[str] = set()
    attempts = []
    for attempt in record["attempts"]:
        told = {name: value for name, value in attempt.items() if value or type(value) is float}
        again = attempt["model"] in asked and attempt["outcome"] not in _NOT_ASKED
        attempts.append({"status": None, **told, **({"retry": True} if again else {})})
        if attempt["outcome"] not in _NOT_ASKED:
            asked.add(attempt["model"])
    return {**{name: record.get(name) for name in COURSE}, "attempts": attempts}


_NOT_ASKED = ("skipped", "judge")
"""Outcomes of attempts that asked nobody for the answer."""
