"""Facts about a request, read off it without judging it.

    ChatRequest -> last real user turn -> ask -> language, code share: for who asks
                -> user turns before it -> context
                -> system prompt        -> instructions
                -> everything           -> tokens, needs

Pure, and bounded: a prompt of a megabyte is looked at by its ends and samples. Whatever a client may have
put into a message that passed validation, nothing here raises.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from proxy.routing.ask import bounded, chore, clean, text_of
from proxy.routing.struggle import failed_rounds, repeats
from proxy.routing.tokens import estimate
from proxy.types import ChatRequest, Features, Need

CONTEXT_TURNS = 3
CONTEXT_LIMIT = 400
"""User turns before the ask that are kept beside the first one, and characters of each."""
LOOKED_BACK = 16
"""User turns that are looked at for them ..."""
BRIEF = 24
"""... and the bytes up to which one is passed over if another says more: `yes`, `continue`, `and then?`."""

IMAGE_TOKENS = 800
AUDIO_TOKENS = 500
FILE_TOKENS = 2_000
MESSAGE_TOKENS = 4
"""Flat counts: one image, clip or document of unknown size, and what a message costs beside its text."""

_PART_NEEDS = {
    "image_url": Need.VISION,
    "input_image": Need.VISION,
    "image": Need.VISION,
    "input_audio": Need.AUDIO,
    "file": Need.FILES,
    "input_file": Need.FILES,
    "document": Need.FILES,
}
_PART_TOKENS = {Need.VISION: IMAGE_TOKENS, Need.AUDIO: AUDIO_TOKENS, Need.FILES: FILE_TOKENS}

_TOOL_ROLES = ("tool", "function")
_INSTRUCTING = ("system", "developer")

_CODE_SYMBOLS = b"{};_<>\\"
_LINE_END, _OPENING = b"\n("
"""As numbers: whether bytes hold other bytes is asked by way of an exception."""
_CODE_LINE = re.compile(
    r"^[ \t]*(?:"
    r"(?:def|class|import|from|function|const|let|var|public|private|static|return|struct|impl|fn|func|package"
    r"|using|namespace|async|await|export|throw|catch|try|elif|else|SELECT|INSERT|UPDATE|CREATE)\b[^.\n]*"
    r"[({:;=,)*\w]|\#include|\}|@\w+|</?\w+|\$ |>>> |//|/\*).*$"
    r"|^.*[;{}]$|^.*\)[ ]?:$",
    re.MULTILINE,
)


READS = (
    "tools", "functions", "response_format", "modalities", "logprobs", "top_logprobs",
    "max_completion_tokens", "max_tokens",
)  # fmt: skip
"""The fields of a body that `extract` looks at, beside its messages: no others may change what it says."""


def extract(request: ChatRequest) -> Features:
    """What is known of `request` before anybody judges it."""
    fields, messages = request.fields, request.messages
    survey = _Survey(messages)
    ask, context, previous = _asks(survey.users)
    bare = fields.keys().isdisjoint(READS)
    return Features(
        ask=ask,
        context=context,
        instructions=survey.system[:CONTEXT_LIMIT],
        prompt_tokens=survey.tokens() + (0 if bare else _schema_tokens(fields)),
        completion_tokens=0 if bare else _reserve(fields),
        needs=frozenset(survey.needs) if bare else _needs(fields, survey.needs),
        turns=max(1, len(survey.users)),
        tool_loop=survey.tool_loop,
        background=chore(survey.users[-1] if survey.users else "", survey.system),
        repeats=previous != "" and not survey.tool_loop and repeats(bounded(ask, CONTEXT_LIMIT), previous),
        failed_tools=failed_rounds(messages) if survey.tool_loop else 0,
    )


def prompt_tokens(request: ChatRequest) -> int:
    """Estimated, of everything that travels in the prompt."""
    return _Survey(request.messages).tokens() + _schema_tokens(request.fields)


def code_share(text: str) -> float:
    """0..1 of the characters that stand in fenced blocks or in lines that look like code."""
    if not text:
        return 0.0
    fenced = 0
    if "```" in text:
        parts = text.split("```")
        fenced = sum(map(len, parts[1::2]))
        text = "\n".join(parts[::2])
    loose = _loose_code(text)
    return min(1.0, (fenced + loose) / (fenced + len(text) or 1))


def _loose_code(text: str) -> float:
    """Characters of unfenced text that look like code: by lines, or by symbols where lines don't tell."""
    raw = text.encode("utf-8", "replace")
    symbols = len(raw) - len(raw.translate(None, _CODE_SYMBOLS))
    several = _LINE_END in raw and (symbols or _OPENING in raw)
    lines = sum(map(len, _CODE_LINE.findall(text))) if several else 0
    if not symbols:
        return lines
    density = symbols / len(raw)
    return max(lines, min(1.0, max(0.0, density - 0.03) * 6) * len(text))


class _Survey:
    """One pass over the messages: texts of the user turns, needs of the parts, sizes."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.users: list[str] = []
        self.system = ""
        self.needs: set[Need] = set()
        self.tool_loop = False
        self._texts: list[str] = []
        self._flat = MESSAGE_TOKENS * len(messages)
        for message in messages:
            role, text = message.get("role"), message.get("content")
            self.tool_loop = role in _TOOL_ROLES
            if not isinstance(text, str):
                text = self._read_parts(text)
            if text:
                self._texts.append(text)
            if calls := message.get("tool_calls") or message.get("function_call"):
                self._texts.append(_encoded(calls))
                self.needs.add(Need.TOOLS)
            elif self.tool_loop:
                self.needs.add(Need.TOOLS)
            if role == "user":
                if text and not self.tool_loop:
                    self.users.append(text)
            elif role in _INSTRUCTING and not self.system:
                self.system = text
        if messages and messages[-1].get("role") == "assistant" and messages[-1].get("content"):
            self.needs.add(Need.PREFILL)

    def tokens(self) -> int:
        """Of all messages."""
        return estimate("\n".join(self._texts)) + self._flat

    def _read_parts(self, content: Any) -> str:
        """The text of a `content` that is no string; its pictures and sounds are counted."""
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "tool_result":
                # As agents of the Anthropic dialect send results: within a user turn.
                self.tool_loop = True
            elif isinstance(kind, str) and (need := _PART_NEEDS.get(kind)):
                self.needs.add(need)
                self._flat += _PART_TOKENS[need]
        return text_of(content)


def _asks(users: list[str]) -> tuple[str, tuple[str, ...], str]:
    """The last turn with words of the user's own; those before it that say something: the latest few, and
    the one that opened the conversation; and the one right before it."""
    ask, previous = "", ""
    context: list[str] = []
    brief: list[str] = []
    for text in reversed(users[-LOOKED_BACK:]):
        if not ask:
            ask = clean(text)
        elif words := clean(text, CONTEXT_LIMIT):
            previous = previous or words
            (brief if len(words.encode("utf-8", "replace")) <= BRIEF else context).append(words)
            if len(context) == CONTEXT_TURNS:
                break
    if not ask and users:
        ask = bounded(users[-1].strip(), CONTEXT_LIMIT)
    context = (context or brief)[:CONTEXT_TURNS]
    opening = clean(users[0], CONTEXT_LIMIT) if len(users) > CONTEXT_TURNS + 1 else ""
    if opening and opening not in context:
        context.append(opening)
    return ask, tuple(context), previous


def _needs(fields: dict[str, Any], seen: set[Need]) -> frozenset[Need]:
    # Also where none may be called: they are sent, and who knows no tools refuses them.
    if fields.get("tools") or fields.get("functions"):
        seen.add(Need.TOOLS)
    response_format = fields.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
        seen.add(Need.JSON_SCHEMA)
    modalities = fields.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        seen.add(Need.AUDIO)
    if fields.get("logprobs") or fields.get("top_logprobs"):
        seen.add(Need.LOGPROBS)
    return frozenset(seen)


def _reserve(fields: dict[str, Any]) -> int:
    """Tokens that the caller reserves for the answer, 0 when it does not say."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _schema_tokens(fields: dict[str, Any]) -> int:
    """Tools, functions and a response schema travel in the prompt, too."""
    schemas = [fields[name] for name in ("tools", "functions", "response_format") if fields.get(name)]
    return estimate(_encoded(schemas)) if schemas else 0


def _encoded(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        return ""
