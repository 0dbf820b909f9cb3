"""What is sent to Anthropic, held against the types of Anthropic's own SDK."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pydantic
import pytest
from anthropic.types.message_create_params import (
    MessageCreateParamsBase,
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from hypothesis import given
from hypothesis import strategies as st

from proxy.effort import Effort
from proxy.errors import UpstreamError
from proxy.providers.anthropic import AnthropicCodec
from proxy.types import ChatRequest, FailureKind, Model, Provider

CODEC = AnthropicCodec(now=lambda: 0.0)
PROVIDER = Provider("anthropic", "anthropic", "http://localhost", api_key="sk-ant")
HI = [{"role": "user", "content": "Hi"}]
OLDER = {"temperature", "top_p"}
"""Members that older models take and the SDK no longer has."""

_whole = pydantic.TypeAdapter(MessageCreateParamsNonStreaming)
_stream = pydantic.TypeAdapter(MessageCreateParamsStreaming)


def encode(model: str = "claude-sonnet-4-5", limit: int | None = None, **fields: Any) -> dict[str, Any]:
    """The body for these fields, which must be one that the SDK could have sent."""
    fields = {"model": "auto", "messages": HI} | fields
    stream = fields.get("stream") is True
    request = ChatRequest(body=b"", fields=fields, model="auto", messages=fields["messages"], stream=stream)
    entry = Model("id", "anthropic", model, max_output_tokens=limit)
    body: dict[str, Any] = json.loads(CODEC.encode(request, entry, PROVIDER).body)
    check(body, stream)
    return body


def check(body: dict[str, Any], stream: bool) -> None:
    assert body.keys() - OLDER - {"stream"} <= MessageCreateParamsBase.__annotations__.keys()
    # The adapters are lazy about iterables: walking what they made validates all of it.
    _walk((_stream if stream else _whole).validate_python(body))
    roles = [turn["role"] for turn in body["messages"]]
    assert roles[0] == "user"
    assert all(a != b for a, b in pairwise(roles)), "turns alternate"
    assert all(turn["content"] for turn in body["messages"])


def _walk(value: Any) -> None:
    if isinstance(value, dict):
        for member in value.values():
            _walk(member)
    elif hasattr(value, "__iter__") and not isinstance(value, (str, bytes)):
        for member in value:
            _walk(member)


def text(value: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": value} | members


def test_path_and_headers() -> None:
    request = ChatRequest(body=b"", fields={}, model="auto", messages=HI)
    encoded = CODEC.encode(request, Model("a", "p", "claude"), PROVIDER)
    headers = dict(encoded.headers)
    assert encoded.path == "/messages"
    assert headers[b"x-api-key"] == b"sk-ant"
    assert headers[b"anthropic-version"] == b"2023-06-01"
    assert b"authorization" not in headers


def test_the_least_there_is() -> None:
    assert encode() == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("Hi")]}],
    }


# --- messages ------------------------------------------------------------------------------------

CACHED = {"cache_control": {"type": "ephemeral"}}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "call.2", "type": "function", "function": {"name": "g", "arguments": ""}},
]
USES = [
    {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
    {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def result(id_: str, content: Any, **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": content} | members


TURNS: list[Any] = [
    pytest.param(
        [{"role": "user", "content": "a"}, {"role": "user", "content": [text("b", **CACHED)]}],
        [user(text("a"), text("b", **CACHED))],
        id="neighbours of one role are one turn, cache_control is kept",
    ),
    pytest.param(
        [{"role": "user", "content": [text("see"), image("https://x/y.png")]}],
        [user(text("see"), {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})],
        id="an image by URL",
    ),
    pytest.param(
        [{"role": "user", "content": [image("data:image/jpg;base64,aGk=")]}],
        [
            user(
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/jpeg", "data": "aGk="},
                }
            )
        ],
        id="an image in the request",
    ),
    pytest.param(
        [
            {
                "role": "user",
                "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}}],
            }
        ],
        [
            user(
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                }
            )
        ],
        id="a PDF",
    ),
    pytest.param(
        [
            *HI,
            {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call_1", "content": "one"},
            {"role": "tool", "tool_call_id": "call.2", "content": [text("two"), text(" three")]},
            {"role": "user", "content": "go on"},
        ],
        [
            user(text("Hi")),
            assistant(text("Let me see."), *USES),
            user(result("call_1", "one"), result("call_2", "two three"), text("go on")),
        ],
        id="tool calls and their results in one turn each, ids in Anthropic's alphabet",
    ),
    pytest.param(
        [
            *HI,
            {"role": "assistant", "content": None, "tool_calls": CALLS[:1]},
            {"role": "tool", "tool_call_id": "call_1", "content": [image("https://x/y.png")]},
        ],
        [
            user(text("Hi")),
            assistant(USES[0]),
            user(result("call_1", [{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}])),
        ],
        id="a result with an image",
    ),
    pytest.param(
        [
            *HI,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "x"},
        ],
        [
            user(text("Hi")),
            assistant({"type": "tool_use", "id": "f", "name": "f", "input": {}}),
            user(result("f", "x")),
        ],
        id="functions of old",
    ),
    pytest.param(
        [*HI, {"role": "assistant", "content": "", "refusal": "No."}, *HI],
        [user(text("Hi")), assistant(text("No.")), user(text("Hi"))],
        id="a refusal is what was said",
    ),
    pytest.param(
        [*HI, {"role": "assistant", "content": "The answer is  \n"}],
        [user(text("Hi")), assistant(text("The answer is"))],
        id="a prefill, without the white space at its end",
    ),
    pytest.param(
        [*HI, {"role": "assistant", "content": " \n"}],
        [user(text("Hi"))],
        id="a prefill of white space is none",
    ),
    pytest.param(
        [{"role": "assistant", "content": "Hello!"}, *HI],
        [user(text("Continue.")), assistant(text("Hello!")), user(text("Hi"))],
        id="the user begins",
    ),
    pytest.param([{"role": "user", "content": "  "}], [user(text("Continue."))], id="blank text is nothing"),
    pytest.param(
        [{"role": "user", "content": [{"type": "scent"}, text("Hi")]}], [user(text("Hi"))], id="unknown parts"
    ),
]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "input_audio", "input_audio": {"data": "aGk="}}, id="a clip"),
        pytest.param({"type": "video_url", "video_url": {"url": "data:,"}}, id="a film"),
        pytest.param({"type": "file", "file": {"file_id": "file-1"}}, id="a document that lies elsewhere"),
    ],
)
def test_what_is_to_be_seen_or_heard_is_never_left_out_in_silence(part: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        encode(messages=[{"role": "user", "content": [text("What is it?"), part]}])
    assert (caught.value.failure.kind, caught.value.failure.param) == (FailureKind.UNSUPPORTED, "messages")


@pytest.mark.parametrize(("messages", "turns"), TURNS)
def test_turns(messages: list[Any], turns: list[Any]) -> None:
    assert encode(messages=messages)["messages"] == turns


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [
        pytest.param('{"a":1}', {"a": 1}, id="an object"),
        pytest.param(None, {}, id="none"),
        pytest.param({"a": 1}, {"a": 1}, id="an object that isn't text"),
        pytest.param('{"a":', {"arguments": '{"a":'}, id="cut off"),
        pytest.param("[1]", {"arguments": [1]}, id="a list"),
    ],
)
def test_arguments(arguments: Any, parsed: dict[str, Any]) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = encode(messages=[*HI, {"role": "assistant", "tool_calls": [call]}])
    assert body["messages"][1]["content"][0]["input"] == parsed


def test_system_prompts_stand_apart() -> None:
    messages = [
        {"role": "system", "content": "a"},
        *HI,
        {"role": "developer", "content": [text("b", **CACHED), text("c")]},
    ]
    body = encode(messages=messages)
    assert body["system"] == [text("a"), text("b", **CACHED), text("c")]
    assert body["messages"] == [user(text("Hi"))]


# --- tools ---------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "does f", "parameters": SCHEMA, "strict": True},
}


def test_tools() -> None:
    bare = {"type": "function", "function": {"name": "g"}, **CACHED}
    assert encode(tools=[TOOL, bare, {"type": "web_search"}])["tools"] == [
        {"name": "f", "description": "does f", "input_schema": SCHEMA},
        {"name": "g", "input_schema": {"type": "object"}, **CACHED},
    ]


def test_functions_of_old() -> None:
    body = encode(functions=[TOOL["function"]], function_call={"name": "f"})
    assert body["tools"] == [{"name": "f", "description": "does f", "input_schema": SCHEMA}]
    assert body["tool_choice"] == {"type": "tool", "name": "f"}


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        pytest.param({}, None, id="not said"),
        pytest.param({"tool_choice": "auto"}, {"type": "auto"}, id="auto"),
        pytest.param({"tool_choice": "required"}, {"type": "any"}, id="required"),
        pytest.param({"tool_choice": "none"}, {"type": "none"}, id="none"),
        pytest.param(
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f"},
            id="one by name",
        ),
        pytest.param({"tool_choice": {"type": "function", "function": "f"}}, None, id="nonsense"),
        pytest.param(
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
            id="one at a time",
        ),
        pytest.param(
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
            id="exactly one",
        ),
        pytest.param(
            {"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}, id="none at a time"
        ),
        pytest.param({"parallel_tool_calls": True}, None, id="many at a time is the rule"),
    ],
)
def test_tool_choice(fields: dict[str, Any], choice: Any) -> None:
    assert encode(tools=[TOOL], **fields).get("tool_choice") == choice


def test_no_tools_no_choice() -> None:
    assert encode(tool_choice="auto", parallel_tool_calls=False).keys() == {"model", "max_tokens", "messages"}


# --- output --------------------------------------------------------------------------------------


def test_a_schema_becomes_the_output_format() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
    body = encode(response_format=form)
    schema = SCHEMA | {"additionalProperties": False}
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}


def test_json_object_is_asked_for_in_words() -> None:
    body = encode(response_format={"type": "json_object"}, messages=[{"role": "system", "content": "a"}, *HI])
    assert body["system"][0] == text("a")
    assert "JSON object" in body["system"][1]["text"]
    assert "output_config" not in body


@pytest.mark.parametrize(
    ("fields", "limit", "max_tokens"),
    [
        pytest.param({}, None, 4096, id="nothing known"),
        pytest.param({}, 64000, 64000, id="the model's limit"),
        pytest.param({"max_tokens": 10}, 64000, 10, id="max_tokens"),
        pytest.param(
            {"max_tokens": 10, "max_completion_tokens": 20}, None, 20, id="max_completion_tokens first"
        ),
        pytest.param({"max_tokens": 99999}, 8192, 8192, id="no more than the model can"),
        pytest.param({"max_tokens": -1}, 8192, 8192, id="no limit"),
        pytest.param({"max_tokens": None}, None, 4096, id="null"),
    ],
)
def test_max_tokens(fields: dict[str, Any], limit: int | None, max_tokens: int) -> None:
    assert encode(limit=limit, **fields)["max_tokens"] == max_tokens


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"stop": "END"}, {"stop_sequences": ["END"]}, id="one stop"),
        pytest.param({"stop": ["A", "\n", 7, "B"]}, {"stop_sequences": ["A", "B"]}, id="stops"),
        pytest.param({"stop": None}, {}, id="stop: null"),
        pytest.param({"user": "u-1"}, {"metadata": {"user_id": "u-1"}}, id="user"),
        pytest.param({"stream": True}, {"stream": True}, id="stream"),
        pytest.param({"n": 1}, {}, id="one choice"),
        pytest.param(
            {
                "logit_bias": {},
                "seed": 1,
                "presence_penalty": 1,
                "logprobs": True,
                "stream_options": {},
                "x": 1,
            },
            {},
            id="what Anthropic has no word for",
        ),
    ],
)
def test_small_things(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    body = encode(**fields)
    assert {
        name: value for name, value in body.items() if name not in ("model", "max_tokens", "messages")
    } == expected


def test_two_choices_are_for_another_model() -> None:
    with pytest.raises(UpstreamError) as caught:
        encode(n=2)
    assert caught.value.failure.kind is FailureKind.UNSUPPORTED
    assert caught.value.failure.param == "n"


# --- by generation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param("claude-3-5-haiku-latest", {"temperature": 1.0, "top_p": 0.5}, id="3.5 takes both"),
        pytest.param("claude-sonnet-4-5", {"temperature": 1.0}, id="4.5 takes one"),
        pytest.param("claude-opus-4-7", {}, id="4.7 takes none"),
        pytest.param("claude-sonnet-5", {}, id="5 takes none"),
        pytest.param("other-model", {"temperature": 1.0, "top_p": 0.5}, id="another vendor's"),
    ],
)
def test_sampling(model: str, expected: dict[str, float]) -> None:
    body = encode(model=model, temperature=1.7, top_p=0.5)
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == expected


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "level"),
    [
        pytest.param("claude-3-5-haiku-latest", "high", None, None, id="3.5 doesn't think"),
        pytest.param("claude-3-7-sonnet-latest", "low", budget(2048), None, id="3.7, low"),
        pytest.param("claude-sonnet-4-5", "high", budget(24576), None, id="4.5, high"),
        pytest.param("claude-sonnet-4-5", "minimal", None, None, id="4.5, minimal"),
        pytest.param("claude-sonnet-4-5", "none", None, None, id="4.5, none"),
        pytest.param("claude-opus-4-6", "medium", ADAPTIVE, "medium", id="4.6, medium"),
        pytest.param("claude-opus-4-6", "xhigh", ADAPTIVE, "high", id="4.6 knows no xhigh"),
        pytest.param("claude-opus-4-7", "xhigh", ADAPTIVE, "xhigh", id="4.7 does"),
        pytest.param("claude-opus-4-6", "none", None, None, id="4.6 thinks only when asked"),
        pytest.param("claude-opus-5", "none", None, "low", id="5 thinks unasked"),
        pytest.param("claude-opus-5", "hardest", None, None, id="an effort of tomorrow"),
        pytest.param("claude-opus-5", None, None, None, id="no effort given"),
    ],
)
def test_thinking(model: str, effort: Any, thinking: Any, level: str | None) -> None:
    body = encode(model=model, limit=64000, reasoning_effort=effort, temperature=0.5)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == level
    assert not (thinking and "temperature" in body), "who thinks isn't heated"


@pytest.mark.parametrize(
    ("model", "effort", "level"),
    [
        pytest.param("claude-opus-5", "low", "low", id="said by output_config"),
        pytest.param("claude-opus-5", "none", "low", id="as little as it can"),
        pytest.param("claude-sonnet-4-6", "xhigh", "high", id="no more than it knows"),
        pytest.param("claude-haiku-4-5", "high", None, id="who thinks by budget isn't made to think"),
        pytest.param("glm-5", "high", None, id="nor another vendor's model"),
    ],
)
def test_an_effort_of_ours_switches_no_thinking_on(model: str, effort: str, level: str | None) -> None:
    fields = {"model": "auto", "messages": HI, "temperature": 0.5}
    request, entry = ChatRequest(b"", fields, "auto", HI), Model("a", "p", model, max_output_tokens=64000)
    body = json.loads(CODEC.encode(request, entry, PROVIDER, Effort(effort)).body)
    assert "thinking" not in body
    assert body.get("output_config") == (None if level is None else {"effort": level})
    assert ("temperature" in body) == ("4" in model or "glm" in model), "as without it"


def test_openrouters_spelling_of_the_effort() -> None:
    assert encode(limit=64000, reasoning={"effort": "low"})["thinking"] == budget(2048)


@pytest.mark.parametrize(
    ("max_tokens", "tokens"),
    [(64000, 8192), (8192, 4096), (2048, 1024), (2047, None), (100, None)],
)
def test_the_answer_keeps_half_of_the_tokens(max_tokens: int, tokens: int | None) -> None:
    body = encode(max_tokens=max_tokens, reasoning_effort="medium")
    assert body.get("thinking") == (None if tokens is None else budget(tokens))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tools": [TOOL], "tool_choice": "required"}, id="a forced tool"),
        pytest.param(
            {
                "messages": [
                    *HI,
                    {"role": "assistant", "tool_calls": CALLS[:1]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "x"},
                ]
            },
            id="a tool loop, whose signed thoughts we lack",
        ),
        pytest.param({"messages": [*HI, {"role": "assistant", "content": "So"}]}, id="a prefill"),
    ],
)
def test_what_excludes_thinking_by_budget(fields: dict[str, Any]) -> None:
    assert "thinking" not in encode(limit=64000, reasoning_effort="high", **fields)


def test_effort_and_format_share_the_output_config() -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    body = encode(model="claude-opus-5", reasoning_effort="low", response_format=form)
    assert body["output_config"].keys() == {"effort", "format"}


# --- anything ------------------------------------------------------------------------------------

MEMBERS = [
    "type",
    "text",
    "image_url",
    "url",
    "function",
    "name",
    "arguments",
    "id",
    "file",
    "json_schema",
    "schema",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.just("function"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
        optional={
            "content": st.text(max_size=5)
            | st.lists(values.filter(lambda v: isinstance(v, dict)), max_size=2),
            "tool_calls": values,
            "function_call": values,
            "tool_call_id": values,
            "cache_control": values,
        },
    ),
    max_size=6,
)
NAMES = [
    "tools", "tool_choice", "functions", "function_call", "response_format", "stop", "user", "temperature",
    "top_p", "reasoning", "reasoning_effort", "parallel_tool_calls", "metadata", "n",
]  # fmt: skip


@given(
    messages,
    st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
    st.sampled_from(["claude-3", "claude-opus-5"]),
)
def test_odd_requests_are_survived(turns: list[Any], fields: dict[str, Any], model: str) -> None:
    fields = {"messages": turns, "model": "auto"} | fields
    request = ChatRequest(body=b"", fields=fields, model="auto", messages=turns)
    try:
        CODEC.encode(request, Model("id", "p", model), PROVIDER)
    except UpstreamError as error:
        assert error.failure.kind is FailureKind.UNSUPPORTED
