"""What is looked at in a chat.completion and its chunks: typed and fast, or patiently when types are odd.

bytes --msgspec--> Completion                    one microsecond, the usual case
      --json-----> dict --patiently--> the same  nulls, numbers as strings, content as parts, lone surrogates
      ----------> None                           not a JSON object
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
from msgspec import Struct

from proxy.providers.diagnose import bad_response, in_band
from proxy.providers.symptoms import BROKEN_OFF
from proxy.types import Chunk, Usage
from proxy.wire.crowd import many_objects, many_values


class Something(Struct, gc=False):
    """Any object: that it is there is enough."""


class Details(Struct, gc=False):
    """The breakdown of prompt or completion tokens."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Counts(Struct, gc=False):
    """OpenAI's usage object."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Groq(Struct, gc=False):
    """Groq's own member: usage again, and why a stream was stopped early."""

    error: Any = None
    usage: Counts | None = None


class Said(Struct, gc=False):
    """A message, or what a chunk adds to it."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[Something] | None = None
    function_call: Something | None = None
    audio: Something | None = None


class Choice(Struct, gc=False):
    """One of the answers, whole (`message`) or in part (`delta`)."""

    index: int = 0
    delta: Said | None = None
    message: Said | None = None
    finish_reason: str | None = None
    error: Any = None
    usage: Counts | None = None
    """Moonshot's place for it, on the last chunk."""

    @property
    def troubled(self) -> bool:
        """An error in its place, or an end that is none."""
        reason = self.finish_reason
        return bool(self.error) or (reason is not None and reason.partition(":")[0].lower() in BROKEN_OFF)


class Completion(Struct, gc=False):
    """A chat.completion, a chat.completion.chunk, or an error in their place."""

    choices: list[Choice] | None = None
    model: str | None = None
    usage: Counts | None = None
    error: Any = None
    object: str | None = None
    x_groq: Groq | None = None

    @property
    def troubled(self) -> bool:
        """An error came where an answer was promised."""
        if self.error or self.object == "error" or (self.x_groq is not None and self.x_groq.error):
            return True
        return bool([choice for choice in self.choices or () if choice.troubled])


read_completions = msgspec.json.Decoder(list[Completion]).decode
"""The quick way for a JSON array of them; raises msgspec.DecodeError."""


class PlainDelta(Struct, gc=False):
    """Nothing but content."""

    content: str
    reasoning: None = None
    reasoning_content: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None


class PlainChoice(Struct, gc=False):
    """The only choice, going on."""

    delta: PlainDelta
    index: Literal[0] = 0
    finish_reason: None = None
    error: None = None


class Plain(Struct, gc=False):
    """A chunk as nearly all are: what makes one special doesn't fit these types."""

    choices: tuple[PlainChoice]
    model: str | None = None
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: None = None
    error: None = None
    x_groq: None = None


read_plain = msgspec.json.Decoder(Plain).decode
"""The quickest way for one chunk; raises msgspec.DecodeError unless it is plain."""

read_all_plain = msgspec.json.Decoder(list[Plain]).decode
"""The same for a JSON array of them."""

_read = msgspec.json.Decoder(Completion).decode


def read_completion(body: bytes) -> Completion | None:
    """One of them, however oddly typed; None when it isn't a JSON object, or one of far too many values."""
    if many_objects(body):
        return None
    try:
        if not body.isascii():
            body.decode()
        return _read(body)
    except msgspec.ValidationError:
        value = read_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It isn't JSON, for which json takes ten times as long; or it has lone surrogates.
        value = read_json(body) if b"\\u" in body else None
    return _completion(value) if isinstance(value, dict) else None


def read_json(body: bytes) -> Any:
    """Any JSON value; None for none or far too many. Takes the lone surrogates that msgspec refuses."""
    if many_values(body):
        return None
    try:
        return json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def usage_of(counts: Counts) -> Usage:
    """The canonical usage. Whatever an upstream counts: no less than nothing, no more cached than asked."""
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    asked = _within(counts.prompt_tokens, MOST_TOKENS)
    return Usage(
        prompt=asked,
        completion=_within(counts.completion_tokens, MOST_TOKENS),
        cached=_within(prompt.cached_tokens, asked) if prompt else 0,
        reasoning=_within(completion.reasoning_tokens, MOST_TOKENS) if completion else 0,
    )


MOST_TOKENS = 10**9
"""More than any call has: a number of 400 digits can't even be multiplied by a price."""


def _within(count: int | None, most: int) -> int:
    return min(max(count or 0, 0), most)


def read_reply(body: bytes) -> Chunk:
    """A whole reply as one chunk; a failure when it is an error or has no message."""
    reply = read_completion(body)
    if reply is None:
        return Chunk(failure=bad_response("The upstream's reply is not a JSON object."))
    if reply.troubled:
        return Chunk(failure=in_band(read_json(body)))
    first = reply.choices[0] if reply.choices else None
    if first is None or first.message is None:
        return Chunk(failure=bad_response("The upstream's reply has no message."))
    said = first.message
    return Chunk(
        data=body,
        events=1,
        meaningful=True,
        text=said.content or "",
        tool_call=bool(said.tool_calls or said.function_call),
        finish_reason=first.finish_reason,
        model=reply.model,
        usage=usage_of(reply.usage) if reply.usage else None,
        done=True,
    )


# --- patiently -----------------------------------------------------------------------------------


def _completion(value: dict[str, Any]) -> Completion:
    choices = value.get("choices")
    groq = value.get("x_groq")
    return Completion(
        choices=[_choice(c) for c in choices if isinstance(c, dict)] if isinstance(choices, list) else None,
        model=_text(value.get("model")) or None,
        usage=_counts(value.get("usage")),
        error=value.get("error"),
        object=_text(value.get("object")) or None,
        x_groq=Groq(groq.get("error"), _counts(groq.get("usage"))) if isinstance(groq, dict) else None,
    )


def _choice(value: dict[str, Any]) -> Choice:
    return Choice(
        index=_count(value.get("index")),
        delta=_said(value.get("delta")),
        message=_said(value.get("message")),
        finish_reason=_text(value.get("finish_reason")) or None,
        error=value.get("error"),
        usage=_counts(value.get("usage")),
    )


def _said(value: Any) -> Said | None:
    if not isinstance(value, dict):
        return None
    calls = value.get("tool_calls")
    return Said(
        content=_text(value.get("content")),
        reasoning=_text(value.get("reasoning")) or _thinking(value.get("content")),
        reasoning_content=_text(value.get("reasoning_content")),
        refusal=_text(value.get("refusal")),
        tool_calls=[Something() for _ in calls] if isinstance(calls, list) else None,
        function_call=Something() if isinstance(value.get("function_call"), dict) else None,
        audio=Something() if isinstance(value.get("audio"), dict) else None,
    )


def _text(value: Any) -> str:
    """A string, or the text of a list of parts, without what UTF-8 can't say."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _thinking(value: Any) -> str:
    """Mistral's reasoning, which stands among the parts of the content."""
    parts = value if isinstance(value, list) else ()
    return "".join(_text(part.get("thinking")) for part in parts if isinstance(part, dict))


def _counts(value: Any) -> Counts | None:
    if not isinstance(value, dict):
        return None
    return Counts(
        _count(value.get("prompt_tokens")),
        _count(value.get("completion_tokens")),
        _details(value.get("prompt_tokens_details")),
        _details(value.get("completion_tokens_details")),
    )


def _details(value: Any) -> Details | None:
    if not isinstance(value, dict):
        return None
    return Details(_count(value.get("cached_tokens")), _count(value.get("reasoning_tokens")))


def _count(value: Any) -> int:
    """Tokens, also when they come as 12.0 or as text."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
