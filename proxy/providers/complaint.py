"""What an upstream says went wrong, read out of whatever shape it chose.

    {"error": {"message", "type", "param", "code"}}                OpenAI, Groq, OpenRouter, DeepSeek
    {"error": {"code": 400, "metadata": {"raw": "<JSON>"}}}        OpenRouter, quoting somebody else
    {"type": "error", "error": {"type", "message"}}                Anthropic
    {"object": "error", "message", "type", "code": 400}            vLLM
    {"error": "text"}   {"detail": ...}   {"message": "text"}      Ollama, TGI; FastAPI; Mistral, Cohere
    {"message": {"detail": [{"loc", "msg"}]}}                      Mistral, about a field
    {"choices": [{"finish_reason": "abort"}]}                      vLLM, DeepSeek: an end that is none
    {"error": {"code", "innererror": {"code"}}}                    Azure
    [{"error": {"code": 400, "status", "details": [...]}}]         Gemini
    text                                                           gateways

An error is a pile of layers, each quoting the next; the innermost knows best.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

_DEPTH = 8
"""Layers that are looked into; members of a list that are."""

_INNER = ("error", "x_groq", "choices", "message", "detail", "details", "errors", "metadata", "raw",
          "innererror")  # fmt: skip
_MESSAGE = ("message", "error", "detail", "msg", "error_message", "error_description", "raw", "title")
_CODES = ("code", "type", "status", "reason", "error_type", "error_code", "__type", "finish_reason")
_STATUSES = ("code", "status", "status_code", "statusCode", "error_code", "http_status_code")
_BODY_LIMIT = 1_000_000


class Complaint(Struct):
    """An upstream's error, by the names that OpenAI gave its parts."""

    message: str = ""
    """The innermost."""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None
    """An HTTP status, when one stands in the error itself."""
    codes: tuple[str, ...] = ()
    """Everything that could name the error, in lower case and up to a colon, innermost first."""
    words: str = ""
    """Everything that was said, outermost first."""
    headers: dict[str, str] = {}
    """Those of a response that it quotes, as OpenRouter does; names in lower case."""


def read_complaint(error: Any) -> Complaint:
    """Reads a body (bytes), a decoded one, or the error object itself. Never raises."""
    value = _decoded(error) if isinstance(error, (bytes, str)) else error
    layers = list(_layers(value, _DEPTH))
    if not layers:
        text = _shown(value)
        return Complaint(message=text, words=text)
    inward = layers[::-1]
    return Complaint(
        message=next((text for layer in inward if (text := _message(layer))), ""),
        code=_first(inward, "code"),
        type=_first(inward, "type"),
        param=_first(inward, "param"),
        status=next((status for layer in layers if (status := _status(layer))), None),
        codes=tuple(code for layer in inward for code in _codes(layer)),
        words="\n".join(text for layer in layers if (text := _words(layer))),
        headers={name: value for layer in layers for name, value in _headers(layer)},
    )


def _decoded(body: bytes | str) -> Any:
    """The JSON value, or the text."""
    text = body[:_BODY_LIMIT]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _layers(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The error and what it quotes, outermost first."""
    if depth == 0:
        return
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        value = _decoded(value)
    if isinstance(value, list):
        for member in value[:_DEPTH]:
            yield from _layers(member, depth - 1)
    if not isinstance(value, dict):
        return
    yield value
    for name in _INNER:
        yield from _layers(value.get(name), depth - 1)


def _message(layer: dict[str, Any]) -> str:
    for name in _MESSAGE:
        value = layer.get(name)
        if isinstance(value, str) and value.strip() and not value.lstrip().startswith(("{", "[")):
            return value.strip()
    return ""


def _first(layers: list[dict[str, Any]], name: str) -> str | None:
    for layer in layers:
        value = layer.get(name)
        if isinstance(value, str) and value and not value.isdigit():
            return value[:200]
    return None


def _status(layer: dict[str, Any]) -> int | None:
    for name in _STATUSES:
        value = layer.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


def _codes(layer: dict[str, Any]) -> Iterator[str]:
    for name in _CODES:
        value = layer.get(name)
        if isinstance(value, str) and value:
            yield value[:200].partition(":")[0].lower()


def _words(layer: dict[str, Any]) -> str:
    delay = layer.get("retryDelay")
    return f"retry in {delay}" if isinstance(delay, str) else _message(layer)


def _headers(layer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    quoted = layer.get("headers")
    for name, value in quoted.items() if isinstance(quoted, dict) else ():
        if isinstance(value, str):
            yield name.lower(), value


def _shown(value: Any) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)[:2000]
