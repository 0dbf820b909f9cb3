"""A stream in OpenAI's dialect: events are looked at and passed on as the bytes they came in.

    feed --sse.Reader--> block of whole events
            --quick----> all payloads of the block in one msgspec call; the block itself is the data
                           plain   nothing but content: the types themselves say so
            --one by one  for whatever the quick way declines: comments, ids, names, errors, odd types

What stays here: `[DONE]`, errors, comments before the first content, events without data or without
JSON, and the usage-only event unless the caller asked for it.
"""

from __future__ import annotations

import msgspec

from proxy.errors import UpstreamError
from proxy.providers.diagnose import bad_response, in_band
from proxy.providers.openai_shapes import (
    Choice,
    Completion,
    Counts,
    Plain,
    Said,
    read_all_plain,
    read_completion,
    read_completions,
    read_json,
    read_plain,
    usage_of,
)
from proxy.types import Chunk, Failure
from proxy.wire import sse
from proxy.wire.crowd import many_objects

_DONE = b"data: [DONE]\n\n"
_LLAMA_ERROR = b"error:"
"""A field that no event stream has, with `[DONE]` behind it: how llama.cpp told errors until autumn 2025."""


class OpenAIDecoder:
    """Decodes one stream. After its end, or a failure, it says nothing more."""

    __slots__ = ("_committed", "_finished", "_over", "_reader", "_show_usage", "_spoke", "_unfinished")

    def __init__(self, show_usage: bool = False, limit: int = sse.MAX_EVENT, choices: int = 1) -> None:
        self._reader = sse.Reader(limit)
        self._show_usage = show_usage
        self._spoke = False
        self._committed = False
        self._unfinished = choices
        self._finished = False
        """Every choice has its finish_reason."""
        self._over = False

    def feed(self, data: bytes) -> Chunk:
        """Everything that became complete with `data`."""
        if self._over:
            return Chunk()
        try:
            block = self._reader.feed(data)
        except UpstreamError as error:
            return self._fail(Chunk(), error.failure)
        return self._single(block) or (self._decode(block) if block else Chunk())

    def close(self) -> Chunk:
        """The end: a failure unless every choice's finish_reason or `[DONE]` was seen."""
        if self._over:
            return Chunk()
        chunk = self._decode(self._reader.close())
        if not (self._over or self._finished):
            self._fail(chunk, bad_response("The stream ended before it was finished."))
        self._over = True
        return chunk

    def _decode(self, block: bytes) -> Chunk:
        done = block.endswith(_DONE) and block[-len(_DONE) - 2 : -len(_DONE)] in (b"", b"\n\n")
        chunk = self._quick(block[: -len(_DONE)] if done else block)
        if chunk is None:
            return self._one_by_one(block)
        return self._end(chunk) if done else chunk

    # --- all at once -----------------------------------------------------------------------------

    def _single(self, block: bytes) -> Chunk | None:
        """The block as one plain event, which it is most of the time; else None."""
        if not block.startswith(b"data: {") or not block.isascii():
            return None
        payload = block[6:-2]
        if sse.LF in payload or sse.CR in payload:
            return None
        try:
            return self._plain(block, [read_plain(payload)])
        except (msgspec.DecodeError, RecursionError):
            return None

    def _quick(self, block: bytes) -> Chunk | None:
        """The whole block at once; None when it holds anything out of the ordinary."""
        joined = sse.joined(block, b",")
        if joined is None:
            return None if block else Chunk()
        payloads, count = joined
        if many_objects(payloads):
            return None
        array = b"[%b]" % payloads
        try:
            if not block.isascii():
                block.decode()
            events = read_all_plain(array)
            return self._plain(block, events) if len(events) == count else None
        except (msgspec.DecodeError, RecursionError):
            pass  # At least one is special: nearly every stream has two of these, its last.
        except UnicodeDecodeError:
            return None
        try:
            special = read_completions(array)
        except (msgspec.DecodeError, RecursionError):
            return None
        if len(special) != count:
            return None
        hidden = not self._show_usage and _usage_only(special[-1])
        if any(self._unusual(event) for event in (special[:-1] if hidden else special)):
            return None
        chunk = Chunk(block[: sse.last_event(block)] if hidden else block, count - hidden)
        for event in special:
            self._note(chunk, event)
        return chunk

    def _plain(self, block: bytes, events: list[Plain]) -> Chunk:
        text = "".join([event.choices[0].delta.content for event in events])
        self._spoke = True
        if text:
            self._committed = True
        model = events[-1].model or next((event.model for event in reversed(events) if event.model), None)
        return Chunk(block, len(events), bool(text), text, model=model)

    def _unusual(self, event: Completion) -> bool:
        return event.troubled or (not self._show_usage and _usage_only(event))

    # --- one by one ------------------------------------------------------------------------------

    def _one_by_one(self, block: bytes) -> Chunk:
        chunk = Chunk()
        kept: list[bytes] = []
        for event in sse.events(block):
            if self._passes(event, chunk):
                kept.append(event.raw)
            if self._over:
                break
        chunk.data = b"".join(kept)
        return chunk

    def _passes(self, event: sse.Event, chunk: Chunk) -> bool:
        """Whether the event is for the caller; what it says is noted in `chunk`."""
        if not event.data:
            if event.raw.startswith(_LLAMA_ERROR):
                self._trouble(event.raw[len(_LLAMA_ERROR) :], chunk)
            return self._committed and _is_comment(event.raw)
        if event.data.strip() == b"[DONE]":
            self._end(chunk)
            return False
        completion = read_completion(event.data)
        if event.name == b"error" or (completion is not None and completion.troubled):
            self._trouble(event.data, chunk)
            return False
        if completion is None:
            chunk.dropped += 1
            return False
        self._note(chunk, completion)
        hidden = not self._show_usage and _usage_only(completion)
        chunk.events += not hidden
        return not hidden

    def _trouble(self, error: bytes, chunk: Chunk) -> None:
        if self._finished:
            # The answer is whole; what goes wrong behind it is no longer the caller's business.
            chunk.dropped += 1
            return
        told = read_json(error)
        self._fail(chunk, in_band(error.decode(errors="replace") if told is None else told))

    # --- what the events say ---------------------------------------------------------------------

    def _note(self, chunk: Chunk, event: Completion) -> None:
        if event.model:
            chunk.model = event.model
        counts = event.usage or (event.x_groq.usage if event.x_groq else None)
        for choice in event.choices or ():
            self._spoke = True
            counts = counts or choice.usage
            self._note_choice(chunk, choice)
        if counts:
            chunk.usage = usage_of(counts)

    def _note_choice(self, chunk: Chunk, choice: Choice) -> None:
        said = choice.delta or choice.message
        if said is not None:
            if said.content:
                chunk.meaningful = self._committed = True
                if choice.index == 0:
                    chunk.text += said.content
            elif _says_else(said):
                chunk.meaningful = self._committed = True
            if said.tool_calls or said.function_call:
                chunk.tool_call = True
        if choice.finish_reason:
            self._unfinished -= 1
            if self._unfinished <= 0:
                chunk.finish_reason = choice.finish_reason
                self._finished = True

    def _end(self, chunk: Chunk) -> Chunk:
        self._over = chunk.done = True
        if not self._spoke:
            chunk.failure = bad_response("The stream ended without an answer.")
        return chunk

    def _fail(self, chunk: Chunk, failure: Failure) -> Chunk:
        self._over = True
        chunk.failure = failure
        return chunk


def _says_else(said: Said) -> bool:
    return bool(
        said.reasoning
        or said.reasoning_content
        or said.tool_calls
        or said.refusal
        or said.function_call
        or said.audio
    )


def _usage_only(event: Completion) -> bool:
    counts: Counts | None = event.usage
    return counts is not None and not event.choices


def _is_comment(raw: bytes) -> bool:
    return all(line.startswith(b":") for line in raw.splitlines() if line)
