"""Simulated models: honest, deterministic, and good enough for every SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.providers import simulated
from proxy.providers.openai import OpenAICodec
from proxy.types import ChatRequest, Model
from proxy.wire.chat import parse

MODEL = Model("simulated/small", "simulated", "small")


def request(**fields: Any) -> ChatRequest:
    asked = {"model": "auto", "messages": [{"role": "user", "content": "What is\n 2+2?"}]} | fields
    return parse(json.dumps(asked).encode())


def text_of(**fields: Any) -> str:
    reply = ChatCompletion.model_validate_json(simulated.reply(request(**fields), MODEL), strict=True)
    return reply.choices[0].message.content or ""


def test_a_reply_says_what_it_is() -> None:
    text = text_of()
    assert "simulated" in text
    assert "simulated/small" in text
    assert "What is 2+2?" in text


def test_replies_are_deterministic() -> None:
    assert simulated.reply(request(), MODEL) == simulated.reply(request(), MODEL)
    assert list(simulated.events(request(), MODEL)) == list(simulated.events(request(), MODEL))


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_is_the_reply_in_pieces(n: int) -> None:
    asked = request(n=n, stream=True)
    decoder = OpenAICodec().decoder(asked)
    chunks = [decoder.feed(event) for event in simulated.events(asked, MODEL)]
    whole = OpenAICodec().decode(simulated.reply(request(n=n), MODEL))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert chunks[-1].done
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
    assert all(chunk.failure is None and not chunk.dropped for chunk in chunks)


def test_events_are_valid_chunks() -> None:
    *events, done = simulated.events(request(stream=True), MODEL, created=5)
    assert done == b"data: [DONE]\n\n"
    for event in events:
        chunk = ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "), strict=True)
        assert chunk.created == 5


def test_n_choices() -> None:
    assert len(json.loads(simulated.reply(request(n=3), MODEL))["choices"]) == 3


def test_usage_adds_up() -> None:
    usage = json.loads(simulated.reply(request(), MODEL))["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens"] > 0


def test_max_tokens_cuts() -> None:
    reply = json.loads(simulated.reply(request(max_tokens=5), MODEL))
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] <= 5


def test_json_object() -> None:
    assert json.loads(text_of(response_format={"type": "json_object"}))["simulated"] is True


def test_tools_are_mentioned_and_not_called() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert "1 tool(s)" in text_of(tools=[tool])


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 12},
        "age": {"type": "integer", "minimum": 18},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
        "home": {"$ref": "#/$defs/Home"},
        "boss": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
        "fixed": {"const": 7},
        "maybe": {"type": ["null", "string"]},
        "debt": {"type": "number", "maximum": -5},
        "extra": {"type": "string"},
    },
    "required": ["name", "age", "kind", "tags", "home", "boss", "fixed", "maybe", "debt"],
    "$defs": {"Home": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
}


def test_a_schema_gets_a_minimal_instance() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    assert json.loads(text_of(response_format=form)) == {
        "name": "simulated...",
        "age": 18,
        "kind": "a",
        "tags": [False, False],
        "home": {"city": "simulated"},
        "boss": None,
        "fixed": 7,
        "maybe": None,
        "debt": -5,
    }


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#"}, id="itself"),
        pytest.param({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, id="endless"),
        pytest.param(
            {
                "type": "object",
                "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}},
                "required": ["a", "b"],
            },
            id="endless, and twice as much on each level",
        ),
        pytest.param({"$ref": "#/nowhere"}, id="a reference to nowhere"),
        pytest.param({"type": 7, "properties": 1, "required": [1], "enum": 2, "anyOf": {}}, id="nonsense"),
        pytest.param(None, id="none"),
    ],
)
def test_odd_schemas_are_survived(schema: Any) -> None:
    json.loads(text_of(response_format={"type": "json_schema", "json_schema": {"schema": schema}}))


def test_no_user_turn_is_survived() -> None:
    assert "simulated" in text_of(messages=[{"role": "system", "content": "x"}])
    assert "simulated" in text_of(messages=[{"role": "user", "content": [{"type": "image_url"}]}])
