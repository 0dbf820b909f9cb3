"""A canonical request -> the body of Anthropic's POST /messages.

    system, developer   -> system: [text blocks]
    user                -> user turn: text, image and document blocks
    assistant           -> assistant turn: text and tool_use blocks; as the last message, a prefill
    tool                -> user turn: tool_result blocks, those of one round in one turn
    response_format     -> output_config.format (json_schema) or a sentence in `system` (json_object)
    reasoning_effort    -> thinking, by what the model's generation takes; one that the caller didn't ask
                           for only moves how much is thought: output_config.effort

Members that Anthropic has no word for are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.effort import Effort
from proxy.errors import UpstreamError
from proxy.providers.anthropic_blocks import blocks, tool_result, tool_use
from proxy.providers.anthropic_schema import strict
from proxy.providers.claude import SAMPLING, moderation, one_sampling_knob, thinking
from proxy.types import ChatRequest, Failure, FailureKind, Model

_DEFAULT_MAX_TOKENS = 4096
_JSON_ONLY = "Answer with one valid JSON object and nothing else: no prose, no code fence."
_CONTINUE = {"type": "text", "text": "Continue."}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}

Body = dict[str, Any]


def message_body(request: ChatRequest, model: Model, effort: Effort | None = None) -> Body:
    """The body; raises UpstreamError for more than one choice, which Anthropic can't make."""
    fields = request.fields
    if isinstance(n := fields.get("n"), int) and n > 1:
        raise UpstreamError(_unsupported("n", "This model makes one choice per request."))
    body: Body = {
        "model": model.upstream_model,
        "max_tokens": _max_tokens(fields, model),
        "messages": _turns(request.messages),
    }
    if system := list(_system(request)):
        body["system"] = system
    if request.stream:
        body["stream"] = True
    body |= _tools(fields) | _small_things(fields)
    body |= _thought(request, model, body, effort)
    return body | _sampling(fields, model, "thinking" in body)


def _max_tokens(fields: Body, model: Model) -> int:
    for asked in (fields.get("max_completion_tokens"), fields.get("max_tokens")):
        if isinstance(asked, int) and asked > 0:
            return min(asked, model.max_output_tokens or asked)
    return model.max_output_tokens or _DEFAULT_MAX_TOKENS


# --- messages ------------------------------------------------------------------------------------


def _system(request: ChatRequest) -> Iterator[Body]:
    for message in request.messages:
        if message.get("role") in ("system", "developer"):
            yield from blocks(message.get("content"))
    if _format(request.fields).get("type") == "json_object":
        yield {"type": "text", "text": _JSON_ONLY}


def _turns(messages: list[Body]) -> list[Body]:
    """Alternating turns that begin with the user's; neighbours of one role are one turn."""
    turns: list[Body] = []
    for message in messages:
        role, content = _turn(message)
        if not content:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    if not turns or turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [_CONTINUE]})
    return _prefill(turns)


def _turn(message: Body) -> tuple[str, list[Body]]:
    role = message.get("role")
    if role == "user":
        return "user", list(blocks(message.get("content")))
    if role in ("tool", "function"):
        return "user", [tool_result(message)]
    if role == "assistant":
        return "assistant", [*_said(message), *_called(message)]
    return "", []


def _said(message: Body) -> list[Body]:
    said = list(blocks(message.get("content")))
    refusal = message.get("refusal")
    return said or ([{"type": "text", "text": refusal}] if isinstance(refusal, str) and refusal else [])


def _called(message: Body) -> Iterator[Body]:
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        yield from (tool_use(call) for call in calls if isinstance(call, dict))
    elif isinstance(call := message.get("function_call"), dict):
        yield tool_use({"id": call.get("name"), "function": call})


def _prefill(turns: list[Body]) -> list[Body]:
    """A last turn of the assistant's is to be continued; it mustn't end in white space."""
    last = turns[-1]
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        text = last["content"][-1]["text"].rstrip()
        last["content"] = last["content"][:-1] + ([last["content"][-1] | {"text": text}] if text else [])
        if not last["content"]:
            turns.pop()
    return turns


# --- tools and output ----------------------------------------------------------------------------


def _tools(fields: Body) -> Body:
    tools = [tool for entry in _list(fields.get("tools")) or _functions(fields) if (tool := _tool(entry))]
    if not tools:
        return {}
    choice = _tool_choice(fields)
    return {"tools": tools, "tool_choice": choice} if choice else {"tools": tools}


def _functions(fields: Body) -> list[Body]:
    """The tools of callers that still speak of functions."""
    return [{"type": "function", "function": function} for function in _list(fields.get("functions"))]


def _tool(entry: Any) -> Body | None:
    function = entry.get("function") if isinstance(entry, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    schema = function.get("parameters")
    tool: Body = {
        "name": function["name"],
        "input_schema": {"type": "object"} | (schema if isinstance(schema, dict) else {}),
    }
    if isinstance(description := function.get("description"), str) and description:
        tool["description"] = description
    if isinstance(cache := entry.get("cache_control"), dict):
        tool["cache_control"] = cache
    return tool


def _tool_choice(fields: Body) -> Body | None:
    asked = fields.get("tool_choice", fields.get("function_call"))
    choice: Body | None = None
    if isinstance(asked, str) and asked in _CHOICES:
        choice = {"type": _CHOICES[asked]}
    elif isinstance(asked, dict):
        name = (_dict(asked.get("function")) or asked).get("name")
        choice = {"type": "tool", "name": name} if isinstance(name, str) else None
    if fields.get("parallel_tool_calls") is False and (choice or {}).get("type") != "none":
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return choice


def _thought(request: ChatRequest, model: Model, body: Body, effort: Effort | None) -> Body:
    """How hard to think, and the form of what comes of it."""
    fields = request.fields
    asked = fields.get("reasoning_effort") or _dict(fields.get("reasoning")).get("effort")
    how, level = thinking(asked, model.upstream_model, body, request.messages)
    if effort is not None:
        level = moderation(effort, model.upstream_model)
    config = _output_format(fields) | ({"effort": level} if level else {})
    return ({"thinking": how} if how else {}) | ({"output_config": config} if config else {})


def _output_format(fields: Body) -> Body:
    asked = _format(fields)
    schema = _dict(asked.get("json_schema")).get("schema") if asked.get("type") == "json_schema" else None
    if not isinstance(schema, dict):
        return {}
    return {"format": {"type": "json_schema", "schema": strict(schema)}}


def _format(fields: Body) -> Body:
    return _dict(fields.get("response_format"))


# --- the rest ------------------------------------------------------------------------------------


def _small_things(fields: Body) -> Body:
    small: Body = {}
    stop = fields.get("stop")
    # A sequence of white space alone is refused.
    stops = [stop] if isinstance(stop, str) else _list(stop)
    if stops := [stop for stop in stops if isinstance(stop, str) and stop.strip()]:
        small["stop_sequences"] = stops
    if isinstance(user := fields.get("user"), str) and user:
        small["metadata"] = {"user_id": user[:256]}
    return small


def _sampling(fields: Body, model: Model, thinks: bool) -> Body:
    """Temperature (0..2 there, 0..1 here) and top_p, where the model still takes them."""
    if thinks or not SAMPLING.accepts(model.upstream_model):
        return {}
    knobs = {
        name: min(max(float(value), 0.0), 1.0)
        for name in ("temperature", "top_p")
        if isinstance(value := fields.get(name), (int, float)) and not isinstance(value, bool)
    }
    return one_sampling_knob(knobs, model.upstream_model)


def _dict(value: Any) -> Body:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _unsupported(param: str, message: str) -> Failure:
    return Failure(
        FailureKind.UNSUPPORTED,
        message,
        status=400,
        code="unsupported_value",
        type="invalid_request_error",
        param=param,
    )
