"""The body of POST /v1/chat/completions: bytes -> ChatRequest, or the refusal that names the mistake.

    bytes --decode--> dict --check--> ChatRequest        anything else: ApiError 400 that names `param`

Only what this proxy itself relies on is checked; the rest is the upstream's to judge, and unknown
fields are kept.
"""

from __future__ import annotations

import json
import re
from types import NoneType
from typing import Any

import msgspec

from proxy.errors import ApiError
from proxy.types import ChatRequest
from proxy.wire.plugins import auto_router
from proxy.wire.refusal import bad, missing, name_of, wrong_type

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
"""What a message's `role` may be."""

MAX_DEPTH = 500
"""Levels of nesting; far below the interpreter's limit, so that what was decoded can be encoded again."""

MAX_MODEL_LENGTH = 256
"""Characters of a model's name."""

_KINDS: dict[str, tuple[frozenset[type], str]] = {
    "model": (frozenset({str, NoneType}), "a string"),
    "messages": (frozenset({list, NoneType}), "an array of objects"),
    "stream": (frozenset({bool, NoneType}), "a boolean or null"),
    "stream_options": (frozenset({dict, NoneType}), "an object or null"),
    "models": (frozenset({list, NoneType}), "an array of strings"),
    "n": (frozenset({int, NoneType}), "an integer or null"),
    "max_tokens": (frozenset({int, NoneType}), "an integer or null"),
    "max_completion_tokens": (frozenset({int, NoneType}), "an integer or null"),
    "tools": (frozenset({list, NoneType}), "an array of objects or null"),
    "functions": (frozenset({list, NoneType}), "an array of objects or null"),
}
"""Field -> the JSON types that it may have, and how that is said."""

_BOUNDS = {"n": (1, 128), "max_tokens": (-1, 10**9), "max_completion_tokens": (-1, 10**9)}
"""Field -> least and greatest value; -1 is how local servers say `no limit`."""

_LISTS = ("tools", "functions")
"""Fields whose members must be objects."""
_LOOKED_INTO = frozenset({*_BOUNDS, *_LISTS})

_COUNTED = ("model", "messages", "stream")
"""Fields that may not occur twice: two readers of one body must not disagree about them."""

_COUNTED_IN_QUOTES = re.compile(rb'"(?:m(?:odel|essages)|stream)"')
_ESCAPE = ord("\\")
_NOT_OPENING = bytes(byte for byte in range(256) if byte not in b"{[")

_decode_any = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse(body: bytes) -> ChatRequest:
    """The validated request; raises ApiError 400, and nothing else, on whatever else `body` may be."""
    fields = _decode(body)
    _check_kinds(fields)
    models = _models(fields) if "models" in fields else ()
    model = _model(fields, models)
    messages = _messages(fields)
    plain = _counts_once(body, fields)
    if not plain:
        _check_duplicates(body, fields)
    return ChatRequest(
        body=body,
        fields=fields,
        model=model,
        messages=messages,
        stream=fields.get("stream") is True,
        include_usage="stream_options" in fields and _include_usage(fields["stream_options"]),
        models=models,
        auto_router=auto_router(fields["plugins"]) if "plugins" in fields else None,
        spliceable=plain and "model" in fields,
    )


# --- decoding ------------------------------------------------------------------------------------


def _decode(body: bytes) -> dict[str, Any]:
    try:
        fields = _decode_any(body)
    except UnicodeDecodeError:
        raise bad("The body is not valid UTF-8.", "invalid_utf8") from None
    except msgspec.ValidationError:
        raise bad("The body holds a number that is out of range.", "invalid_number") from None
    except msgspec.DecodeError as error:
        raise bad(f"The body is not valid JSON ({error}).", "invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    if type(fields) is not dict:
        raise bad(f"The body must be a JSON object, not {name_of(fields)}.", "invalid_type")
    # A body this deep has as many pairs of brackets, so that most bodies are never walked.
    if len(body) > 2 * MAX_DEPTH and len(body.translate(None, _NOT_OPENING)) > MAX_DEPTH:
        _check_depth(fields)
    return fields


def _check_depth(fields: dict[str, Any]) -> None:
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ApiError:
    return bad(f"The body is nested more than {MAX_DEPTH} levels deep.", "json_too_deep")


# --- fields --------------------------------------------------------------------------------------


def _check_kinds(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        rule = _KINDS.get(name)
        if rule is not None and type(value) not in rule[0]:
            raise wrong_type(name, rule[1], value)
    if not fields.keys().isdisjoint(_LOOKED_INTO):
        _check_values(fields)


def _check_values(fields: dict[str, Any]) -> None:
    for name, (least, most) in _BOUNDS.items():
        if name in fields and (value := fields[name]) is not None and not least <= value <= most:
            raise bad(f"`{name}` must be between {least} and {most}.", "invalid_value", name)
    for name in _LISTS:
        if name in fields:
            _check_objects(fields[name] or (), name)


def _models(fields: dict[str, Any]) -> tuple[str, ...]:
    models = fields["models"] or ()
    for index, model in enumerate(models):
        _check_model_name(model, f"models[{index}]")
    return tuple(models)


def _model(fields: dict[str, Any], models: tuple[str, ...]) -> str:
    model = fields.get("model")
    if model is None:
        if models:
            return models[0]
        raise missing("model")
    _check_model_name(model, "model")
    return model  # type: ignore[no-any-return]  # _check_kinds and the line above saw to it


def _check_model_name(model: object, param: str) -> None:
    if type(model) is not str:
        raise wrong_type(param, "a string", model)
    if not 0 < len(model) <= MAX_MODEL_LENGTH:
        raise bad(f"`{param}` must have 1 to {MAX_MODEL_LENGTH} characters.", "invalid_value", param)


def _messages(fields: dict[str, Any]) -> list[dict[str, Any]]:
    messages = fields.get("messages")
    if messages is None:
        raise missing("messages")
    if not messages:
        raise bad("`messages` must have at least one message.", "empty_array", "messages")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise wrong_type(f"messages[{index}]", "an object", message)
        role = message.get("role")
        if type(role) is not str or role not in ROLES:
            raise _bad_role(role, "role" in message, f"messages[{index}].role")
        content = message.get("content")
        if type(content) is not str and content is not None:
            _check_parts(content, f"messages[{index}].content")
    return messages  # type: ignore[no-any-return]  # _check_kinds and the loop saw to it


def _check_parts(content: object, param: str) -> None:
    if type(content) is not list:
        raise wrong_type(param, "a string, null or an array of objects", content)
    _check_objects(content, param)


def _check_objects(members: Any, param: str) -> None:
    for index, member in enumerate(members):
        if type(member) is not dict:
            raise wrong_type(f"{param}[{index}]", "an object", member)


def _include_usage(options: dict[str, Any] | None) -> bool:
    wanted = (options or {}).get("include_usage")
    if type(wanted) is not bool and wanted is not None:
        raise wrong_type("stream_options.include_usage", "a boolean or null", wanted)
    return wanted is True


# --- fields that occur twice ---------------------------------------------------------------------


def _counts_once(body: bytes, fields: dict[str, Any]) -> bool:
    """The counted names stand in the bytes only as the fields that they are.

    Inside a string the quotes are escaped, so that only a key, a whole string or the end of one can
    look like `"model"`.
    """
    found = body.count(b'"model"') + body.count(b'"messages"') + body.count(b'"stream"')
    return found == _counted_members(fields) and not _may_escape_names(body)


def _counted_members(fields: dict[str, Any]) -> int:
    return ("model" in fields) + ("messages" in fields) + ("stream" in fields)


def _may_escape_names(body: bytes) -> bool:
    # Every letter of the counted names is \u006x or \u007x. The first search is by far the cheapest.
    return _ESCAPE in body and b"\\u00" in body and (b"\\u006" in body or b"\\u007" in body)


def _check_duplicates(body: bytes, fields: dict[str, Any]) -> None:
    if _counts_once_outside_members(body, fields):
        return
    keys = top_level_keys(body)
    for name in _COUNTED:
        if keys.count(name) > 1:
            raise bad(f"`{name}` is given more than once.", "duplicate_parameter", name)


def _counts_once_outside_members(body: bytes, fields: dict[str, Any]) -> bool:
    """What is found in the body but not within its members are its keys (a tool may have a `model`).

    Of a member that is given twice only the last is decoded, so that its key is found once too often.
    """
    if _may_escape_names(body):
        return False
    inside = sum(len(_COUNTED_IN_QUOTES.findall(value)) for value in _decode_members(body).values())
    return len(_COUNTED_IN_QUOTES.findall(body)) - inside == _counted_members(fields)


def top_level_keys(body: bytes) -> list[str]:
    """The names of a JSON object's members as they come; one that is given twice is there twice."""
    keys: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        keys[:] = [name for name, _ in pairs]

    # Objects are handed over from the inside out: the last one kept is the body itself.
    decoder = json.JSONDecoder(object_pairs_hook=keep, parse_int=len, parse_float=len)
    try:
        decoder.decode(body.decode())
    except RecursionError:
        raise _too_deep() from None
    return keys


def _bad_role(role: object, given: bool, param: str) -> ApiError:
    if not given:
        return missing(param)
    if type(role) is not str:
        return wrong_type(param, "a string", role)
    return bad(f"`{param}` is {role[:40]!a}; known are {', '.join(sorted(ROLES))}.", "invalid_value", param)
