"""Built-in models that answer without a network, so that a fresh clone works at once. They say so.

    reply(request, model)   -> the bytes of a chat.completion
    events(request, model)  -> the bytes of a stream, event by event, to `[DONE]`

OpenAI's dialect; the same request gets the same answer. Tokens are counted crudely: four bytes each.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from proxy.types import ChatRequest, Model

_ASK_SHOWN = 160
"""Characters of the ask that are echoed."""

_MAX_CHOICES = 16
_MOST_VALUES = 2000
_MOST_LEVELS = 32
"""Of an instance of a schema."""
_PIECE = re.compile(r"\s*\S+\s*")
_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]


def reply(request: ChatRequest, model: Model, created: int = 0) -> bytes:
    """A chat.completion; `created` is Unix time."""
    text, finish_reason = _answer(request, model)
    message = {"role": "assistant", "content": text, "refusal": None}
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason}
        for index in range(_choices(request))
    ]
    head = _head(request, model, "chat.completion", created)
    return _encode(head | {"choices": choices, "usage": _usage(request, text)})


def events(request: ChatRequest, model: Model, created: int = 0) -> Iterator[bytes]:
    """A stream of chat.completion.chunk events, a word each, then usage and `[DONE]`."""
    text, finish_reason = _answer(request, model)
    head = _head(request, model, "chat.completion.chunk", created)
    count = _choices(request)
    opening: Json = {"role": "assistant", "content": ""}
    deltas = [opening, *({"content": piece} for piece in _pieces(text)), {}]
    for number, delta in enumerate(deltas):
        reason = finish_reason if number == len(deltas) - 1 else None
        for index in range(count):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            yield _event(head | {"choices": [choice]})
    yield _event(head | {"choices": [], "usage": _usage(request, text)})
    yield b"data: [DONE]\n\n"


# --- what is said --------------------------------------------------------------------------------


def _answer(request: ChatRequest, model: Model) -> tuple[str, str]:
    """The text, cut to the caller's max_tokens, and why it ends."""
    form = _dict(request.fields.get("response_format"))
    kind = form.get("type")
    if kind == "json_schema":
        schema = _dict(_dict(form.get("json_schema")).get("schema"))
        text = _encode(_instance(schema, schema, iter(range(_MOST_VALUES)))).decode()
    elif kind == "json_object":
        text = _encode({"simulated": True, "model": model.id, "you_asked": _ask(request)}).decode()
    else:
        text = _prose(request, model)
    return _cut(text, request.fields)


def _prose(request: ChatRequest, model: Model) -> str:
    tools = request.fields.get("tools")
    told = f" and {len(tools)} tool(s), which it does not call" if isinstance(tools, list) and tools else ""
    return (
        f"This is a simulated reply: no real provider is ready, so no language model was asked. "
        f"The request was routed to `{model.id}`, with {len(request.messages)} message(s){told}. "
        f"You asked: \N{LEFT DOUBLE QUOTATION MARK}{_ask(request)}\N{RIGHT DOUBLE QUOTATION MARK} "
        f"Set a provider's API key (for example GROQ_API_KEY) and restart to get real answers."
    )


def _ask(request: ChatRequest) -> str:
    """The last user turn on one line, cut."""
    for message in reversed(request.messages):
        if message.get("role") == "user":
            text = " ".join(_text(message.get("content")).split())
            return text if len(text) <= _ASK_SHOWN else text[: _ASK_SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


def _cut(text: str, fields: Json) -> tuple[str, str]:
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    if not isinstance(limit, int) or limit <= 0 or _tokens(text) <= limit:
        return text, "stop"
    return text.encode()[: 4 * limit].decode(errors="ignore"), "length"


def _pieces(text: str) -> list[str]:
    return _PIECE.findall(text) or ([text] if text else [])


# --- a minimal instance of a schema --------------------------------------------------------------


def _instance(schema: Any, root: Json, left: Iterator[int], depth: int = 0) -> Any:
    """Something that the schema allows, as small as it gets; where that has no end, null."""
    schema = _resolved(schema, root)
    if depth > _MOST_LEVELS or next(left, None) is None:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if isinstance(enum := schema.get("enum"), list) and enum:
        return enum[0]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := schema.get(key), list) and options:
            return _instance(options[0], root, left, depth + 1)
    return _of_type(schema, root, left, depth)


def _of_type(schema: Json, root: Json, left: Iterator[int], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "array":
        least = schema.get("minItems")
        count = min(least, 100) if isinstance(least, int) else 0
        return [_instance(schema.get("items"), root, left, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "string":
        return _string(schema)
    if kind == "boolean":
        return False
    return None if kind == "null" else _object(schema, root, left, depth)


def _object(schema: Json, root: Json, left: Iterator[int], depth: int) -> Json:
    members = _dict(schema.get("properties"))
    required = schema.get("required")
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return {name: _instance(members.get(name), root, left, depth + 1) for name in names}


def _number(schema: Json) -> int | float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, (int, float)) and low > 0:
        return low
    if isinstance(high, (int, float)) and high < 0:
        return high
    return 0


def _string(schema: Json) -> str:
    least = schema.get("minLength")
    return "simulated".ljust(min(least, 10_000), ".") if isinstance(least, int) else "simulated"


def _resolved(schema: Any, root: Json) -> Json:
    """The schema that a chain of local references leads to."""
    for _ in range(16):
        reference = _dict(schema).get("$ref")
        if not isinstance(reference, str):
            break
        schema = root
        for name in reference.removeprefix("#").split("/")[1:]:
            schema = _dict(schema).get(name.replace("~1", "/").replace("~0", "~"))
    return _dict(schema)


# --- the frame -----------------------------------------------------------------------------------


def _head(request: ChatRequest, model: Model, kind: str, created: int) -> Json:
    seed = hashlib.sha256(model.id.encode() + b"\0" + request.body).hexdigest()[:24]
    return {"id": f"chatcmpl-simulated-{seed}", "object": kind, "created": created, "model": model.id}


def _choices(request: ChatRequest) -> int:
    n = request.fields.get("n")
    return min(max(n, 1), _MAX_CHOICES) if isinstance(n, int) else 1


def _usage(request: ChatRequest, text: str) -> Json:
    prompt = sum(4 + _tokens(_text(message.get("content"))) for message in request.messages)
    completion = _tokens(text) * _choices(request)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _tokens(text: str) -> int:
    return (len(text.encode()) + 3) // 4


def _event(value: Json) -> bytes:
    return b"data: %b\n\n" % _encode(value)


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
