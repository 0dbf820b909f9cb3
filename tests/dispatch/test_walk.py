"""The verdict table applied to a plan: what is tried next, and what the caller is told at the end."""

from __future__ import annotations

from math import inf

import pytest
from msgspec import Struct

from proxy.dispatch.policy import RetryPolicy
from proxy.dispatch.walk import GATE_SLACK, USEFULNESS, Limits, Walk, exhausted, refused
from proxy.providers.failure import VERDICTS
from proxy.types import Failure, FailureKind, Model

K = FailureKind
SMALL = Model("small", "p", "s", context_window=8_000)
LARGE = Model("large", "p", "l", context_window=100_000)
OTHER = Model("other", "p", "o", context_window=8_000)


def limits(remaining: float = 60.0, may_retry: bool = True) -> Limits:
    return Limits(remaining, lambda number: 0.1 * number, lambda: may_retry)


def walk(*models: Model, explicit: bool = False, policy: RetryPolicy | None = None) -> Walk:
    known = {model.id: model for model in models}
    return Walk(tuple(known), known.__getitem__, policy or RetryPolicy(), explicit=explicit)


def ask(w: Walk) -> Model:
    model = w.next()
    assert model is not None
    w.asked.add(model.id)
    return model


class Case(Struct):
    """A first failure and what follows: seconds before the same model again (None: never), go on or not."""

    failure: Failure
    again: float | None
    goes_on: bool = True
    explicit: bool = False
    alone: bool = False


CASES = {
    "a bad request is nobody else's business": Case(Failure(K.BAD_REQUEST), None, goes_on=False),
    "a content filter has spoken": Case(Failure(K.CONTENT_FILTER), None, goes_on=False),
    "our key is refused: the next model": Case(Failure(K.AUTH), None),
    "a spent quota: the next model": Case(Failure(K.QUOTA), None),
    "a missing model: the next model": Case(Failure(K.MODEL_NOT_FOUND), None),
    "a rate limit falls over at once for auto": Case(Failure(K.RATE_LIMIT, retry_after=1.0), None),
    "a rate limit is waited out for a named model": Case(
        Failure(K.RATE_LIMIT, retry_after=1.0), 1.0 + GATE_SLACK, explicit=True
    ),
    "a rate limit is waited out when nobody else is left": Case(
        Failure(K.RATE_LIMIT, retry_after=1.0), 1.0 + GATE_SLACK, alone=True
    ),
    "a long rate limit is not waited out": Case(Failure(K.RATE_LIMIT, retry_after=30.0), None, explicit=True),
    "a rate limit without a time backs off": Case(Failure(K.RATE_LIMIT), 0.1, explicit=True),
    "a 500 is asked again once": Case(Failure(K.SERVER_ERROR), 0.1),
    "a 503 is asked again once": Case(Failure(K.UNAVAILABLE), 0.1),
    "a 503 that asks for a minute is left": Case(Failure(K.UNAVAILABLE, retry_after=60.0), None),
    "overloaded goes to the next": Case(Failure(K.OVERLOADED), None),
    "overloaded and alone is asked again": Case(Failure(K.OVERLOADED), 0.1, alone=True),
    "refused connections go to the next": Case(Failure(K.CONNECT), None),
    "a stale connection is replaced at once": Case(Failure(K.STALE_CONNECTION), 0.0),
    "a bad answer goes to the next": Case(Failure(K.BAD_RESPONSE), None),
    "a silent model isn't asked again": Case(Failure(K.FIRST_TOKEN_TIMEOUT), None),
    "our own limits go to the next": Case(Failure(K.LOCAL_LIMIT), None),
    "the caller's deadline ends it": Case(Failure(K.DEADLINE), None, goes_on=False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_after_a_failure(case: Case) -> None:
    w = walk(SMALL, explicit=case.explicit) if case.alone else walk(SMALL, OTHER, explicit=case.explicit)
    model = ask(w)
    step = w.failed(model, case.failure, limits())
    assert (step.wait if step else None) == (pytest.approx(case.again) if case.again is not None else None)
    assert w.goes_on(case.failure) is case.goes_on


def test_every_kind_has_a_verdict_and_a_place_in_usefulness() -> None:
    assert set(VERDICTS) == set(USEFULNESS) == set(FailureKind)
    assert len(USEFULNESS) == len(FailureKind)


def test_once_is_once() -> None:
    w = walk(SMALL, OTHER)
    model = ask(w)
    assert w.failed(model, Failure(K.SERVER_ERROR), limits()) is not None
    assert w.failed(model, Failure(K.SERVER_ERROR), limits()) is None


def test_retries_of_all_models_come_out_of_one_budget() -> None:
    w = walk(SMALL, LARGE, OTHER)
    again = []
    while (model := w.next()) is not None:
        w.asked.add(model.id)
        step = w.failed(model, Failure(K.SERVER_ERROR), limits())
        again.append(step is not None)
        if step is not None:
            w.failed(model, Failure(K.SERVER_ERROR), limits())
    assert again == [True, True, False]


def test_no_retry_past_the_deadline() -> None:
    w = walk(SMALL)
    assert w.failed(ask(w), Failure(K.RATE_LIMIT, retry_after=1.5), limits(remaining=1.0)) is None


def test_no_retry_when_the_process_has_spent_its_budget() -> None:
    w = walk(SMALL)
    assert w.failed(ask(w), Failure(K.SERVER_ERROR), limits(may_retry=False)) is None


def test_a_stale_connection_is_replaced_even_then() -> None:
    w = walk(SMALL)
    step = w.failed(ask(w), Failure(K.STALE_CONNECTION), limits(may_retry=False))
    assert step is not None
    assert step.fresh


def test_a_short_retry_after_may_be_waited_out_twice() -> None:
    w = walk(SMALL, explicit=True)
    model = ask(w)
    said = Failure(K.RATE_LIMIT, retry_after=0.5)
    assert [w.failed(model, said, limits()) is not None for _ in range(3)] == [True, True, False]


def test_too_long_a_prompt_goes_to_larger_windows_only() -> None:
    w = walk(SMALL, OTHER, LARGE)
    assert w.failed(ask(w), Failure(K.CONTEXT_LENGTH), limits()) is None
    assert w.next() is LARGE


def test_no_more_models_than_allowed() -> None:
    w = walk(SMALL, OTHER, LARGE, policy=RetryPolicy(max_models=2))
    asked = []
    while (model := w.next()) is not None:
        w.asked.add(model.id)
        asked.append(model.id)
    assert asked == ["small", "other"]


def test_skipped_models_cost_nothing() -> None:
    w = walk(SMALL, OTHER, LARGE, policy=RetryPolicy(max_models=1))
    assert w.next() is SMALL
    assert w.next() is OTHER


ENDINGS = {
    "a bad request passes as it was": (
        [Failure(K.BAD_REQUEST, "no such field", 422, code="x", type="t", param="foo")],
        (422, "t", "x", "false"),
    ),
    "the rate limit is said, not the refused connection after it": (
        [Failure(K.RATE_LIMIT, retry_after=7.2), Failure(K.CONNECT)],
        (429, "rate_limit_error", "rate_limit_exceeded", "true"),
    ),
    "our key is never the caller's 401": (
        [Failure(K.AUTH, status=401)],
        (502, "upstream_error", "upstream_auth_error", "false"),
    ),
    "quota": ([Failure(K.QUOTA, status=429)], (503, "upstream_error", "upstream_quota_exhausted", "false")),
    "a 504 stays a 504": (
        [Failure(K.UNAVAILABLE, status=504)],
        (504, "upstream_error", "upstream_unavailable", "true"),
    ),
    "a 502 becomes a 503": (
        [Failure(K.UNAVAILABLE, status=502)],
        (503, "upstream_error", "upstream_unavailable", "true"),
    ),
    "a 500 is a bad gateway": (
        [Failure(K.SERVER_ERROR, status=500)],
        (502, "upstream_error", "upstream_server_error", "false"),
    ),
    "silence": ([Failure(K.FIRST_TOKEN_TIMEOUT)], (504, "upstream_error", "upstream_timeout", "false")),
    "garbage": ([Failure(K.BAD_RESPONSE)], (502, "upstream_error", "bad_upstream_response", "false")),
    "context length": (
        [Failure(K.CONTEXT_LENGTH, status=413)],
        (400, "invalid_request_error", "context_length_exceeded", "false"),
    ),
    "our own pool": ([Failure(K.LOCAL_LIMIT)], (503, "server_error", "proxy_overloaded", "true")),
}


@pytest.mark.parametrize(("failures", "expected"), ENDINGS.values(), ids=ENDINGS.keys())
def test_what_the_caller_is_told(failures: list[Failure], expected: tuple[int, str, str | None, str]) -> None:
    error = exhausted([(SMALL, failure) for failure in failures])
    assert (error.status, error.type, error.code, dict(error.headers)["x-should-retry"]) == expected


def test_who_failed_twice_alike_is_told_once() -> None:
    again, down = Failure(K.SERVER_ERROR, "boom"), Failure(K.UNAVAILABLE)
    assert exhausted([(SMALL, again), (SMALL, again)]).message == "small failed (server error): boom"
    assert exhausted([(LARGE, again), (SMALL, down), (LARGE, again)]).message == (
        "small failed (unavailable). Also failed: large (server error)."
    )
    assert exhausted([(SMALL, again), (LARGE, Failure(K.AUTH, "no"))]).message == (
        "small failed (server error): boom. Also failed: large (auth)."
    )


def test_the_smallest_retry_after_is_given() -> None:
    error = exhausted(
        [(SMALL, Failure(K.RATE_LIMIT, retry_after=7.2)), (LARGE, Failure(K.RATE_LIMIT, retry_after=3.4))]
    )
    headers = dict(error.headers)
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("4", "3400")


def test_when_every_model_was_skipped() -> None:
    error = refused(2.0, {"small": "circuit_open", "large": "throttled"})
    assert (error.status, error.code) == (503, "no_healthy_upstream")
    assert "small (circuit open)" in error.message
    assert dict(error.headers)["retry-after"] == "2"


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        pytest.param(["key_refused"], (502, "upstream_auth_error"), id="our key"),
        pytest.param(["quota_exhausted"], (503, "upstream_quota_exhausted"), id="our purse"),
        pytest.param(["key_refused", "quota_exhausted"], (503, "upstream_quota_exhausted"), id="one of each"),
        pytest.param(
            ["key_refused", "circuit_open"], (503, "no_healthy_upstream"), id="and an upstream's doing"
        ),
    ],
)
def test_when_a_long_opening_is_our_own_doing_it_is_said(reasons: list[str], told: tuple[int, str]) -> None:
    error = refused(300.0, dict(zip(("small", "large"), reasons, strict=False)))
    assert (error.status, error.code) == told
    assert "small (the proxy's own " in error.message
    headers = dict(error.headers)
    assert (headers["retry-after"], headers["x-should-retry"]) == ("300", "false")


@pytest.mark.parametrize(
    ("seconds", "retry"),
    [
        pytest.param(90.0, "90", id="for a while that is known"),
        pytest.param(inf, None, id="until further notice"),
    ],
)
def test_when_every_model_was_taken_out_of_service(seconds: float, retry: str | None) -> None:
    error = refused(seconds, {"small": "disabled"})
    assert (error.status, error.code) == (503, "model_disabled")
    assert "small" in error.message
    assert dict(error.headers).get("retry-after") == retry


def test_one_that_is_only_shut_hides_that_others_are_disabled() -> None:
    error = refused(5.0, {"small": "disabled", "large": "circuit_open"})
    assert (error.code, error.message) == (
        "no_healthy_upstream",
        "No model can be asked right now: small (disabled), large (circuit open).",
    )


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        pytest.param(["overloaded"], (503, "upstream_overloaded"), id="too much to do"),
        pytest.param(["unavailable", "unavailable"], (503, "upstream_unavailable"), id="out of order"),
        pytest.param(["overloaded", "throttled"], (429, "rate_limit_exceeded"), id="one of each"),
        pytest.param(["key_refused", "throttled"], (429, "rate_limit_exceeded"), id="and our key"),
    ],
)
def test_who_asked_for_patience_is_told_of_as_to_the_first_call(
    reasons: list[str], told: tuple[int, str]
) -> None:
    error = refused(7.5, dict(zip(("small", "large"), reasons, strict=False)))
    assert (error.status, error.code) == told
    assert dict(error.headers)["retry-after"] == "8"


def test_when_every_model_asked_for_patience() -> None:
    error = refused(7.5, {"small": "throttled", "large": "throttled"})
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert dict(error.headers)["retry-after"] == "8"


@pytest.mark.parametrize(
    ("kind", "continues"),
    [
        (K.BAD_RESPONSE, [OTHER, LARGE]),
        (K.IDLE_TIMEOUT, [OTHER, LARGE]),
        (K.DEPARTED, [OTHER, LARGE]),
        (K.CONTEXT_LENGTH, [LARGE]),
        (K.TOO_LARGE, [OTHER, LARGE]),
        (K.CONTENT_FILTER, []),
    ],
    ids=str,
)
def test_who_may_continue_a_stream_that_broke(kind: FailureKind, continues: list[Model]) -> None:
    w = walk(SMALL, OTHER, LARGE)
    ask(w)
    found = []
    if w.broke(SMALL, Failure(kind)):
        while (model := w.next()) is not None:
            found.append(model)
    assert found == continues
