"""OpenAI's dialect: requests spliced or encoded again, whole replies looked at."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from proxy.effort import Effort
from proxy.providers.openai import OpenAICodec
from proxy.types import ChatRequest, FailureKind, Model, Provider, Usage
from proxy.wire.chat import parse

CODEC = OpenAICodec()
MODEL = Model("groq/llama", "groq", 'llama "70b" ü')
PROVIDER = Provider("groq", "openai", "http://localhost", api_key="gsk_secret")
NAME = '"llama \\"70b\\" ü"'.encode()
ASK = b'"stream_options":{"include_usage":true}'


def encoded(body: bytes, effort: Effort | None = None) -> bytes:
    return CODEC.encode(parse(body), MODEL, PROVIDER, effort).body


def test_path_and_key() -> None:
    request = CODEC.encode(parse(b'{"model":"auto","messages":[{"role":"user"}]}'), MODEL, PROVIDER)
    assert request.path == "/chat/completions"
    assert dict(request.headers)[b"authorization"] == b"Bearer gsk_secret"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            b'{"model":"auto","messages":[{"role":"user","content":"Hi"}],"x":1e5,"y":1.10,"z":"\\u00e9"}',
            b'{"model":%b,"messages":[{"role":"user","content":"Hi"}],"x":1e5,"y":1.10,"z":"\\u00e9"}' % NAME,
            id="only the name is exchanged",
        ),
        pytest.param(
            b'{ "messages":[{"role":"user"}] ,\n "model" :\t"a\\"b" }',
            b'{ "messages":[{"role":"user"}] ,\n "model" :\t%b }' % NAME,
            id="white space and an escaped quote",
        ),
        pytest.param(
            b'{"model":"auto","messages":[{"role":"user"}],"stream":true}',
            b'{"model":%b,%b,"messages":[{"role":"user"}],"stream":true}' % (NAME, ASK),
            id="a stream is asked for its usage",
        ),
        pytest.param(
            b'{"model":"auto","messages":[{"role":"user"}],"stream":true,'
            b'"stream_options":{"include_usage":true,"x":1}}',
            b'{"model":%b,"messages":[{"role":"user"}],"stream":true,'
            b'"stream_options":{"include_usage":true,"x":1}}' % NAME,
            id="a stream that asks for it already",
        ),
        pytest.param(
            b'{"model":"auto","messages":[{"role":"user"}],"stream":false}',
            b'{"model":%b,"messages":[{"role":"user"}],"stream":false}' % NAME,
            id="stream: false is no stream",
        ),
    ],
)
def test_spliced(body: bytes, expected: bytes) -> None:
    assert parse(body).spliceable
    assert encoded(body) == expected


MESSAGES = [{"role": "user", "content": "Hi"}]
NEW_NAME = {"max_tokens": "max_completion_tokens"}
NO_OPTIONS = {"stream_options": None}


@pytest.mark.parametrize(
    ("rename", "given", "expected"),
    [
        pytest.param(NEW_NAME, {"max_tokens": 9}, {"max_completion_tokens": 9}, id="by its name there"),
        pytest.param(
            NEW_NAME,
            {"max_tokens": 9, "max_completion_tokens": 8},
            {"max_completion_tokens": 8},
            id="of both names the one that is known there stays",
        ),
        pytest.param(NEW_NAME, {"top_p": 1}, {"top_p": 1}, id="what has no other name is as it was"),
        pytest.param(
            {"seed": None}, {"seed": 1, "stop": "x"}, {"stop": "x"}, id="what isn't taken isn't sent"
        ),
        pytest.param(NO_OPTIONS, {"stream": True}, {"stream": True}, id="nor is it added by us"),
        pytest.param(
            NO_OPTIONS,
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True},
            id="nor sent for a caller who asked",
        ),
    ],
)
def test_some_fields_have_other_names_there(
    rename: dict[str, str | None], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    provider = msgspec.structs.replace(PROVIDER, rename=rename)
    body = json.dumps({"model": "auto", "messages": MESSAGES} | given).encode()
    made = {"model": MODEL.upstream_model, "messages": MESSAGES}
    assert json.loads(CODEC.encode(parse(body), MODEL, provider).body) == made | expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
            {"stream": True, "stream_options": {"include_usage": True, "x": 1}},
            id="other stream_options are kept",
        ),
        pytest.param(
            {"stream": True, "stream_options": None},
            {"stream": True, "stream_options": {"include_usage": True}},
            id="stream_options: null",
        ),
        pytest.param({"models": ["a", "b"], "x": [1]}, {"x": [1]}, id="models stay here"),
        pytest.param({"session_id": "s"}, {}, id="session_id stays here"),
        pytest.param(
            {"plugins": [{"id": "auto-router"}, {"id": "web"}]},
            {"plugins": [{"id": "web"}]},
            id="of the plugins only the router stays here",
        ),
        pytest.param({"plugins": [{"id": "auto-router"}]}, {}, id="the only plugin"),
        pytest.param({"plugins": "web"}, {"plugins": "web"}, id="plugins of tomorrow"),
        pytest.param(
            {"tools": [{"function": {"name": "f", "model": "x", "x": '"model"'}}]},
            {"tools": [{"function": {"name": "f", "model": "x", "x": '"model"'}}]},
            id="model stands elsewhere too",
        ),
    ],
)  # fmt: skip
def test_encoded_again(given: dict[str, Any], expected: dict[str, Any]) -> None:
    body = json.dumps({"model": "auto", "messages": MESSAGES} | given).encode()
    made = {"model": MODEL.upstream_model, "messages": MESSAGES}
    assert json.loads(encoded(body)) == made | expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            b'{"messages": [{"role":"user"}], "model" : "auto", "x": 1.10}',
            b'{"messages": [{"role":"user"}], "model" : %b,"reasoning_effort":"low", "x": 1.10}' % NAME,
            id="the caller's bytes stay as they are",
        ),
        pytest.param(
            b'{"model":"auto","messages":[{"role":"user"}],"stream":true}',
            b'{"model":%b,"reasoning_effort":"low","stream_options":{"include_usage":true},'
            b'"messages":[{"role":"user"}],"stream":true}' % NAME,
            id="beside the usage of a stream",
        ),
        pytest.param(
            b'{"models":["a"],"messages":[{"role":"user"}]}',
            b'{"messages":[{"role":"user"}],"model":%b,"reasoning_effort":"low"}' % NAME,
            id="in a body that is encoded again",
        ),
    ],
)
def test_told_how_hard_to_think(body: bytes, expected: bytes) -> None:
    assert encoded(body, Effort.LOW) == expected


def test_a_request_made_here_needs_no_body() -> None:
    fields = {"model": "x", "messages": [], "temperature": 0}
    request = ChatRequest(body=b"", fields=fields, model="x", messages=MESSAGES)
    made = json.loads(CODEC.encode(request, MODEL, PROVIDER).body)
    assert made == {"model": MODEL.upstream_model, "messages": MESSAGES, "temperature": 0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8) | st.just("model"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["model_x", "tools_x", "user", "x"]), json_values, max_size=4),
    st.text(max_size=20),
    st.booleans(),
)
def test_nothing_else_changes(extra: dict[str, Any], content: str, stream: bool) -> None:
    fields = extra | {"model": "auto", "messages": [{"role": "user", "content": content}], "stream": stream}
    made = json.loads(encoded(json.dumps(fields).encode()))
    assert made.pop("stream_options", None) == ({"include_usage": True} if stream else None)
    assert made == fields | {"model": MODEL.upstream_model}


# --- whole replies -------------------------------------------------------------------------------


def reply(message: Any = None, **members: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m-1", "choices": [choice]}
    return head | members


SAID = {"role": "assistant", "content": "Hi", "refusal": None}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
COUNTS = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
}


@pytest.mark.parametrize(
    ("body", "text", "tool_call", "usage"),
    [
        pytest.param(reply(SAID), "Hi", False, None, id="text"),
        pytest.param(reply(SAID, usage=COUNTS), "Hi", False, Usage(3, 2, cached=1), id="usage"),
        pytest.param(reply(SAID | {"content": None, "tool_calls": [CALL]}), "", True, None, id="a tool call"),
        pytest.param(reply(SAID | {"content": None, "refusal": "No."}), "", False, None, id="a refusal"),
    ],
)
def test_a_reply_is_passed_on_as_it_is(
    body: dict[str, Any], text: str, tool_call: bool, usage: Usage | None
) -> None:
    raw = json.dumps(body).encode()
    ChatCompletion.model_validate_json(raw, strict=True)
    chunk = CODEC.decode(raw)
    assert chunk.data is raw
    assert chunk.failure is None
    assert (chunk.text, chunk.tool_call, chunk.usage) == (text, tool_call, usage)
    assert (chunk.finish_reason, chunk.model, chunk.done, chunk.meaningful) == ("stop", "m-1", True, True)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"", FailureKind.BAD_RESPONSE, id="nothing"),
        pytest.param(b"<html>", FailureKind.BAD_RESPONSE, id="a web page"),
        pytest.param(b"[]", FailureKind.BAD_RESPONSE, id="a list"),
        pytest.param(b"{}", FailureKind.BAD_RESPONSE, id="an empty object"),
        pytest.param(b'{"choices":[]}', FailureKind.BAD_RESPONSE, id="no choices"),
        pytest.param(b'{"choices":null}', FailureKind.BAD_RESPONSE, id="choices: null"),
        pytest.param(b'{"choices":[{"message":null}]}', FailureKind.BAD_RESPONSE, id="message: null"),
        pytest.param(b'{"choices":[{"text":"x"}]}', FailureKind.BAD_RESPONSE, id="a completion of old"),
        pytest.param(b'{"choices":[{"message":{}}],"x":"\xff"}', FailureKind.BAD_RESPONSE, id="bad UTF-8"),
        pytest.param(b'{"choices":[{"message":{}', FailureKind.BAD_RESPONSE, id="cut off"),
        pytest.param(
            b'{"error":{"message":"slow","code":429}}', FailureKind.RATE_LIMIT, id="an error, by its code"
        ),
        pytest.param(b'{"error":"boom"}', FailureKind.SERVER_ERROR, id="an error that is text"),
        pytest.param(
            b'{"object":"error","message":"m not found","type":"NotFoundError","code":404}',
            FailureKind.MODEL_NOT_FOUND,
            id="vLLM's error",
        ),
        pytest.param(
            b'{"choices":[{"message":{"content":""},"error":{"code":502,"message":"gone"}}]}',
            FailureKind.UNAVAILABLE,
            id="OpenRouter's error in a choice",
        ),
    ],
)
def test_what_is_no_reply(body: bytes, kind: FailureKind) -> None:
    chunk = CODEC.decode(body)
    assert chunk.failure is not None
    assert chunk.failure.kind is kind
    assert chunk.data == b""


def test_odd_types_are_no_failure() -> None:
    body = (
        b'{"model":1,"choices":[{"index":"a","message":{"content":[{"type":"text","text":"Hi"}]}}],"usage":7}'
    )
    chunk = CODEC.decode(body)
    assert chunk.failure is None
    assert chunk.text == "Hi"
    assert chunk.data is body
