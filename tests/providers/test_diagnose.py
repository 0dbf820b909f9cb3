"""What providers say when they refuse, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import MESSAGE_LIMIT
from proxy.providers.diagnose import in_band, refusal
from proxy.types import FailureKind

K = FailureKind


def openai(message: str, type: str | None = "invalid_request_error", code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def anthropic(type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_1"}


def openrouter(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "user_1"}


def gemini(*details: Any) -> list[Any]:
    error = {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": list(details)}
    return [{"error": error}]


TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
)
TPD = (
    "Rate limit reached for model `m` on tokens per day (TPD): Limit 100000, Used 99999. "
    "Please try again in 7m12.5s. Need more? Upgrade today at https://console.groq.com/settings/billing"
)
HTML = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>"


def refusals() -> list[Any]:
    """`refusals.jsonl`: who says what with which status, and the kind of failure that it is."""
    lines = Path(__file__).with_name("refusals.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        pytest.param(row["status"], row["body"], row["kind"], id=f"{row['who']} ({row['status']})")
        for row in rows
    ]


@pytest.mark.parametrize(("status", "body", "kind"), refusals())
def test_refusals(status: int, body: Any, kind: str) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    failure = refusal(status, {}, raw.encode())
    assert failure.kind == kind
    assert failure.status == status
    assert failure.message


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        pytest.param(openai("x", "server_error"), K.SERVER_ERROR, None, id="no status in it"),
        pytest.param(openrouter(429, "slow"), K.RATE_LIMIT, 429, id="its code is a status"),
        pytest.param(
            {"error": {"code": "503", "message": "x"}}, K.UNAVAILABLE, 503, id="its code is one as text"
        ),
        pytest.param(openai(TOO_LONG), K.CONTEXT_LENGTH, None, id="its family gives the status"),
        pytest.param(openai("Bad", "invalid_request_error"), K.BAD_REQUEST, None, id="the request's fault"),
        pytest.param(anthropic("not_found_error", "model: x"), K.MODEL_NOT_FOUND, None, id="not found"),
        pytest.param(anthropic("permission_error", "no"), K.AUTH, None, id="not permitted"),
        pytest.param(anthropic("timeout_error", "late"), K.UNAVAILABLE, None, id="too late"),
        pytest.param({"error": "boom"}, K.SERVER_ERROR, None, id="text for an error"),
        pytest.param("boom", K.SERVER_ERROR, None, id="text alone"),
        pytest.param({"error": True}, K.SERVER_ERROR, None, id="nothing said"),
        pytest.param(None, K.SERVER_ERROR, None, id="nothing at all"),
        pytest.param(
            {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "x"}}]},
            K.UNAVAILABLE,
            502,
            id="in a choice",
        ),
    ],
)
def test_errors_inside_a_200(error: Any, kind: FailureKind, status: int | None) -> None:
    failure = in_band(error)
    assert (failure.kind, failure.status) == (kind, status)
    assert failure.message


def test_the_upstreams_own_words_are_kept() -> None:
    error = {"message": "Bad n", "type": "invalid_request_error", "param": "n", "code": "bad_n"}
    failure = refusal(400, {}, json.dumps({"error": error}).encode())
    assert failure.message == "Bad n"
    assert (failure.type, failure.param, failure.code) == ("invalid_request_error", "n", "bad_n")


def test_the_innermost_message_is_told() -> None:
    body = openrouter(400, "Provider returned error", raw=json.dumps(openai("top_k is unknown")))
    assert refusal(400, {}, json.dumps(body).encode()).message == "top_k is unknown"


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        pytest.param(openai(TPD), 432.5, id="Groq's try again in"),
        pytest.param(gemini({"@type": "RetryInfo", "retryDelay": "37s"}), 37, id="Gemini's delay"),
        pytest.param(openai("Please retry after 20 seconds."), 20, id="Azure's retry after"),
        pytest.param(openai("Please try again later."), None, id="no time given"),
    ],
)
def test_waits_in_words(body: Any, seconds: float | None) -> None:
    assert refusal(429, {}, json.dumps(body).encode()).retry_after == seconds


def test_headers_say_how_long_to_wait() -> None:
    assert refusal(503, {"retry-after": "7"}, b"").retry_after == 7
    assert refusal(503, {"retry-after": "7"}, HTML.encode()).retry_after == 7


def test_headers_that_an_error_quotes_say_so_too() -> None:
    quoted = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1445412570000"}
    body = openrouter(429, "Rate limit exceeded: free-models-per-day.", headers=quoted)
    date = {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert refusal(429, date, json.dumps(body).encode()).retry_after == 90
    assert refusal(429, date | {"retry-after": "5"}, json.dumps(body).encode()).retry_after == 5


def test_no_secret_leaves() -> None:
    message = "Key sk-proj-abcdef123456 of org-AbCd1234 at https://api.example.com/v1?key=123 is bad"
    failure = refusal(401, {}, json.dumps(openai(message, code="sk-proj-abcdef123456")).encode())
    assert failure.message == "Key [secret] of [id] at [url] is bad"
    assert failure.code == "[secret]"


def test_messages_are_bounded() -> None:
    failure = refusal(500, {}, b"x" * 100_000)
    assert len(failure.message) == MESSAGE_LIMIT
    assert len(refusal(400, {}, json.dumps(openai("x" * 100_000)).encode()).message) == MESSAGE_LIMIT


@given(st.integers(0, 999), st.binary(max_size=300))
def test_any_body_is_survived(status: int, body: bytes) -> None:
    assert isinstance(refusal(status, {}, body).kind, FailureKind)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "message", "code", "type", "status", "detail", "metadata", "raw", "x"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_is_survived(error: Any) -> None:
    in_band(error)
    refusal(400, {}, json.dumps(error).encode())


@pytest.mark.parametrize("levels", [900, 5000])
def test_a_deep_body_is_survived(levels: int) -> None:
    for opened, closed in ((b'{"error":', b"}"), (b"[", b"]"), (b'[{"errors":', b"}]")):
        assert refusal(400, {}, opened * levels + b"1" + closed * levels).kind is K.BAD_REQUEST


def test_a_body_of_a_megabyte_takes_no_time() -> None:
    words = b"context prompt input model violating blocked due to tokens " * 20_000
    assert refusal(400, {}, words).kind is K.BAD_REQUEST
