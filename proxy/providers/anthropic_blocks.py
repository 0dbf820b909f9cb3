"""OpenAI's message contents -> Anthropic's content blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from proxy.errors import UpstreamError
from proxy.types import Failure, FailureKind

Block = dict[str, Any]

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*?;base64,", re.IGNORECASE)
_TOOL_ID = re.compile(r"[^a-zA-Z0-9_-]")
_IMAGE_TYPES = {"image/jpg": "image/jpeg"}
"""What callers write that Anthropic spells otherwise."""


def blocks(content: Any) -> Iterator[Block]:
    """Blocks of a message's content, string or parts; blank text, which is refused there, is left out."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and (block := _block(part)) is not None:
            if isinstance(cache := part.get("cache_control"), dict):
                block["cache_control"] = cache
            yield block


def _block(part: Block) -> Block | None:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _UNSEEN:
        raise UpstreamError(_cannot(kind))
    make = _PARTS.get(kind) if isinstance(kind, str) else None
    return None if make is None else make(part)


def tool_use(call: Block) -> Block:
    """An assistant's call. Arguments that aren't a JSON object are kept under `arguments`."""
    asked = call.get("function")
    function: Block = asked if isinstance(asked, dict) else {}
    name = function.get("name")
    return {
        "type": "tool_use",
        "id": tool_id(call.get("id")),
        "name": name if isinstance(name, str) and name else "unknown",
        "input": _arguments(function.get("arguments")),
    }


def tool_result(message: Block) -> Block:
    """A tool's answer: text, or blocks when it holds images."""
    content = list(blocks(message.get("content")))
    plain = all(block["type"] == "text" and "cache_control" not in block for block in content)
    result: Block = {
        "type": "tool_result",
        "tool_use_id": tool_id(message.get("tool_call_id") or message.get("name")),
        "content": "".join(block["text"] for block in content) if plain else content,
    }
    if isinstance(cache := message.get("cache_control"), dict):
        result["cache_control"] = cache
    return result


def tool_id(given: Any) -> str:
    """The id in the alphabet that Anthropic allows; the same for a call and its result."""
    return _TOOL_ID.sub("_", given)[:200] if isinstance(given, str) and given else "call_0"


def _arguments(given: Any) -> Block:
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            return {"arguments": given}
    if isinstance(given, dict):
        return given
    return {"arguments": given} if given else {}


def _text(part: Block) -> Block | None:
    text = part.get("text", part.get("refusal"))
    return {"type": "text", "text": text} if isinstance(text, str) and text.strip() else None


def _image(part: Block) -> Block | None:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return _sourced("image", url) if isinstance(url, str) and url else None


def _file(part: Block) -> Block | None:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    if not isinstance(data, str) or not data:
        raise UpstreamError(_cannot("file without file_data"))
    return _sourced("document", data)


def _cannot(kind: str) -> Failure:
    """It would answer as if nothing had been there."""
    return Failure(
        FailureKind.UNSUPPORTED,
        f"This model can't read a part of the messages: {kind}.",
        status=400,
        code="unsupported_value",
        type="invalid_request_error",
        param="messages",
    )


def _sourced(kind: str, url: str) -> Block:
    found = _DATA_URL.match(url)
    if found is None:
        return {"type": kind, "source": {"type": "url", "url": url}}
    media = (found[1] or "").lower()
    source = {"type": "base64", "media_type": _IMAGE_TYPES.get(media, media), "data": url[found.end() :]}
    return {"type": kind, "source": source}


_UNSEEN = frozenset({"input_audio", "video_url", "input_video"})
"""Parts that somebody means to be heard or seen, and Anthropic has no block for."""

_PARTS: dict[str, Callable[[Block], Block | None]] = {
    "text": _text,
    "input_text": _text,
    "refusal": _text,
    "image_url": _image,
    "file": _file,
}
