"""What may not leave the house, doesn't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import MESSAGE_LIMIT
from proxy.providers.scrub import hide, scrub, secrets_of
from proxy.types import Failure, FailureKind, Provider


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


# --- by value ------------------------------------------------------------------------------------

KEY = "hunter2.Zq9/with+no=known~shape"
PROVIDER = Provider(
    "p",
    "openai",
    "http://user:pass-word-1@10.1.2.3:8000/v1",
    api_key=KEY,
    headers={"X-Title": "Kuro Proxy Co", "X-Gateway-Token": "Bearer another~secret~one"},
)


def hidden(text: str, provider: Provider = PROVIDER) -> str:
    return hide(Failure(FailureKind.AUTH, text), secrets_of(provider)).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(f"your {KEY} is bad", "your [secret] is bad", id="the key"),
        pytest.param(f"{KEY}{KEY}", "[secret][secret]", id="twice"),
        pytest.param("got another~secret~one", "got [secret]", id="a secret header"),
        pytest.param("pass-word-1 is wrong", "[secret] is wrong", id="the password of its URL"),
        pytest.param("from Kuro Proxy Co", "from Kuro Proxy Co", id="a header that is none"),
        pytest.param("user:pass-word-1@10.1.2.3:8000 is down", "[url] is down", id="its address"),
        pytest.param("words of no interest", "words of no interest", id="nothing"),
    ],
)
def test_what_is_configured_is_hidden_by_value(text: str, said: str) -> None:
    assert hidden(text) == said


@given(st.integers(12, len(KEY)), st.booleans())
def test_no_dozen_characters_of_the_key_are_left_where_a_text_was_cut(length: int, head: bool) -> None:
    piece = KEY[:length] if head else KEY[-length:]
    said = hidden(f"bad key {piece}")
    assert all(KEY[at : at + 12] not in said for at in range(len(KEY) - 11))


def test_every_field_that_the_upstream_wrote_is_looked_at() -> None:
    failure = hide(Failure(FailureKind.AUTH, KEY, 401, KEY, KEY, KEY, 1.0), secrets_of(PROVIDER))
    secret = "[secret]"
    assert failure == Failure(FailureKind.AUTH, secret, 401, secret, secret, secret, 1.0)


@pytest.mark.parametrize("key", [None, "", " ", "EMPTY", "ollama"])
def test_keys_that_are_words_are_none(key: str | None) -> None:
    provider = Provider("p", "openai", "http://ollama/v1", api_key=key)
    assert hidden("EMPTY ollama said none", provider) == "EMPTY ollama said none"
