"""Why upstreams fail, and what follows: one table (CONTRACT, section 4), no branches.

A failure before the commit point is looked up here by its kind; the executor does what the row says.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from proxy.types import FailureKind


class Retry(StrEnum):
    """Whether the same model is asked again."""

    NO = "no"
    ONCE = "once"
    """Once, after back-off, out of the retry budget."""
    FREE = "free"
    """Once, at once, on a new connection, out of nobody's budget."""
    WAIT = "wait"
    """When the upstream's own Retry-After is short and nobody else should serve, else no."""
    ALONE = "alone"
    """Once, but only when no other model can serve."""


class Next(StrEnum):
    """Whether the next model of the plan is asked."""

    YES = "yes"
    NO = "no"
    LARGER = "larger"
    """Only models with a larger context window."""


class Effect(StrEnum):
    """What the failure says about the model's circuit."""

    NEUTRAL = "neutral"
    FAILURE = "failure"
    SECOND = "second"
    """Opens on the second in a row."""
    OPEN_AUTH = "open_auth"
    """Opens at once and long: our key was refused."""
    OPEN_QUOTA = "open_quota"
    """Opens at once and long: nothing is left to spend."""


class Verdict(Struct, frozen=True):
    """What follows from one kind of failure; the last four say what the caller sees if nothing is left."""

    retry: Retry
    next: Next
    effect: Effect
    status: int
    type: str
    code: str | None
    passes: bool = False
    """The caller gets the upstream's own status, message, type, param and code."""
    throttles: bool = False
    """Retry-After shuts the model's gate for that long, whatever the circuit says."""
    again: bool = False
    """Asking again later may help: `x-should-retry` stays true and Retry-After is given."""


_BAD_GATEWAY = "upstream_error"

VERDICTS: dict[FailureKind, Verdict] = {
    FailureKind.BAD_REQUEST: Verdict(
        Retry.NO, Next.NO, Effect.NEUTRAL, 400, "invalid_request_error", None, passes=True
    ),
    FailureKind.CONTEXT_LENGTH: Verdict(
        Retry.NO, Next.LARGER, Effect.NEUTRAL, 400, "invalid_request_error", "context_length_exceeded"
    ),
    FailureKind.TOO_LARGE: Verdict(
        Retry.NO, Next.YES, Effect.NEUTRAL, 413, "invalid_request_error", "request_too_large"
    ),
    FailureKind.CONTENT_FILTER: Verdict(
        Retry.NO, Next.NO, Effect.NEUTRAL, 400, "invalid_request_error", "content_filter", passes=True
    ),
    FailureKind.UNSUPPORTED: Verdict(
        Retry.NO, Next.YES, Effect.NEUTRAL, 400, "invalid_request_error", "unsupported", passes=True
    ),
    FailureKind.MALFORMED: Verdict(
        Retry.ONCE, Next.YES, Effect.NEUTRAL, 502, _BAD_GATEWAY, "malformed_generation"
    ),
    FailureKind.AUTH: Verdict(Retry.NO, Next.YES, Effect.OPEN_AUTH, 502, _BAD_GATEWAY, "upstream_auth_error"),
    FailureKind.QUOTA: Verdict(
        Retry.NO, Next.YES, Effect.OPEN_QUOTA, 503, _BAD_GATEWAY, "upstream_quota_exhausted"
    ),
    FailureKind.MODEL_NOT_FOUND: Verdict(
        Retry.NO, Next.YES, Effect.SECOND, 502, _BAD_GATEWAY, "upstream_model_not_found"
    ),
    FailureKind.RATE_LIMIT: Verdict(
        Retry.WAIT,
        Next.YES,
        Effect.NEUTRAL,
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        throttles=True,
        again=True,
    ),
    FailureKind.SERVER_ERROR: Verdict(
        Retry.ONCE, Next.YES, Effect.FAILURE, 502, _BAD_GATEWAY, "upstream_server_error"
    ),
    FailureKind.UNAVAILABLE: Verdict(
        Retry.ONCE,
        Next.YES,
        Effect.FAILURE,
        503,
        _BAD_GATEWAY,
        "upstream_unavailable",
        throttles=True,
        again=True,
    ),
    FailureKind.OVERLOADED: Verdict(
        Retry.ALONE,
        Next.YES,
        Effect.FAILURE,
        503,
        _BAD_GATEWAY,
        "upstream_overloaded",
        throttles=True,
        again=True,
    ),
    FailureKind.CONNECT: Verdict(
        Retry.NO, Next.YES, Effect.FAILURE, 502, _BAD_GATEWAY, "upstream_connect_error"
    ),
    FailureKind.CONNECT_TIMEOUT: Verdict(
        Retry.NO, Next.YES, Effect.FAILURE, 504, _BAD_GATEWAY, "upstream_timeout"
    ),
    FailureKind.DISCONNECTED: Verdict(
        Retry.NO, Next.YES, Effect.FAILURE, 502, _BAD_GATEWAY, "upstream_disconnected"
    ),
    FailureKind.STALE_CONNECTION: Verdict(
        Retry.FREE, Next.YES, Effect.NEUTRAL, 502, _BAD_GATEWAY, "upstream_disconnected"
    ),
    FailureKind.BAD_RESPONSE: Verdict(
        Retry.NO, Next.YES, Effect.FAILURE, 502, _BAD_GATEWAY, "bad_upstream_response"
    ),
    FailureKind.FIRST_TOKEN_TIMEOUT: Verdict(
        Retry.NO, Next.YES, Effect.FAILURE, 504, _BAD_GATEWAY, "upstream_timeout"
    ),
    FailureKind.IDLE_TIMEOUT: Verdict(
        Retry.NO, Next.YES, Effect.FAILURE, 504, _BAD_GATEWAY, "upstream_timeout"
    ),
    FailureKind.DEPARTED: Verdict(
        Retry.NO, Next.YES, Effect.NEUTRAL, 502, _BAD_GATEWAY, "bad_upstream_response"
    ),
    FailureKind.LOCAL_LIMIT: Verdict(
        Retry.NO, Next.YES, Effect.NEUTRAL, 503, "server_error", "proxy_overloaded", again=True
    ),
    FailureKind.CALLER_LEFT: Verdict(Retry.NO, Next.NO, Effect.NEUTRAL, 499, "caller_left", "caller_left"),
    FailureKind.CUT_SHORT: Verdict(
        Retry.NO, Next.YES, Effect.NEUTRAL, 504, "timeout_error", "request_timeout"
    ),
    FailureKind.DEADLINE: Verdict(Retry.NO, Next.NO, Effect.NEUTRAL, 504, "timeout_error", "request_timeout"),
}
"""Every kind has a row (a test holds this)."""
