"""Request ids, deadlines, conversations, and what goes on to providers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.server.headers import (
    deadline,
    forwarder,
    recorded_session,
    request_id,
    session_of,
    traceparent,
)
from proxy.types import Provider

# --- request id ----------------------------------------------------------------------------------


@pytest.mark.parametrize("given_id", ["a", "A-b_c.9", "x" * 128, "550e8400-e29b-41d4-a716-446655440000"])
def test_a_good_request_id_is_kept(given_id: str) -> None:
    assert request_id({"x-request-id": given_id}) == given_id


@pytest.mark.parametrize(
    "given_id",
    ["", "x" * 129, "a b", "a\n", "a/b", "ü", "a\r\nset-cookie: x", "a;b", '"a"'],
    ids=[
        "empty",
        "too long",
        "a space",
        "a line break",
        "a slash",
        "a letter",
        "a header",
        "a semicolon",
        "quotes",
    ],
)
def test_any_other_is_replaced(given_id: str) -> None:
    made = request_id({"x-request-id": given_id})
    assert made != given_id
    assert request_id({"x-request-id": made}) == made


def test_made_ids_differ() -> None:
    assert len({request_id({}) for _ in range(1000)}) == 1000


# --- deadline ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("2.5", 2.5), ("0.001", 0.001), (" 10 ", 10.0), ("86400", 86400.0)]
)
def test_deadline(text: str, seconds: float) -> None:
    assert deadline({"x-request-timeout": text}) == seconds


def test_no_deadline() -> None:
    assert deadline({}) is None


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.0", "-1", "+1", "1e3", "inf", "nan", "1_0", "30s", "0x10", ".5", "1.", "٣", "1" * 20, "1,5"],
)
def test_a_bad_deadline_is_refused_by_name(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        deadline({"x-request-timeout": text})
    assert (caught.value.status, caught.value.param) == (400, "x-request-timeout")


# --- conversation --------------------------------------------------------------------------------

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
EVERYTHING = {
    "session_id": "s",
    "prompt_cache_key": "p",
    "metadata": {"session_id": "m"},
    "user": "u",
}
BY_NAME = {
    "the header": ({"x-session-id": "h"}, EVERYTHING, "h"),
    "session_id": ({}, EVERYTHING, "s"),
    "prompt_cache_key": ({}, {**EVERYTHING, "session_id": None}, "p"),
    "metadata": ({}, {"metadata": {"session_id": "m"}, "user": "u"}, "m"),
    "user": ({}, {"metadata": {}, "user": "u"}, "u"),
    "an empty name is none": ({"x-session-id": ""}, {"session_id": "", "user": "u"}, "u"),
    "a number is none": ({}, {"session_id": 7, "metadata": "x", "user": "u"}, "u"),
}


@pytest.mark.parametrize(("headers", "fields", "name"), BY_NAME.values(), ids=BY_NAME.keys())
def test_the_conversation_is_named_by(headers: dict[str, str], fields: dict[str, object], name: str) -> None:
    assert session_of(headers, fields, TURNS, "key") == session_of({"x-session-id": name}, {}, [], "key")


def opened(*messages: dict[str, object], key: str = "key") -> str:
    return session_of({}, {}, messages, key)


def test_a_conversation_stays_the_same_as_it_grows() -> None:
    later = [{"role": "assistant", "content": "hello"}, {"role": "user", "content": "and now?"}]
    assert opened(*TURNS) == opened(*TURNS, *later)


def test_parts_of_text_are_the_text() -> None:
    parts = [{"type": "text", "text": "hi"}]
    assert opened(TURNS[0], {"role": "user", "content": parts}) == opened(*TURNS)


DIFFERENT = {
    "another opening": [TURNS[0], {"role": "user", "content": "hello"}],
    "other instructions": [{"role": "system", "content": "Be long."}, TURNS[1]],
    "no instructions": [TURNS[1]],
    "text that moved from one turn to the other": [
        {"role": "system", "content": "Be brief.h"},
        {"role": "user", "content": "i"},
    ],
    "a long text with another end": [TURNS[0], {"role": "user", "content": "x" * 100_000 + "y"}],
    "a long text of another length": [TURNS[0], {"role": "user", "content": "x" * 100_001}],
    "a long text": [TURNS[0], {"role": "user", "content": "x" * 100_000}],
    "the usual": TURNS,
}


def test_different_openings_are_different_conversations() -> None:
    assert len({opened(*messages) for messages in DIFFERENT.values()}) == len(DIFFERENT)


def test_a_conversation_belongs_to_one_key() -> None:
    assert opened(*TURNS, key="alice") != opened(*TURNS, key="bob")
    named = {"x-session-id": "same"}
    assert session_of(named, {}, [], "alice") != session_of(named, {}, [], "bob")


def test_a_name_is_never_mistaken_for_an_opening() -> None:
    assert session_of({"x-session-id": "hi"}, {}, [], "key") != opened({"role": "user", "content": "hi"})


@pytest.mark.parametrize(
    "messages",
    [[], [{"role": "user"}], [{"role": "user", "content": [{"type": "image_url"}, {"text": 1}]}]],
    ids=["no turns", "no content", "no text"],
)
def test_nothing_to_go_by_is_no_conversation(messages: list[dict[str, object]]) -> None:
    assert opened(*messages) == ""


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_session_is_short_whatever_the_caller_wrote(name: str, key: str) -> None:
    session = session_of({"x-session-id": name}, {"user": name}, [{"role": "user", "content": name}], key)
    assert session == "" or (len(session) == 24 and int(session, 16) >= 0)


# --- what upstreams may see ----------------------------------------------------------------------

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def seen(headers: dict[str, str], *allowed: str) -> dict[bytes, bytes]:
    return dict(forwarder(headers)(Provider("p", "openai", "http://p", forward_headers=allowed)))


def test_nothing_is_forwarded_by_itself() -> None:
    assert seen({"authorization": "Bearer k", "x-title": "t", "user-agent": "a", "cookie": "c"}) == {}


def test_what_is_allowed_is_forwarded() -> None:
    assert seen({"x-title": "Küro", "x-other": "o"}, "X-Title", "x-absent") == {
        b"x-title": "Küro".encode("latin-1")
    }


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Cookie",
        "host",
        "connection",
        "transfer-encoding",
        "content-length",
        "x-api-key",
        "x-session-id",
        "x-admin-key",
        "x-forwarded-for",
        "x-stainless-os",
        "X-OpenWebUI-User-Email",
        "x-kuro-trace",
    ],
)
def test_some_headers_never_leave_even_if_allowed(name: str) -> None:
    assert seen({name.lower(): "secret"}, name) == {}


def test_the_callers_trace_goes_on() -> None:
    assert seen({"traceparent": TRACEPARENT}) == {b"traceparent": TRACEPARENT.encode()}


@pytest.mark.parametrize(
    "trace",
    [
        "",
        "x",
        TRACEPARENT.upper(),
        TRACEPARENT + "-extra",
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        "cc" + TRACEPARENT[2:] + "extra",
    ],
)
def test_a_broken_trace_does_not(trace: str) -> None:
    assert seen({"traceparent": trace}, "x-title") == {}


def test_a_later_version_of_the_trace_may_say_more() -> None:
    later = "cc" + TRACEPARENT[2:] + "-what-the-future-will-be-like"
    assert traceparent({"traceparent": later}) == later
    assert traceparent({"traceparent": TRACEPARENT + "-extra"}) == traceparent({}) == ""


def test_a_conversation_is_recorded_under_a_name_that_its_callers_own_leads_to() -> None:
    of_alice, of_nobody = (session_of({"x-session-id": "chat-7"}, {}, (), key) for key in ("alice", ""))
    assert recorded_session("chat-7", ["alice"]) == of_alice
    assert recorded_session("chat-7", [""]) == of_nobody != of_alice
    assert recorded_session(of_alice, ["alice", "bob"]) == recorded_session(of_alice, []) == of_alice
    for keys in (["alice", "bob"], []):
        with pytest.raises(ValueError, match="say of which key"):
            recorded_session("chat-7", keys)
