"""The current OpenAI SDK against the running proxy: what its users do, and what they see when it fails."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.kuro import Kuro
from tests.stub import StubUpstream, Tool, fail, hang, ok

HELLO: Any = [{"role": "user", "content": "Hello there, how are you today?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_chat(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("Fine, thank you."))
    with kuro.client() as client:
        answer = client.chat.completions.create(model="auto", messages=HELLO)
    assert answer.choices[0].message.content == "Fine, thank you."
    assert answer.model == "primary"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0


def test_every_header_of_the_contract(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("Fine."))
    with kuro.client() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=HELLO, extra_headers={"x-request-id": "my-request.1"}
        )
    headers = raw.headers
    assert headers["x-request-id"] == "my-request.1"
    assert headers["x-kuro-model"] == "primary"
    assert headers["x-kuro-provider"] == "stub"
    assert headers["x-kuro-intent"] == "casual_chat"
    assert headers["x-kuro-route"] == "score"
    assert headers["x-kuro-attempts"] == "1"
    assert headers["x-kuro-fallback"] == "false"
    assert 0.0 < float(headers["x-kuro-overhead-ms"]) < 1000.0
    assert float(headers["x-kuro-cost-usd"]) > 0.0


def test_stream(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("one two three four five"))
    with kuro.client() as client:
        stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two three four five"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.choices for c in chunks), "the usage chunk is for those who asked for it"
    assert stub.last("primary").json["stream_options"] == {"include_usage": True}


def test_stream_with_usage(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("one two"))
    with kuro.client() as client:
        stream = client.chat.completions.create(
            model="auto", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        last = list(stream)[-1]
    assert not last.choices
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


@pytest.mark.parametrize("name", ["primary", "claude"])
def test_tools_both_ways(kuro: Kuro, stub: StubUpstream, name: str) -> None:
    stub.script(name, ok(tools=[Tool("weather", '{"city": "Oslo"}'), Tool("weather", '{"city": "Rome"}')]))
    with kuro.client() as client:
        first = client.chat.completions.create(model=name, messages=HELLO, tools=[WEATHER])
        calls = first.choices[0].message.tool_calls
        assert calls is not None
        asked = [json.loads(call.function.arguments) for call in calls if call.type == "function"]
        assert asked == [{"city": "Oslo"}, {"city": "Rome"}]
        assert first.choices[0].finish_reason == "tool_calls"
        stub.script(name, ok("Rain in Oslo, sun in Rome."))
        results: Any = [{"role": "tool", "tool_call_id": c.id, "content": "rain"} for c in calls]
        turn: Any = first.choices[0].message.model_dump(exclude_none=True)
        second = client.chat.completions.create(
            model=name, messages=[*HELLO, turn, *results], tools=[WEATHER]
        )
    assert second.choices[0].message.content == "Rain in Oslo, sun in Rome."


@pytest.mark.parametrize("name", ["primary", "claude"])
def test_streamed_tool_calls(kuro: Kuro, stub: StubUpstream, name: str) -> None:
    stub.script(name, ok(tools=[Tool("weather", '{"city": "Oslo"}'), Tool("weather", '{"city": "Rome"}')]))
    arguments: dict[int, str] = {}
    with kuro.client() as client:
        for chunk in client.chat.completions.create(model=name, messages=HELLO, tools=[WEATHER], stream=True):
            for call in chunk.choices[0].delta.tool_calls or ():
                assert call.function is not None
                arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
    assert [json.loads(arguments[at]) for at in sorted(arguments)] == [{"city": "Oslo"}, {"city": "Rome"}]


class City(BaseModel):
    name: str
    inhabitants: int


def test_structured_output(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok('{"name": "Oslo", "inhabitants": 700000}'))
    with kuro.client() as client:
        answer = client.chat.completions.parse(model="auto", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Oslo", inhabitants=700000)
    assert stub.last("primary").json["response_format"]["type"] == "json_schema"


def test_unknown_fields_reach_the_upstream(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("Fine."))
    with kuro.client() as client:
        client.chat.completions.create(
            model="auto",
            messages=HELLO,
            temperature=0.25,
            seed=7,
            extra_body={"min_p": 0.05, "provider": {"order": ["a"]}, "nested": {"x": [1, None, "é"]}},
        )
    sent = stub.last("primary").json
    assert sent["model"] == "primary"
    assert (sent["temperature"], sent["seed"], sent["min_p"]) == (0.25, 7, 0.05)
    assert sent["nested"] == {"x": [1, None, "é"]}
    assert sent["messages"] == HELLO


def test_the_auto_router_plugin_steers_and_stays_here(kuro: Kuro, stub: StubUpstream) -> None:
    def plugins(pattern: str) -> Any:
        return {"plugins": [{"id": "web"}, {"id": "auto-router", "allowed_models": [pattern]}]}

    stub.script("second", ok("Fine."))
    with kuro.client() as client:
        answer = client.chat.completions.create(model="auto", messages=HELLO, extra_body=plugins("sec*"))
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="auto", messages=HELLO, extra_body=plugins("nobody/*"))
    assert answer.model == "second"
    assert stub.last("second").json["plugins"] == [{"id": "web"}]
    assert caught.value.param == "plugins[1].allowed_models"


def test_caller_headers_stay_here(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("Fine."))
    with kuro.client() as client:
        client.chat.completions.create(
            model="auto",
            messages=HELLO,
            extra_headers={"cookie": "a=b", "x-session-id": "s1", "x-openwebui-user-email": "a@b.c"},
        )
    names = {name.lower() for name, _ in stub.last("primary").headers}
    assert not names & {"cookie", "x-session-id", "x-openwebui-user-email"}
    assert not [name for name in names if name.startswith("x-stainless")]
    assert {n.lower(): v for n, v in stub.last("primary").headers}["authorization"] == "Bearer sk-upstream"


def test_a_named_model_by_its_alias(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("second", ok("Here."))
    with kuro.client() as client:
        raw = client.chat.completions.with_raw_response.create(model="spare", messages=HELLO)
    assert raw.headers["x-kuro-route"] == "explicit"
    assert raw.parse().model == "second"


def test_an_explicit_list(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("third", fail(500))
    stub.script("second", ok("Here."))
    with kuro.client() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=HELLO, extra_body={"models": ["third", "second"]}
        )
    assert raw.headers["x-kuro-model"] == "second"
    assert raw.headers["x-kuro-fallback"] == "true"
    assert "models" not in stub.last("second").json


def test_models_list(kuro: Kuro) -> None:
    with kuro.client() as client:
        names = [entry.id for entry in client.models.list()]
        assert names[0] == "auto"
        assert {"primary", "second", "third", "claude"} <= set(names)
        assert client.models.retrieve("second").id == "second"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nothing-like-it")


ERRORS: dict[str, tuple[Any, type[openai.APIStatusError], str | None]] = {
    "400 the request's fault": (
        fail(400, "no such thing", code="bad_thing"),
        openai.BadRequestError,
        "bad_thing",
    ),
    "422 the request's fault": (fail(422, "no such thing"), openai.UnprocessableEntityError, None),
    "401 is our key, never theirs": (fail(401), openai.InternalServerError, "upstream_auth_error"),
    "404 is our registry": (fail(404), openai.InternalServerError, "upstream_model_not_found"),
    "429": (fail(429, retry_after=60), openai.RateLimitError, "rate_limit_exceeded"),
    "500": (fail(500), openai.InternalServerError, "upstream_server_error"),
    "503": (fail(503), openai.InternalServerError, "upstream_unavailable"),
    "context": (
        fail(400, "maximum context length is 8192 tokens", code="context_length_exceeded"),
        openai.BadRequestError,
        "context_length_exceeded",
    ),
}


@pytest.mark.parametrize(("behaviour", "expected", "code"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_errors_as_the_sdk_raises_them(
    kuro: Kuro, stub: StubUpstream, behaviour: Any, expected: Any, code: str | None, stream: bool
) -> None:
    stub.script("lonely", behaviour)
    stub.script("second", behaviour)
    with kuro.client() as client, pytest.raises(expected) as caught:
        client.chat.completions.create(model="second", messages=HELLO, stream=stream)
    assert caught.value.code == code
    assert "sk-" not in str(caught.value)
    assert stub.url not in str(caught.value)


def test_an_unknown_model(kuro: Kuro) -> None:
    with (
        kuro.client() as client,
        pytest.raises(openai.NotFoundError, match="Did you mean 'primary'") as caught,
    ):
        client.chat.completions.create(model="primry", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_the_sdks_own_retries(kuro: Kuro, stub: StubUpstream) -> None:
    """The proxy's second answer is good: the SDK obeys x-should-retry and retry-after-ms and gets it."""
    stub.script("second", fail(429), fail(429), fail(429), ok("At last."))
    with kuro.client(max_retries=2) as client:
        answer = client.chat.completions.create(model="second", messages=HELLO)
    assert answer.choices[0].message.content == "At last."


def test_the_sdk_does_not_retry_what_cannot_help(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("second", fail(401))
    before = stub.hits("second")
    with kuro.client(max_retries=2) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="second", messages=HELLO)
    assert stub.hits("second") - before == 1


def test_a_deadline_of_the_callers_own(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("second", hang())
    with kuro.client() as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(
            model="second", messages=HELLO, extra_headers={"x-request-timeout": "0.3"}
        )
    assert (caught.value.status_code, caught.value.code) == (504, "request_timeout")


def test_the_trace_of_a_reply(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("Fine."))
    with kuro.client() as client:
        answer = client.chat.completions.create(
            model="auto", messages=HELLO, extra_headers={"x-kuro-trace": "1"}
        )
    assert answer.model_extra is not None
    trace = answer.model_extra["kuro"]
    assert trace["intent"] == "casual_chat"
    assert trace["selected_model"] == "primary"
    assert set(trace["scores"]["primary"]) == {"quality", "success", "latency", "cost", "total"}
    assert [rung["step"] for rung in trace["rungs"]]
    assert trace["attempts"][0]["outcome"] == "ok"
    assert answer.usage is not None
    assert trace["usage"]["completion"] == answer.usage.completion_tokens > 0
    assert trace["cost_usd"] == trace["attempts"][0]["cost_usd"] > 0


def test_the_trace_of_a_stream_tells_no_cost_that_nobody_knows_yet(kuro: Kuro, stub: StubUpstream) -> None:
    stub.script("primary", ok("Fine."))
    with kuro.client() as client:
        stream = client.chat.completions.create(
            model="auto", messages=HELLO, stream=True, extra_headers={"x-kuro-trace": "1"}
        )
        first, *_ = stream
    assert first.model_extra is not None
    trace = first.model_extra["kuro"]
    assert trace["selected_model"] == "primary" and not {"usage", "cost_usd"} & set(trace)
