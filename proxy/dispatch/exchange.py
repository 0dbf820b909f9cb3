"""One request to one upstream and its answer, up to the commit point.

encode -> send -> head ---- not 200 ------------------> codec.error     Failure
                    +----- a whole reply -------------> codec.decode    Chunk | Failure
                    +----- a stream: read until a meaningful chunk      Chunk | Failure
                    +----- the one instead of the other: `providers.whole` makes it what was asked for
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from proxy.dispatch.call import Call
from proxy.dispatch.lane import Lane, Reply
from proxy.effort import Effort
from proxy.errors import UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.openai_shapes import read_reply
from proxy.providers.openai_stream import OpenAIDecoder
from proxy.providers.scrub import hide
from proxy.providers.whole import Gathered, streamed
from proxy.types import ChatRequest, Chunk, Failure, FailureKind
from proxy.wire import sse

REPLY_LIMIT = 64 * 1024 * 1024
"""Bytes of a non-streaming reply."""
ERROR_LIMIT = 64 * 1024
"""Bytes of an error body that are read."""
HELD_LIMIT = sse.MAX_EVENT
"""Bytes of a stream that may come before its commit point: they are held back until then."""
DROPPED_LIMIT = 1000
"""Events that may be dropped before it: whoever sends so many that aren't JSON sends no answer."""

_EVENTS, _JSON = "text/event-stream", "application/json"
_NO_REPLY = Failure(FailureKind.BAD_RESPONSE, "a stream that makes no whole reply")
_NO_STREAM = Failure(FailureKind.BAD_RESPONSE, "not an event stream")
_NEVER_BEGUN = Failure(FailureKind.BAD_RESPONSE, "the stream ended before it had begun")


class Exchange:
    """One request and its answer up to the commit point; holds what must be closed."""

    __slots__ = ("_wrap", "decoder", "effort", "lane", "reply", "request", "status", "streams")

    def __init__(
        self,
        lane: Lane,
        request: ChatRequest,
        effort: Effort | None = None,
        wrap: Callable[[Decoder], Decoder] | None = None,
    ) -> None:
        self.lane = lane
        self.effort = effort
        """How hard the model is told to think; None: nothing but what the caller says."""
        self.streams = request.stream
        """Whether a stream is waited for: it was asked for, and no head says that it is none."""
        self.request = request
        self._wrap = wrap
        """What the decoder is put into, when the stream continues another."""
        self.reply: Reply | None = None
        self.decoder: Decoder | None = None
        self.status: int | None = None

    def again(self) -> Exchange:
        """The same request once more."""
        return Exchange(self.lane, self.request, self.effort, self._wrap)

    def plain(self) -> Exchange:
        """The same request without a word of ours on how hard to think."""
        return Exchange(self.lane, self.request, None, self._wrap)

    async def perform(self, call: Call, fresh: bool, whole: Callable[[], None]) -> Chunk | Failure:
        """The first meaningful chunk, or why there is none. Raises UpstreamError.

        `whole` is told when a stream was asked for, and a head says that a whole reply comes instead.
        """
        lane, request = self.lane, self.request
        timeouts = lane.model.timeouts if request.stream else lane.patient
        forwarded = call.forward(lane.provider) if call.forward is not None else ()
        encoded = lane.codec.encode(request, lane.model, lane.provider, self.effort)
        reply = await lane.upstream.send(encoded, timeouts, headers=forwarded, fresh=fresh)
        self.reply = reply
        self.status = reply.status
        if reply.status != 200:
            return self._told(lane.codec.error(reply.status, reply.headers, await _error_body(reply)))
        kind = reply.headers.get("content-type", "").lower()
        if not request.stream:
            chunk = await (self._gathered(reply) if kind.startswith(_EVENTS) else self._whole(reply))
        elif kind.startswith(_EVENTS):
            return await self._commit(reply)
        elif kind.startswith(_JSON):
            self.streams = False
            whole()
            reply.patience = lane.patient.idle
            chunk = self._streamed(await self._whole(reply))
        else:
            chunk = Chunk(failure=lane.codec.decode(await _error_body(reply)).failure or _NO_STREAM)
        return chunk if chunk.failure is None else self._told(chunk.failure)

    def abort(self) -> None:
        """Lets go of the connection; one that was read to its end is kept alive."""
        if self.reply is not None:
            self.reply.abort()

    async def _whole(self, reply: Reply, begun: bytes = b"") -> Chunk:
        return self.lane.codec.decode(begun + await reply.read(REPLY_LIMIT))

    def _streamed(self, whole: Chunk) -> Chunk:
        """A whole reply as the stream that was asked for: it begins and ends at once."""
        events = streamed(whole.data) if whole.failure is None else None
        if events is None:
            return Chunk(failure=whole.failure or _NO_STREAM)
        decoder = OpenAIDecoder(self.request.include_usage, REPLY_LIMIT, self.request.fields.get("n") or 1)
        self.decoder = self._wrap(decoder) if self._wrap is not None else decoder
        chunk = self.decoder.feed(events)
        return chunk if chunk.failure or _speaks(chunk) else Chunk(failure=_NEVER_BEGUN)

    async def _gathered(self, reply: Reply) -> Chunk:
        """A stream as the whole reply that was asked for, when it comes to its end."""
        decoder = self.lane.codec.decoder(replace(self.request, include_usage=True))
        gathered, size, dropped = Gathered(), 0, 0
        while data := await reply.take():
            if not size and data.lstrip().startswith(b"{"):
                return await self._whole(reply, data)  # it is one, whatever its type says
            chunk = decoder.feed(data)
            gathered.add(chunk.data)
            size, dropped = size + len(data), dropped + chunk.dropped
            if size > REPLY_LIMIT or dropped > DROPPED_LIMIT:
                return Chunk(failure=_NO_REPLY)
            if chunk.failure is not None or chunk.done:
                break
        else:
            chunk = decoder.close()
            gathered.add(chunk.data)
        body = gathered.body()
        if chunk.failure is not None or body is None:
            return Chunk(failure=chunk.failure or _NO_REPLY)
        return read_reply(body)

    async def _commit(self, reply: Reply) -> Chunk | Failure:
        """Reads the stream up to the commit point: whatever came before it is relayed with it."""
        decoder = self.lane.codec.decoder(self.request)
        self.decoder = self._wrap(decoder) if self._wrap is not None else decoder
        held: list[Chunk] = []
        size = dropped = 0
        while data := await reply.take():
            chunk = self.decoder.feed(data)
            if chunk.failure is not None:
                return self._told(chunk.failure)
            held.append(chunk)
            size += len(chunk.data)
            dropped += chunk.dropped
            if _speaks(chunk):
                return _joined(held)
            if chunk.done:
                break
            if size > HELD_LIMIT:
                return Failure(FailureKind.BAD_RESPONSE, f"more than {HELD_LIMIT} bytes without a token")
            if dropped > DROPPED_LIMIT:
                return Failure(
                    FailureKind.BAD_RESPONSE, f"more than {DROPPED_LIMIT} events that are not JSON"
                )
        held.append(self.decoder.close())
        if _speaks(held[-1]) and held[-1].failure is None:
            held[-1].done = True
            return _joined(held)
        return self._told(held[-1].failure or _NEVER_BEGUN)

    def _told(self, failure: Failure) -> Failure:
        """The failure, as it may be said, logged and recorded."""
        return hide(failure, self.lane.secrets)


async def _error_body(reply: Reply) -> bytes:
    """An error's body as far as it can be had: its status speaks even when the rest is cut off."""
    try:
        return await reply.read(ERROR_LIMIT)
    except UpstreamError:
        return b""


def _speaks(chunk: Chunk) -> bool:
    """Whether this is the commit point. An answer may be empty, as long as it says that it is finished."""
    return chunk.meaningful or chunk.finish_reason is not None


def _joined(chunks: list[Chunk]) -> Chunk:
    """Chunks up to the commit point as one."""
    last = chunks[-1]
    if len(chunks) == 1:
        return last
    last.data = b"".join(chunk.data for chunk in chunks)
    last.text = "".join(chunk.text for chunk in chunks)
    last.events = sum(chunk.events for chunk in chunks)
    last.dropped = sum(chunk.dropped for chunk in chunks)
    last.model = next((chunk.model for chunk in chunks if chunk.model), None)
    last.usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)
    return last
