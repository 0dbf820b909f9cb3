"""An answer in the other form than was asked for: a whole one as a stream, a stream as a whole one.

    streamed   a chat.completion -> its chunks: role, what was said, finish_reason, usage, [DONE]
    Gathered   chunks -> a chat.completion

Many local servers know one form only. Both are in the canonical dialect, and nothing is invented: what has no
finish_reason, or isn't of this shape, is no answer in either form.

Content is a text, or Mistral's list of parts, thoughts and texts, which its streams mix with texts:
https://docs.mistral.ai/capabilities/reasoning

    [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from proxy.providers.openai_shapes import read_json
from proxy.wire import sse

Json = dict[str, Any]

_DONE = b"data: [DONE]\n\n"
_OF_CHOICES = frozenset({"choices", "usage", "object"})
"""Members that aren't the same in every chunk of an answer."""
_SAID_ONCE = frozenset({"id", "type", "name", "role"})
"""Members that some repeat in every chunk: they are no pieces of a text."""
_GROWING = frozenset({"text", "thinking"})
"""Types of parts that come in pieces; others are whole."""


def streamed(body: bytes) -> bytes | None:
    """The events of a whole reply; None when it isn't a complete one."""
    try:
        return _streamed(read_json(body))
    except RecursionError:  # it can be read, and is nested too deeply to be written
        return None


def _streamed(reply: Any) -> bytes | None:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not all(map(_complete, choices)):
        return None
    envelope = {name: value for name, value in reply.items() if name not in _OF_CHOICES}
    envelope["object"] = "chat.completion.chunk"
    events = [_event({**envelope, "choices": [choice]}) for choice in _parts(choices)]
    if isinstance(reply.get("usage"), dict):
        events.append(_event({**envelope, "choices": [], "usage": reply["usage"]}))
    return b"".join([*events, _DONE])


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _complete(choice: Any) -> bool:
    """A message that says something, or nothing, in a shape that is known, and has come to an end."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or not _is_content(message.get("content")):
        return False
    calls = message.get("tool_calls") or []
    finish = choice.get("finish_reason")
    return (
        isinstance(calls, list) and all(map(_is_object, calls)) and isinstance(finish, str) and finish != ""
    )


def _is_content(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in value)
    return isinstance(value, str | None)


def _parts(choices: list[Json]) -> Iterator[Json]:
    """What each choice begins with, then all that they say, then their ends."""
    numbered = [(choice.get("index", place), choice) for place, choice in enumerate(choices)]
    for index, choice in numbered:
        role = choice["message"].get("role") or "assistant"
        yield _choice(index, {"role": role, "content": ""})
    for index, choice in numbered:
        if delta := _delta(choice["message"]):
            yield _choice(index, delta, logprobs=choice.get("logprobs"))
    for index, choice in numbered:
        yield _choice(index, {}, finish_reason=choice["finish_reason"])


def _delta(message: Json) -> Json:
    delta = {name: value for name, value in message.items() if value not in (None, "", []) and name != "role"}
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{**call, "index": number} for number, call in enumerate(calls)]
    return delta


def _choice(index: Any, delta: Json, logprobs: Any = None, finish_reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _event(value: Json) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


class _Text(list[str]):
    """Pieces of a text: joined once, at the end."""


class Gathered:
    """A stream's chunks, put together as they come."""

    def __init__(self) -> None:
        self._envelope: Json = {}
        self._choices: dict[int, Json] = {}
        self._fits = True
        """All pieces fitted together so far."""

    def add(self, events: bytes) -> None:
        """Whole events, as a decoder gives them."""
        for event in sse.events(events):
            value = read_json(event.data) if event.data else None
            try:
                self._add(value if isinstance(value, dict) else {})
            except (RecursionError, TypeError):
                # Nested beyond reason, or of another type than it should be.
                self._fits = False

    def body(self) -> bytes | None:
        """The whole reply; None when a choice has no end, or pieces don't fit together."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        if not choices or not self._fits or not all(choice["finish_reason"] for choice in choices):
            return None
        try:
            reply = {
                **self._envelope,
                "object": "chat.completion",
                "choices": [_whole(choice) for choice in choices],
            }
            return json.dumps(reply, separators=(",", ":")).encode()
        except RecursionError:
            return None

    def _add(self, value: Json) -> None:
        for name, member in value.items():
            if name != "choices" and member is not None:
                self._envelope[name] = member
        for piece in value.get("choices") or ():
            index = _index(piece, 0)
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = {
                    "index": index, "content": [], "message": {}, "calls": {}, "logprobs": {},
                    "finish_reason": None,
                }  # fmt: skip
            self._add_choice(choice, piece)

    def _add_choice(self, choice: Json, piece: Json) -> None:
        delta = dict(_object(piece.get("delta") or {}))
        calls = choice["calls"]
        for call in delta.pop("tool_calls", None) or ():
            # Some send their calls whole, and number none of them.
            number = _index(call, len(calls))
            self._merge(calls.setdefault(number, {"type": "function"}), call)
        self._say(choice["content"], delta.pop("content", None) or [])
        self._merge(choice["message"], delta)
        self._merge(choice["logprobs"], _object(piece.get("logprobs") or {}))
        choice["finish_reason"] = choice["finish_reason"] or piece.get("finish_reason")

    def _say(self, parts: list[Json], content: Any) -> None:
        """More content: it goes on in the last part, if that is of the same type."""
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kind = _object(part).get("type")
            if kind not in _GROWING or not parts or parts[-1]["type"] != kind:
                parts.append({"type": kind})
            last = parts[-1]
            for name, value in part.items():
                if name == "thinking" and isinstance(value, list):
                    self._say(last.setdefault(name, []), value)
                else:
                    self._merge(last, {name: value})

    def _merge(self, whole: Json, piece: Json) -> None:
        """Texts and lists grow, objects are merged, all else is as it was said last."""
        for name, value in piece.items():
            if value is None or (name in _SAID_ONCE and whole.get(name)):
                continue
            if not isinstance(value, str | list | dict) or name in _SAID_ONCE:
                whole[name] = value
                continue
            fresh = _fresh(value)
            known = whole.setdefault(name, fresh)
            if type(known) is not type(fresh):
                self._fits = False
            elif isinstance(value, dict):
                self._merge(known, value)
            else:
                known += [value] if isinstance(value, str) else value


def _fresh(value: Any) -> Any:
    return _Text() if isinstance(value, str) else type(value)()


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _index(value: Any, default: int) -> int:
    index = _object(value).get("index", default)
    if not isinstance(index, int):
        raise TypeError
    return index


def _whole(choice: Json) -> Json:
    calls = [
        {name: member for name, member in call.items() if name != "index"}
        for _, call in sorted(choice["calls"].items())
    ]
    message = {"role": "assistant", "content": _content(choice["content"]), **_joined(choice["message"])}
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": _joined(calls)}
    return {
        "index": choice["index"],
        "message": message,
        "logprobs": _joined(choice["logprobs"]) or None,
        "finish_reason": choice["finish_reason"],
    }


def _content(parts: list[Json]) -> str | list[Json]:
    """The parts with every text in one piece, and just that where there is nothing else."""
    whole = [_joined(part) for part in parts]
    if all(part.keys() == {"type", "text"} and isinstance(part["text"], str) for part in whole):
        return "".join(part["text"] for part in whole)
    return whole


def _joined(value: Any) -> Any:
    """The value with every text in one piece."""
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _joined(member) for name, member in value.items()}
    return [_joined(member) for member in value] if isinstance(value, list) else value
