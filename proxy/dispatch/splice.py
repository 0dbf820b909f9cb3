"""Continues a broken stream with another model, so that the caller sees one text.

    prefill    the model supports it: what was sent goes along as the assistant's turn, it writes on
    restart    otherwise: the request as it was, and what the caller has seen already is held back

Either way a `Seam` compares what comes with what is expected to come again, white space exactly:

    sent        "The quick brown "
    prefill     expects " " again, for upstreams refuse a prefill that ends in white space
    restart     expects "The quick brown " again
    departs     one failure, and the end: no text is ever invented or doubled

What a continuation thinks before its first new text is held back as well: the caller has seen thoughts.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from proxy.errors import UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.openai_shapes import read_json
from proxy.types import ChatRequest, Chunk, Failure, FailureKind, Model, Need
from proxy.wire import sse

_UNSPLICEABLE = ("logprobs", "audio")
"""Fields whose streams are never spliced: probabilities and sound have no seam."""

PREFILL_REFUSED = frozenset({FailureKind.BAD_REQUEST, FailureKind.UNSUPPORTED})
"""After one of these a prefilled model is asked again from the start: its objection was to the prefill."""


def may_splice(request: ChatRequest) -> bool:
    """Whether this request's stream may be continued, as long as it is text: a tool call never is."""
    fields = request.fields
    if (fields.get("n") or 1) != 1 or any(fields.get(name) for name in _UNSPLICEABLE):
        return False
    return not _structured(fields.get("response_format"))


def _structured(response_format: Any) -> bool:
    return bool(response_format) and response_format != {"type": "text"}


def prefilled(request: ChatRequest, model: Model, sent: str) -> tuple[ChatRequest, str] | None:
    """The request with `sent` as the assistant's turn, and what is expected again; None: it can't be."""
    text = sent.rstrip()
    if Need.PREFILL not in model.supports or not text:
        return None
    messages = [*request.messages, {"role": "assistant", "content": text}]
    fields = {**request.fields, "messages": messages}
    body = msgspec.json.encode(fields)
    asked = msgspec.structs.replace(request, body=body, fields=fields, messages=messages, spliceable=False)
    return asked, sent[len(text) :]


class Seam:
    """A decoder that holds back what the caller has seen already."""

    __slots__ = ("_decoder", "_expected", "_lenient", "_passed", "_reader", "_said")

    def __init__(self, decoder: Decoder, expected: str, lenient: bool = False) -> None:
        self._decoder = decoder
        self._expected = expected
        self._lenient = lenient
        """White space after a prefill may be missing: then it simply isn't held back."""
        self._passed = False
        self._said = ""
        self._reader = sse.Reader()

    def feed(self, data: bytes) -> Chunk:
        """What `data` adds to the text that the caller has."""
        try:
            block = self._reader.feed(data)
        except UpstreamError as error:
            return Chunk(failure=error.failure)
        if self._passed:
            return self._decoder.feed(block) if block else Chunk()
        return self._seamed([self._decoder.feed(event.raw) for event in sse.events(block)])

    def close(self) -> Chunk:
        """The end; before the seam was reached, a failure."""
        last = self._seamed([self._decoder.feed(self._reader.close()), self._decoder.close()])
        if self._expected and not self._passed and last.failure is None:
            last.failure = _departed()
        return last

    def _seamed(self, chunks: list[Chunk]) -> Chunk:
        """The chunks as one, without what was expected."""
        total = Chunk()
        for chunk in chunks:
            _add(total, chunk if self._passed else self._held_back(chunk))
            if total.failure is not None:
                break
        return total

    def _held_back(self, chunk: Chunk) -> Chunk:
        said = self._said + chunk.text
        ends = chunk.tool_call or chunk.finish_reason is not None
        if self._lenient and said and not said[0].isspace():
            self._passed = True
            return chunk
        if said.startswith(self._expected) and (chunk.text or ends):
            self._passed = True
            new = said[len(self._expected) :]
            if chunk.text != new:
                data = _rewritten(chunk.data, new)
                if data is None:
                    return Chunk(failure=_departed())
                chunk.data, chunk.text = data, new
            return chunk
        if not self._expected.startswith(said) or ends:
            return Chunk(failure=chunk.failure or _departed())
        self._said = said
        chunk.data, chunk.text = b"", ""
        return chunk


def _add(total: Chunk, chunk: Chunk) -> None:
    total.data += chunk.data
    total.text += chunk.text
    total.events += chunk.events
    total.dropped += chunk.dropped
    total.meaningful |= chunk.meaningful
    total.tool_call |= chunk.tool_call
    total.done |= chunk.done
    total.finish_reason = chunk.finish_reason or total.finish_reason
    total.model = total.model or chunk.model
    total.usage = chunk.usage or total.usage
    total.failure = chunk.failure


def _rewritten(data: bytes, text: str) -> bytes | None:
    """The events of one chunk with `text` as their content: in the first that has any, none after it.

    None when one can't be read here, which the decoder could: its text is not known to be new.
    """
    out = []
    for event in sse.events(data):
        payload = read_json(event.data) if event.data else {}
        if not isinstance(payload, dict):
            return None
        deltas = [delta for delta in _deltas(payload) if delta.get("content")]
        for delta in deltas:
            delta["content"], text = text, ""
        # As ASCII: a lone surrogate has no other form.
        out.append(b"data: %b\n\n" % json.dumps(payload).encode() if deltas else event.raw)
    return b"".join(out)


def _deltas(payload: dict[str, Any]) -> list[dict[str, Any]]:
    choices = payload.get("choices")
    found = [c.get("delta") for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    return [delta for delta in found if isinstance(delta, dict)]


def _departed() -> Failure:
    return Failure(FailureKind.DEPARTED, "the continuation departs from what was sent already")
