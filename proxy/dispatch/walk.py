"""What to try next: the verdict table applied to one call's plan. Decides; performs nothing.

A `Walk` holds a call's place in its plan and its budgets. After each failure the executor asks
`after(...)` and gets a `Try` or None, when nothing is left to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite

from msgspec import Struct

from proxy.dispatch.policy import RetryPolicy
from proxy.dispatch.states import DISABLED, GATES, KEY_REFUSED, QUOTA_EXHAUSTED, THROTTLED
from proxy.errors import ApiError, retry_headers
from proxy.providers.failure import VERDICTS, Next, Retry, Verdict
from proxy.types import Failure, FailureKind, Model

GATE_SLACK = 0.01
"""Seconds added to a Retry-After, so that the gate it shut is open again for certain."""
PATIENT = 2.0
"""Seconds of Retry-After that are waited out inline; longer ones go to the next model."""


class Try(Struct, frozen=True):
    """The next attempt: a model, seconds to wait before it, and whether on a new connection."""

    model: Model
    wait: float = 0.0
    fresh: bool = False


class Limits(Struct, frozen=True):
    """What a call may spend, as the executor sees it at the moment of a failure."""

    remaining: float
    """Seconds until the call's deadline."""
    delay: Callable[[int], float]
    """Try number (from 1) -> seconds of back-off."""
    may_retry: Callable[[], bool]
    """Takes one retry from the process-wide budget, when there is one."""


class Walk:
    """One call's way along its plan."""

    __slots__ = (
        "_at",
        "_content_filter_fallback",
        "_explicit",
        "_larger_than",
        "_model",
        "_plan",
        "_policy",
        "_retried",
        "_retries",
        "asked",
        "failures",
        "hedged",
    )

    def __init__(
        self,
        plan: Sequence[str],
        model: Callable[[str], Model],
        policy: RetryPolicy,
        *,
        explicit: bool,
        content_filter_fallback: bool = False,
    ) -> None:
        """`model` knows every registry id of the plan."""
        self._plan = plan
        self._model = model
        self._policy = policy
        self._explicit = explicit
        self._content_filter_fallback = content_filter_fallback
        self._at = 0
        self._larger_than = 0
        self._retried: tuple[tuple[str, Retry], ...] = ()
        self._retries = 0
        self.asked: set[str] = set()
        """Models that were really asked."""
        self.failures: list[tuple[Model, Failure]] = []
        self.hedged = False
        """One of its attempts may have had another beside it: a call is hedged once."""

    def next(self) -> Model | None:
        """The next model of the plan that may be asked, or None; moves on past it."""
        while self._at < len(self._plan) and len(self.asked) < self._policy.max_models:
            model = self._model(self._plan[self._at])
            self._at += 1
            if model.context_window > self._larger_than:
                return model
        return None

    def failed(self, model: Model, failure: Failure, limits: Limits) -> Try | None:
        """The same model again, when the verdict, the budgets and the deadline allow it."""
        verdict = self._note(model, failure)
        if verdict.retry is Retry.NO or (model.id, verdict.retry) in self._retried:
            return None
        if verdict.retry is Retry.FREE:
            self._retried += ((model.id, verdict.retry),)
            return Try(model, fresh=True)
        wait = self._wait(verdict, failure, limits)
        if wait is None or self._retries >= self._policy.max_retries or not limits.may_retry():
            return None
        if failure.retry_after is None or verdict.retry is not Retry.WAIT:
            self._retried += ((model.id, verdict.retry),)
        self._retries += 1
        return Try(model, wait=wait)

    def broke(self, model: Model, failure: Failure) -> bool:
        """A stream broke after the commit point; whether another model may continue it."""
        self._note(model, failure)
        return self.goes_on(failure)

    def goes_on(self, failure: Failure) -> bool:
        """Whether another model may be asked after this failure."""
        if failure.kind is FailureKind.CONTENT_FILTER and self._content_filter_fallback:
            return True
        return VERDICTS[failure.kind].next is not Next.NO

    def others(self) -> bool:
        """Whether the plan still holds a model that may be asked."""
        if not self._larger_than:
            return self._at < len(self._plan)
        return any(self._model(m).context_window > self._larger_than for m in self._plan[self._at :])

    def _note(self, model: Model, failure: Failure) -> Verdict:
        self.failures.append((model, failure))
        verdict = VERDICTS[failure.kind]
        if verdict.next is Next.LARGER:
            self._larger_than = max(self._larger_than, model.context_window)
        return verdict

    def _wait(self, verdict: Verdict, failure: Failure, limits: Limits) -> float | None:
        """Seconds before the same model is asked again; None: it isn't."""
        if verdict.retry is Retry.ALONE and self.others():
            return None
        if verdict.retry is Retry.WAIT and not self._explicit and self.others():
            return None
        wait = limits.delay(self._retries + 1)
        if failure.retry_after is not None:
            if failure.retry_after > PATIENT:
                return None
            wait = failure.retry_after + GATE_SLACK
        return wait if wait < limits.remaining else None


USEFULNESS: tuple[FailureKind, ...] = (
    FailureKind.CALLER_LEFT,
    FailureKind.DEADLINE,
    FailureKind.CUT_SHORT,
    FailureKind.BAD_REQUEST,
    FailureKind.UNSUPPORTED,
    FailureKind.CONTENT_FILTER,
    FailureKind.CONTEXT_LENGTH,
    FailureKind.MALFORMED,
    FailureKind.RATE_LIMIT,
    FailureKind.OVERLOADED,
    FailureKind.UNAVAILABLE,
    FailureKind.LOCAL_LIMIT,
    FailureKind.TOO_LARGE,
    FailureKind.SERVER_ERROR,
    FailureKind.FIRST_TOKEN_TIMEOUT,
    FailureKind.IDLE_TIMEOUT,
    FailureKind.BAD_RESPONSE,
    FailureKind.DEPARTED,
    FailureKind.DISCONNECTED,
    FailureKind.STALE_CONNECTION,
    FailureKind.CONNECT_TIMEOUT,
    FailureKind.CONNECT,
    FailureKind.QUOTA,
    FailureKind.MODEL_NOT_FOUND,
    FailureKind.AUTH,
)
"""Which failure tells a caller most about what to do, most useful first."""

_RANK = {kind: place for place, kind in enumerate(USEFULNESS)}


def exhausted(failures: Sequence[tuple[Model, Failure]]) -> ApiError:
    """What the caller gets when the walk ends without an answer: the most useful failure's row."""
    model, failure = min(failures, key=lambda failed: _RANK[failed[1].kind])
    verdict = VERDICTS[failure.kind]
    if verdict.passes:
        return ApiError(
            failure.status or verdict.status,
            failure.message or "The upstream refused this request.",
            type=failure.type or verdict.type,
            code=failure.code or verdict.code,
            param=failure.param,
            headers=_NO_RETRY,
        )
    status = 504 if failure.status == 504 else verdict.status
    return ApiError(
        status,
        _told(model, failure, failures),
        type=verdict.type,
        code=verdict.code,
        headers=_advice(verdict, [f.retry_after for _, f in failures if f.retry_after is not None]),
    )


def refused(retry_after: float, reasons: Mapping[str, str]) -> ApiError:
    """What the caller gets when every model was skipped: circuits are shut, or all are rate limited, or
    taken out of service; `retry_after` is infinite when nobody knows how long."""
    common = set(reasons.values())
    if common and common <= _CAUSES.keys():
        # As the call was told that shut it: nothing has changed since.
        verdict = VERDICTS[min((_CAUSES[reason] for reason in common), key=_RANK.__getitem__)]
        return ApiError(
            verdict.status,
            _rate_limited(reasons) if common == {THROTTLED} else _shut(reasons),
            type=verdict.type,
            code=verdict.code,
            headers=retry_headers(retry_after),
        )
    return ApiError(
        503,
        _out_of_service(reasons) if common == {DISABLED} else _shut(reasons),
        type="server_error",
        code="model_disabled" if common == {DISABLED} else "no_healthy_upstream",
        headers=retry_headers(retry_after) if isfinite(retry_after) else _NO_RETRY,
    )


_CAUSES = {
    KEY_REFUSED: FailureKind.AUTH,
    QUOTA_EXHAUSTED: FailureKind.QUOTA,
    **{reason: kind for kind, reason in GATES.items()},
}
"""Why nobody is asked -> the failure that led to it, where one alone did and says how long it lasts."""
_TOLD = {
    KEY_REFUSED: "the proxy's own key was refused",
    QUOTA_EXHAUSTED: "the proxy's own quota is exhausted",
}
"""Lest a caller looks for the fault in its own key."""


def _out_of_service(models: Iterable[str]) -> str:
    return f"Taken out of service by the operator: {', '.join(models)}."


def _rate_limited(models: Iterable[str]) -> str:
    return f"Rate limited: {', '.join(models)} asked for patience."


def _shut(reasons: Mapping[str, str]) -> str:
    why = ", ".join(
        f"{model} ({_TOLD.get(reason) or reason.replace('_', ' ')})" for model, reason in reasons.items()
    )
    return f"No model can be asked right now: {why}."


_NO_RETRY = (("x-should-retry", "false"),)


def _advice(verdict: Verdict, waits: Sequence[float]) -> tuple[tuple[str, str], ...]:
    if not verdict.again:
        return _NO_RETRY
    return retry_headers(min(waits, default=1.0))


def _told(model: Model, failure: Failure, failures: Sequence[tuple[Model, Failure]]) -> str:
    told = f"{model.id} failed ({failure.kind.replace('_', ' ')})"
    told += f": {failure.message}" if failure.message else "."
    # Who was asked again and failed alike is told once.
    others = [
        f"{m.id} ({f.kind.replace('_', ' ')})" for m, f in failures if (m, f.kind) != (model, failure.kind)
    ]
    if not others:
        return told
    stop = "" if told.endswith((".", "!", "?")) else "."
    return f"{told}{stop} Also failed: {', '.join(dict.fromkeys(others))}."
