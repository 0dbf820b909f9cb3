"""One request to one upstream and its answer, up to the commit point.

encode -> send -> head ---- not 200 ------------------> codec.error     Failure
                    +----- a whole reply -------------> codec.decode    Chunk | Failure
                    +----- a stream: read until a meaningful chunk      Chunk | Failure
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.dispatch.call import Call
from proxy.dispatch.lane import Lane, Reply
from proxy.effort import Effort
from proxy.errors import UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.scrub import hide
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
        """Whether a stream was asked for."""
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

    async def perform(self, call: Call, fresh: bool) -> Chunk | Failure:
        """The first meaningful chunk, or why there is none. Raises UpstreamError."""
        lane, request = self.lane, self.request
        timeouts = lane.model.timeouts if request.stream else lane.patient
        forwarded = call.forward(lane.provider) if call.forward is not None else ()
        encoded = lane.codec.encode(request, lane.model, lane.provider, self.effort)
        reply = await lane.upstream.send(encoded, timeouts, headers=forwarded, fresh=fresh)
        self.reply = reply
        self.status = reply.status
        if reply.status != 200:
            return self._told(lane.codec.error(reply.status, reply.headers, await _error_body(reply)))
        if not request.stream:
            chunk = lane.codec.decode(await reply.read(REPLY_LIMIT))
            return chunk if chunk.failure is None else self._told(chunk.failure)
        if not reply.headers.get("content-type", "").lower().startswith("text/event-stream"):
            return self._told(lane.codec.decode(await _error_body(reply)).failure or _NO_STREAM)
        return await self._commit(reply)

    def abort(self) -> None:
        """Lets go of the connection; one that was read to its end is kept alive."""
        if self.reply is not None:
            self.reply.abort()

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
