"""The answer after the commit point: relays what the upstream writes, and accounts for it.

A non-streaming reply is one chunk, and complete. A stream ends in one of three ways:

    finished   finish_reason was seen            data: [DONE]
    broken     cut, silent, too long or an       one data: {"error": ...}, nothing after it
               error event, and nobody could
               continue it
    left       the caller went away              nothing

A stream that breaks may be continued by another model: the answer then has several parts, each a
committed attempt of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct

from proxy.dispatch.call import CUT, Call, cost
from proxy.dispatch.lane import Lane, Reply
from proxy.errors import ApiError, UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.failure import VERDICTS
from proxy.providers.scrub import hide
from proxy.types import Attempt, Chunk, Failure, FailureKind, Usage
from proxy.wire.reply import error_event

DONE = b"data: [DONE]\n\n"
GRACE = 1.0
"""Seconds that a finished stream gets for its usage and its end, in all."""
TEXT_LIMIT = 1_000_000
"""Characters of an answer that are kept: to continue it, to estimate its tokens. Models write fewer."""
SHORTEST = 0.05
"""Seconds of a stream below which its tokens per second say nothing."""

_OVERDUE = Failure(FailureKind.DEADLINE, "the deadline for the whole answer has passed")

Observe = Callable[[str, bool, float | None, float | None], None]
"""(model, answered, seconds to the first token, tokens per second)."""


class Part(Struct):
    """One committed attempt: what it said first, and where the rest comes from."""

    lane: Lane
    attempt: Attempt
    first: Chunk
    began: float
    committed: float
    """Both on the call's clock."""
    reply: Reply
    source: AsyncIterator[bytes] | None = None
    """None: a whole reply."""
    decoder: Decoder | None = None


Resume = Callable[[str], Awaitable[Part | None]]
"""Text that the caller has seen -> the part that continues it, or None."""


class Answer:
    """What the caller gets. `close` or `abandon` it when the relay is over, however it ended."""

    __slots__ = (
        "_call",
        "_clock",
        "_estimate",
        "_expired",
        "_expiry",
        "_observe",
        "_resume",
        "_said",
        "_settled",
        "_single",
        "_text",
        "_tool_call",
        "_usage",
        "finish_reason",
        "part",
    )

    def __init__(
        self,
        call: Call,
        part: Part,
        *,
        clock: Callable[[], float],
        observe: Observe,
        estimate: Callable[[str], int],
        resume: Resume | None = None,
    ) -> None:
        self._call = call
        self._clock = clock
        self._observe = observe
        self._estimate = estimate
        self._resume = resume
        self._settled = False
        self._single = call.choices == 1
        """With several choices, the first finish_reason doesn't finish the stream."""
        self._text: list[str] = []
        self._said = 0
        """Characters of the answer; beyond TEXT_LIMIT they are only counted."""
        self._tool_call = False
        self._usage: Usage | None = None
        self._expired = False
        self._expiry: asyncio.TimerHandle | None = None
        self.finish_reason: str | None = None
        self.part = part
        if self.streams:
            self._expire_in(self._left())
        self._note(part.first)

    @property
    def streams(self) -> bool:
        """Whether this is a stream to be relayed with `events`, or one whole reply: `part.first`."""
        return self.part.source is not None

    async def events(self) -> AsyncIterator[bytes]:
        """The stream for the caller, the first chunk included, to its end or to one error event."""
        chunk = self.part.first
        while True:
            if chunk.data:
                yield chunk.data
            if chunk.failure is not None:
                failure = hide(chunk.failure, self.part.lane.secrets)
                if not await self._continue(failure):
                    yield self._broken(failure)
                    return
                chunk = self.part.first
            elif chunk.done:
                yield DONE
                return
            else:
                chunk = await self._next()
            self._note(chunk)

    def settle(self) -> None:
        """Books tokens, cost and speed of the part in hand. Idempotent; `close` and `abandon` call it."""
        if self._settled:
            return
        self._settled = True
        if self._expiry is not None:
            self._expiry.cancel()
        part, attempt, now = self.part, self.part.attempt, self._clock()
        attempt.duration_ms = (now - part.began) * 1e3
        attempt.usage = usage = self._usage or self._estimated()
        attempt.cost_usd = cost(usage, part.lane.model.price)
        writing = now - part.committed
        speed = usage.completion / writing if self.streams and writing > SHORTEST else None
        self._observe(part.lane.model.id, attempt.failure is None, part.committed - part.began, speed)

    async def close(self) -> None:
        """The relay is over. Settles first, then gives the connection back: a cancel may cut the rest."""
        self.settle()
        self._call.close("aborted" if self.part.attempt.failure else "ok", 200)
        await self.part.reply.close()

    def abandon(self, outcome: str, status: int) -> None:
        """The relay was cut short on our side: as `close`, without waiting."""
        self.part.reply.abort()
        self.settle()
        self._call.close(outcome, status)

    async def _next(self) -> Chunk:
        """What the next read brings; the end and every failure are chunks, too."""
        source, decoder = self.part.source, self.part.decoder
        assert source is not None
        assert decoder is not None
        try:
            return decoder.feed(await anext(source))
        except StopAsyncIteration:
            return _ended(decoder.close())
        except UpstreamError as error:
            if self.finish_reason is not None:
                return Chunk(done=True)
            return Chunk(failure=_OVERDUE if self._expired else error.failure)

    def _left(self) -> float:
        """Seconds until this part must have ended: its model's limit, or what the call has left."""
        total = self.part.lane.model.timeouts.total - (self._clock() - self.part.began)
        return max(min(total, self._call.remaining()), 0.0)

    def _expire_in(self, seconds: float) -> None:
        """Ends the stream after so many seconds, whether bytes come or not. One timer, not one per read."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self.part.reply.abort()

    def _note(self, chunk: Chunk) -> None:
        if chunk.text:
            self._said += len(chunk.text)
            if self._said <= TEXT_LIMIT:
                self._text.append(chunk.text)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.finish_reason is not None:
            if self.finish_reason is None and self._single and self.streams:
                self._expire_in(min(GRACE, self._left()))
            self.finish_reason = chunk.finish_reason
        if chunk.tool_call:
            self._tool_call = True

    async def _continue(self, failure: Failure) -> bool:
        """Lets another model take over where this one broke off, if it may and can."""
        self._blame(failure)
        if self._resume is None or self._tool_call or self.finish_reason is not None:
            return False
        if self._said > TEXT_LIMIT or failure.kind is FailureKind.DEADLINE:
            return False
        self.settle()
        self.part.reply.abort()
        part = await self._resume("".join(self._text))
        if part is None:
            return False
        self.part.attempt.outcome = CUT
        self.part = part
        self._usage = None
        self._settled = self._expired = False
        self._expire_in(self._left())
        return True

    def _blame(self, failure: Failure) -> None:
        self.part.attempt.failure = failure.kind
        self.part.attempt.reason = failure.message

    def _broken(self, failure: Failure) -> bytes:
        verdict = VERDICTS[failure.kind]
        kind = failure.kind.replace("_", " ")
        message = f"{self.part.lane.model.id} broke off ({kind}): {failure.message}"
        return error_event(ApiError(verdict.status, message, type=verdict.type, code=verdict.code))

    def _estimated(self) -> Usage:
        plan = self._call.plan
        prompt = plan.features.prompt_tokens if plan is not None else 0
        text = "".join(self._text)
        completion = self._estimate(text)
        if self._said > TEXT_LIMIT:
            completion = completion * self._said // max(len(text), 1)
        return Usage(prompt=prompt, completion=completion, estimated=True)


def silent(kind: FailureKind, seconds: float) -> Failure:
    """The failure of an upstream that said nothing for too long."""
    return Failure(kind, f"no answer within {seconds:.3g} s")


def _ended(last: Chunk) -> Chunk:
    if last.failure is None:
        last.done = True
    return last
