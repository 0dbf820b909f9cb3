"""What upstreams of OpenAI's dialect stream, as seen on the wire (ids and texts made up)."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.types import FailureKind, Usage
from tests.providers.recording import Recording

_encode = msgspec.json.Encoder().encode

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
COUNTED = Usage(prompt=12, completion=5)
DONE = b"data: [DONE]\n\n"


def openai_event(
    delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **members: Any
) -> bytes:
    """One chat.completion.chunk as an event."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m-1"}
    return b"data: " + _encode(head | {"choices": choices} | members) + b"\n\n"


def said(*texts: str, finish: str | None = "stop") -> bytes:
    """The role, the texts and the end."""
    events = [openai_event({"role": "assistant", "content": ""})]
    events += [openai_event({"content": text}) for text in texts]
    return b"".join(events) + (openai_event({}, finish) if finish else b"")


def called(index: int, id_: str, name: str, *pieces: str) -> bytes:
    """A tool call, its arguments in pieces."""
    function = {"name": name, "arguments": ""}
    events = [
        openai_event({"tool_calls": [{"index": index, "id": id_, "type": "function", "function": function}]})
    ]
    events += [openai_event({"tool_calls": [{"index": index, "function": {"arguments": p}}]}) for p in pieces]
    return b"".join(events)


_ROLE = openai_event({"role": "assistant", "content": ""})
_STOP = openai_event({}, "stop")
_CACHED = USAGE | {
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
_BROKEN_OFF = {"code": 502, "message": "Provider disconnected"}

OPENAI = [
    Recording("text", said("Hel", "lo", " wörld 🌍") + DONE, "Hello wörld 🌍", model="m-1"),
    Recording(
        "usage chunk shown to who asked",
        said("Hi") + openai_event(usage=USAGE) + DONE,
        "Hi",
        model="m-1",
        usage=COUNTED,
    ),
    Recording(
        "usage chunk kept from who did not",
        said("Hi") + openai_event(usage=USAGE) + DONE,
        "Hi",
        model="m-1",
        usage=COUNTED,
        asks_usage=False,
        data=said("Hi"),
    ),
    Recording(
        "usage with cache and reasoning on the last chunk",
        _ROLE + openai_event({"content": "Hi"}) + openai_event({}, "stop", usage=_CACHED) + DONE,
        "Hi",
        model="m-1",
        usage=Usage(prompt=12, completion=5, cached=8, reasoning=3),
        asks_usage=False,
    ),
    Recording(
        "Groq's own usage member",
        said("Hi", finish=None) + openai_event({}, "stop", x_groq={"id": "req_1", "usage": USAGE}) + DONE,
        "Hi",
        model="m-1",
        usage=COUNTED,
    ),
    Recording(
        "two parallel tool calls",
        _ROLE
        + called(0, "call_a", "weather", '{"city":', '"Paris"}')
        + called(1, "call_b", "time", "{}")
        + openai_event({}, "tool_calls")
        + DONE,
        finish="tool_calls",
        model="m-1",
        tools=True,
    ),
    Recording(
        "an old function call",
        _ROLE
        + openai_event({"function_call": {"name": "f", "arguments": "{}"}})
        + openai_event({}, "function_call")
        + DONE,
        finish="function_call",
        model="m-1",
        tools=True,
    ),
    Recording(
        "reasoning in both spellings",
        _ROLE
        + openai_event({"reasoning_content": "hmm"})
        + openai_event({"reasoning": "so"})
        + openai_event({"content": "42"})
        + _STOP
        + DONE,
        "42",
        model="m-1",
    ),
    Recording("refusal", _ROLE + openai_event({"refusal": "No."}) + _STOP + DONE, model="m-1"),
    Recording(
        "two choices",
        openai_event({"content": "a"})
        + openai_event({"content": "b"}, index=1)
        + _STOP
        + openai_event({}, "length", 1)
        + DONE,
        "a",
        finish="length",
        model="m-1",
    ),
    Recording(
        "Azure's first event has no choices",
        openai_event(prompt_filter_results=[]) + said("Hi") + DONE,
        "Hi",
        model="m-1",
    ),
    Recording(
        "OpenRouter's comments before and amid the answer",
        b": OPENROUTER PROCESSING\n\n"
        + _ROLE
        + b": OPENROUTER PROCESSING\n\n"
        + openai_event({"content": "Hi"})
        + b": still here\n\n"
        + _STOP
        + DONE,
        "Hi",
        model="m-1",
        data=_ROLE + openai_event({"content": "Hi"}) + b": still here\n\n" + _STOP,
    ),
    Recording("CRLF", (said("Hi", "ho") + DONE).replace(b"\n", b"\r\n"), "Hiho", model="m-1"),
    Recording(
        "no space after the colon", (said("Hi") + DONE).replace(b"data: ", b"data:"), "Hi", model="m-1"
    ),
    Recording(
        "ids and names",
        b"id: 1\nevent: message\n" + openai_event({"content": "Hi"}) + b"id: 2\n" + _STOP + DONE,
        "Hi",
        model="m-1",
        data=b"event: message\n" + openai_event({"content": "Hi"}) + _STOP,
    ),
    Recording("no [DONE], but a finish reason", said("Hi"), "Hi", model="m-1"),
    Recording("[DONE], but no finish reason", said("Hi", finish=None) + DONE, "Hi", finish=None, model="m-1"),
    Recording(
        "a last event without its blank line",
        said("Hi") + b"data: [DONE]",
        "Hi",
        model="m-1",
        data=said("Hi"),
    ),
    Recording(
        "what comes after [DONE] does not count",
        said("Hi") + DONE + openai_event({"content": "!"}),
        "Hi",
        model="m-1",
        data=said("Hi"),
    ),
    Recording(
        "what isn't JSON is left out",
        _ROLE
        + b'data: {"choices":[\n\n'
        + openai_event({"content": "Hi"})
        + b"data: pong\n\ndata: []\n\n"
        + _STOP
        + DONE,
        "Hi",
        model="m-1",
        dropped=3,
        data=_ROLE + openai_event({"content": "Hi"}) + _STOP,
    ),
    Recording(
        "bad UTF-8 is not JSON",
        _ROLE + b'data: {"choices":[],"x":"\xff"}\n\n' + openai_event({"content": "Hi"}) + _STOP + DONE,
        "Hi",
        model="m-1",
        dropped=1,
        data=_ROLE + openai_event({"content": "Hi"}) + _STOP,
    ),
    Recording(
        "events without data are left out",
        b"event: ping\n\n"
        + _ROLE
        + b"data:\n\nretry: 10\n\n"
        + openai_event({"content": "Hi"})
        + _STOP
        + DONE,
        "Hi",
        model="m-1",
        data=_ROLE + openai_event({"content": "Hi"}) + _STOP,
    ),
    Recording(
        "half a surrogate pair in each of two events",
        _ROLE
        + b'data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"\\ud83c"}}]}\n\n'
        + b'data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"\\udf0d"}}]}\n\n'
        + _STOP
        + DONE,
        "??",
        model="m-1",
        chunks_valid=False,
    ),
    Recording(
        "nulls and odd types everywhere",
        b'data: {"id":null,"model":null,"choices":null,"usage":null,"error":null}\n\n'
        b'data: {"model":7,"choices":[null,{"index":null,"delta":null}],"usage":"none"}\n\n'
        b'data: {"model":"m-1","choices":[{"index":"0","delta":{"content":["x"],"tool_calls":null}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"Hi","audio":7}}],'
        b'"usage":{"prompt_tokens":"12","completion_tokens":5.0}}\n\n'
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":[]}\n\n' + DONE,
        "Hi",
        model="m-1",
        usage=COUNTED,
        chunks_valid=False,
    ),
    Recording(
        "Mistral's content in parts",
        openai_event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]})
        + openai_event({"content": [{"type": "text", "text": "Hi"}]})
        + _STOP
        + DONE,
        "Hi",
        model="m-1",
        chunks_valid=False,
    ),
    Recording(
        "OpenRouter's error amid the answer",
        _ROLE
        + openai_event({"content": "Hi"})
        + openai_event({"content": ""}, "error", error=_BROKEN_OFF)
        + openai_event({"content": "never"}),
        "Hi",
        finish=None,
        model="m-1",
        failure=FailureKind.UNAVAILABLE,
        data=_ROLE + openai_event({"content": "Hi"}),
    ),
    Recording(
        "OpenAI's error event",
        b'data: {"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}\n\n'
        + DONE,
        finish=None,
        failure=FailureKind.RATE_LIMIT,
        data=b"",
    ),
    Recording(
        "an event named error",
        b'event: error\ndata: {"message":"Overloaded"}\n\n',
        finish=None,
        failure=FailureKind.OVERLOADED,
        data=b"",
    ),
    Recording(
        "an event named error that is text",
        b"event: error\ndata: upstream exploded\n\n",
        finish=None,
        failure=FailureKind.SERVER_ERROR,
        data=b"",
    ),
    Recording(
        "vLLM's plain error",
        _ROLE
        + b'data: {"object":"error","message":"too many tokens","type":"BadRequestError","code":400}\n\n'
        + DONE,
        finish=None,
        model="m-1",
        failure=FailureKind.CONTEXT_LENGTH,
        data=_ROLE,
    ),
    Recording(
        "Groq's reason to stop early",
        said("Hi", finish=None) + openai_event({}, None, x_groq={"id": "r", "error": "over_capacity"}),
        "Hi",
        finish=None,
        model="m-1",
        failure=FailureKind.OVERLOADED,
        data=said("Hi", finish=None),
    ),
    Recording(
        "Groq's tool call that is none",
        _ROLE
        + openai_event({"reasoning": "hm"})
        + b'event: error\ndata: {"error":{"message":"Failed to call a function.",'
        + b'"type":"invalid_request_error","code":"tool_use_failed","status_code":400}}\n\n',
        finish=None,
        model="m-1",
        failure=FailureKind.MALFORMED,
        data=_ROLE + openai_event({"reasoning": "hm"}),
    ),
    Recording(
        # https://api-docs.deepseek.com/api/create-chat-completion
        "DeepSeek ran out of machines",
        said("Hi", finish=None) + openai_event({"content": ""}, "insufficient_system_resource") + DONE,
        "Hi",
        finish=None,
        model="m-1",
        failure=FailureKind.OVERLOADED,
        data=said("Hi", finish=None),
    ),
    Recording(
        # vllm-project/vllm, issue 57082
        "vLLM's engine was stopped",
        said("Hi", finish=None) + openai_event({}, "abort") + openai_event(usage=USAGE) + DONE,
        "Hi",
        finish=None,
        model="m-1",
        failure=FailureKind.UNAVAILABLE,
        data=said("Hi", finish=None),
    ),
    Recording(
        # As captured from gemini-2.5-flash behind /v1beta/openai: no text, no call, no error.
        "Gemini's malformed function call",
        openai_event({"role": "assistant"}, "function_call_filter: MALFORMED_FUNCTION_CALL")
        + openai_event(usage=USAGE)
        + DONE,
        finish=None,
        failure=FailureKind.MALFORMED,
        data=b"",
        chunks_valid=False,
    ),
    Recording(
        # ggml-org/llama.cpp, pull request 16109: such a field is in no standard.
        "llama.cpp's error field, and its [DONE]",
        said("Hi", finish=None)
        + b'error: {"code":500,"message":"context shift is disabled","type":"server_error"}\n\n'
        + DONE,
        "Hi",
        finish=None,
        model="m-1",
        failure=FailureKind.SERVER_ERROR,
        data=said("Hi", finish=None),
    ),
    Recording(
        "Moonshot's usage in the choice",
        said("Hi", finish=None)
        + b'data: {"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop",'
        + b'"usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17}}]}\n\n'
        + DONE,
        "Hi",
        model="m-1",
        usage=COUNTED,
        chunks_valid=False,
    ),
    Recording(
        "Ollama's call in one delta, and the finish with it",
        openai_event(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
            },
            "tool_calls",
        )
        + DONE,
        finish="tool_calls",
        model="m-1",
        tools=True,
    ),
    Recording(
        # googleapis/python-genai, issue 2868: `stop`, and neither an id nor an index.
        "Gemini's call without an id",
        openai_event(
            {
                "role": "assistant",
                "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
            }
        )
        + openai_event({"role": "assistant"}, "stop")
        + DONE,
        model="m-1",
        tools=True,
        chunks_valid=False,
    ),
    Recording(
        # su-kaka/gcli2api, issue 403: whoever translates Gemini's own stream may end every chunk.
        "a finish reason on every chunk",
        openai_event({"reasoning_content": "hm"}, "stop")
        + openai_event({"content": "Hi"}, "stop")
        + openai_event({"content": "!"}, "stop")
        + DONE,
        "Hi!",
        model="m-1",
    ),
    Recording(
        "an error behind the finish is nobody's business",
        said("Hi") + b'data: {"error":{"message":"late","code":500}}\n\n' + DONE,
        "Hi",
        model="m-1",
        dropped=1,
        data=said("Hi"),
    ),
    Recording("nothing at all", b"", finish=None, failure=FailureKind.BAD_RESPONSE),
    Recording("nothing but [DONE]", DONE, finish=None, failure=FailureKind.BAD_RESPONSE),
    Recording("nothing but comments", b": hi\n\n", finish=None, failure=FailureKind.BAD_RESPONSE, data=b""),
    Recording(
        "cut between events",
        said("Hi", finish=None),
        "Hi",
        finish=None,
        model="m-1",
        failure=FailureKind.BAD_RESPONSE,
    ),
    Recording(
        "cut within an event",
        said("Hi", finish=None) + b'data: {"choices":[{"del',
        "Hi",
        finish=None,
        model="m-1",
        dropped=1,
        failure=FailureKind.BAD_RESPONSE,
        data=said("Hi", finish=None),
    ),
]
