"""Upstreams that answer in the other form than they were asked for, as many local servers do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e.kuro import ADMIN, Kuro, write_config
from tests.stub import (
    Behaviour,
    Received,
    Reply,
    StubUpstream,
    Tool,
    cut_after,
    headers_then_silence,
    in_halves,
    ok,
    role_only_then_silence,
    streamed_anyway,
    unstreamed,
)
from tests.stub.dialects import Kind, Piece

HELLO: Any = [{"role": "user", "content": "Hello there"}]
WEATHER: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
ARGUMENTS = '{"city": "Ulm"}'
HASTE = 0.4
"""Seconds to the first token of models that are given little time."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, stub: StubUpstream) -> Iterator[Kuro]:
    models = [
        {"id": id, "provider": provider, "upstream_model": id, "supports": ["tools"]}
        for id, provider in (("open", "stub"), ("claude", "anthropic"))
    ]
    haste = {"connect": HASTE, "first_token": HASTE, "idle": HASTE, "total": 30}
    models += [
        {"id": "hasty", "provider": "stub", "upstream_model": "hasty", "timeouts": haste},
        {"id": "stock", "provider": "stock", "upstream_model": "stock", "timeouts": haste},
        {
            "id": "brief",
            "provider": "stub",
            "upstream_model": "brief",
            "timeouts": haste | {"total": 3 * HASTE},
        },
    ]
    config = write_config(
        tmp_path_factory.mktemp("form"),
        stub.url,
        models,
        providers={
            "anthropic": {"dialect": "anthropic", "base_url": stub.url, "api_key": "sk-ant"},
            "stock": {"dialect": "openai", "base_url": stub.url, "api_key": "sk-stock", "transport": "httpx"},
        },
        proxy={"admin_key": ADMIN},
    )
    with Kuro(config) as proxy:
        yield proxy


@pytest.mark.parametrize("model", ["open", "claude"])
def test_a_whole_reply_becomes_the_stream_that_was_asked_for(
    odd: Kuro, stub: StubUpstream, model: str
) -> None:
    stub.script(model, unstreamed(ok("All is well.")))
    before = stub.hits(model)
    with odd.client() as client:
        chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
        counted = list(
            client.chat.completions.create(
                model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
        )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "All is well."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    usage = counted[-1].usage
    assert usage is not None and (usage.prompt_tokens, usage.completion_tokens) == (10, 5)
    assert stub.hits(model) - before == 2, "nobody was asked twice"


@pytest.mark.parametrize("model", ["open", "claude"])
def test_its_tool_calls_too(odd: Kuro, stub: StubUpstream, model: str) -> None:
    stub.script(model, unstreamed(ok(tools=[Tool("weather", ARGUMENTS)])))
    with (
        odd.client() as client,
        client.chat.completions.stream(model=model, messages=HELLO, tools=WEATHER) as stream,
    ):
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    called: Any = choice.message.tool_calls
    assert [(call.function.name, call.function.arguments.replace(" ", "")) for call in called] == [
        ("weather", ARGUMENTS.replace(" ", ""))
    ]


@pytest.mark.parametrize("model", ["open", "claude"])
def test_a_stream_becomes_the_whole_reply_that_was_asked_for(
    odd: Kuro, stub: StubUpstream, model: str
) -> None:
    stub.script(model, streamed_anyway(ok("All is well.", reasoning="Let me see.")))
    with odd.client() as client:
        answer = client.chat.completions.create(model=model, messages=HELLO)
        stub.script(model, streamed_anyway(ok(tools=[Tool("weather", ARGUMENTS)])))
        tools = client.chat.completions.create(model=model, messages=HELLO, tools=WEATHER)
    assert (answer.object, answer.choices[0].finish_reason) == ("chat.completion", "stop")
    message: Any = answer.choices[0].message
    assert (message.content, message.reasoning_content) == ("All is well.", "Let me see.")
    called: Any = tools.choices[0].message.tool_calls
    assert (called[0].function.name, called[0].function.arguments) == ("weather", ARGUMENTS)
    assert tools.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("model", ["hasty", "stock"])
def test_a_whole_reply_may_take_as_long_as_whole_replies_may(
    odd: Kuro, stub: StubUpstream, model: str
) -> None:
    assert odd.chat({"model": model, "messages": HELLO})[0] == 200  # httpx takes its time to begin with
    stub.script(model, unstreamed(in_halves(3 * HASTE, ok("All is well."))))
    before = stub.hits(model)
    with odd.client() as client:
        chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "All is well."
    assert stub.hits(model) - before == 1, "nobody was asked twice"


def test_but_no_longer(odd: Kuro, stub: StubUpstream) -> None:
    stub.script("brief", unstreamed(headers_then_silence()))
    status, _, answer = odd.chat({"model": "brief", "messages": HELLO, "stream": True})
    assert (status, answer["error"]["code"]) == (504, "upstream_timeout")


def test_a_stream_still_has_to_begin_in_time(odd: Kuro, stub: StubUpstream) -> None:
    stub.script("hasty", role_only_then_silence())
    status, _, answer = odd.chat({"model": "hasty", "messages": HELLO, "stream": True})
    assert (status, answer["error"]["code"]) == (504, "upstream_timeout")


def parts(*contents: Any) -> Behaviour:
    """A stream as Mistral's: what it thinks and what it says are parts of its content."""
    deltas = [{"index": 0, "delta": {"content": content}, "finish_reason": None} for content in contents]
    choices = [*deltas, {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]
    events = [b"data: %b\n\n" % json.dumps({"model": "m", "choices": [each]}).encode() for each in choices]
    pieces = tuple(Piece(Kind.DELTA, event) for event in [*events, b"data: [DONE]\n\n"])
    return lambda _: Reply(headers=(("content-type", "text/event-stream"),), pieces=pieces, framing="chunked")


THINKING: Any = [
    [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}] for text in ("Let", " me")
]
SAYING: Any = [[{"type": "text", "text": "All"}], [{"type": "text", "text": " is"}], " well."]


def test_a_stream_in_parts_becomes_a_whole_reply_in_parts(odd: Kuro, stub: StubUpstream) -> None:
    stub.script("open", parts(*THINKING, *SAYING))
    status, _, answer = odd.chat({"model": "open", "messages": HELLO})
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me"}]},
        {"type": "text", "text": "All is well."},
    ]


def test_a_whole_reply_in_parts_becomes_a_stream(odd: Kuro, stub: StubUpstream) -> None:
    def whole(received: Received) -> Reply:
        reply = unstreamed()(received)
        value = json.loads(reply.body)
        value["choices"][0]["message"]["content"] = THINKING[0] + SAYING[0]
        return replace(reply, pieces=(Piece(Kind.OTHER, json.dumps(value).encode()),))

    stub.script("open", whole)
    status, headers, answer = odd.chat({"model": "open", "messages": HELLO, "stream": True})
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert json.dumps(THINKING[0] + SAYING[0], separators=(",", ":")).encode() in answer
    assert answer.endswith(b"data: [DONE]\n\n")


def test_a_stream_in_parts_is_continued_where_it_broke(odd: Kuro, stub: StubUpstream) -> None:
    stub.script("open", cut_after(4, parts(*THINKING, *SAYING)))
    stub.script("hasty", parts(*THINKING, *SAYING))
    _, _, answer = odd.chat({"models": ["open", "hasty"], "messages": HELLO, "stream": True})
    *events, done, end = answer.split(b"\n\n")
    said = [json.loads(event[6:])["choices"][0]["delta"]["content"] for event in events]
    assert [each for each in said if each] == [*THINKING, *SAYING], "each once: what was thought, too"
    assert (done, end) == (b"data: [DONE]", b"")
