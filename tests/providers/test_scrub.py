"""What may not leave the house, doesn't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import MESSAGE_LIMIT
from proxy.providers.scrub import scrub


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        pytest.param("key sk-proj-abc123DEF456 is bad", "key [secret] is bad", id="OpenAI's key"),
        pytest.param("sk-ant-api03-abcdefgh_x", "[secret]", id="Anthropic's key"),
        pytest.param("gsk_abcdefgh12345678", "[secret]", id="Groq's key"),
        pytest.param("AIzaSyA1234567890abcdefghijk", "[secret]", id="Google's key"),
        pytest.param(
            "Incorrect API key provided: abcd***wxyz.", "Incorrect API key provided: [secret]", id="masked"
        ),
        pytest.param(
            "authorization: Bearer abcdef123456", "authorization: Bearer [secret]", id="a bearer token"
        ),
        pytest.param("GET /v1?key=abc123 failed", "GET /v1?key=[secret] failed", id="a key in a query"),
        pytest.param("api_key='abcdef'", "api_key='[secret]'", id="a key in a call"),
        pytest.param('{"x-api-key": "abcdefgh1234"}', '{"x-api-key": "[secret]"}', id="a key in a header"),
        pytest.param("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "[secret]", id="a JWT"),
        pytest.param("in organization org-AbC123dEf", "in organization [id]", id="an organization"),
        pytest.param("org `org_01hxyz9abc`", "org `[id]`", id="Groq's organization"),
        pytest.param("see https://api.example.com/v1/x?y=z.", "see [url]", id="a URL"),
        pytest.param("connect to http://10.0.0.1:8000/v1", "connect to [url]", id="an address"),
        pytest.param("a\x00b\x1b[31m", "a b [31m", id="control characters"),
        pytest.param("half \ud83c of it", "half   of it", id="a lone surrogate"),
        pytest.param(
            "the key 'messages' is required", "the key 'messages' is required", id="a key that is none"
        ),
        pytest.param("user-friendly, task-specific", "user-friendly, task-specific", id="words with hyphens"),
        pytest.param(
            "max_tokens: 5000 is too large", "max_tokens: 5000 is too large", id="tokens that are none"
        ),
        pytest.param("model: claude-sonnet-4-5", "model: claude-sonnet-4-5", id="a model's name"),
    ],
)
def test_scrub(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


def test_given_secrets_go_whatever_they_look_like() -> None:
    assert scrub("my hunter2 is hunter2", "hunter2", None, "") == "my [secret] is [secret]"


def test_long_texts_are_cut() -> None:
    assert len(scrub("word " * 100_000)) <= MESSAGE_LIMIT


@given(st.text(max_size=200))
def test_what_is_scrubbed_can_be_sent(text: str) -> None:
    scrub(text).encode()


@given(st.text(alphabet="abcXYZ0189-_", min_size=8, max_size=40))
def test_no_key_of_ours_survives(tail: str) -> None:
    key = f"sk-{tail}"
    assert tail not in scrub(f"The key {key}, given as Bearer {key}, is wrong", key)
