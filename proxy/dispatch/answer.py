"""The answer after the commit point: relays what the upstream writes, and accounts for it.

A non-streaming reply is one chunk, and complete. A stream ends in one of three ways:

    finished   finish_reason was seen            data: [DONE]
    broken     cut, silent or an error event,    one data: {"error": ...}, nothing after it
               and nobody could continue it
    left       the caller went away              nothing

A stream that breaks may be continued by another model: the answer then has several parts, each a
committed attempt of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from proxy.dispatch.call import CUT, Call, cost
from proxy.dispatch.lane import Lane, Reply
from proxy.errors import ApiError, UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.failure import VERDICTS
from proxy.types import Attempt, Chunk, Failure, FailureKind, Usage
from proxy.wire.reply import error_event

DONE = b"data: [DONE]\n\n"
GRACE = 1.0
"""Seconds that a finished stream gets for its usage and its end."""
SHORTEST = 0.05
"""Seconds of a stream below which its tokens per second say nothing."""

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


Resume = Callable[[Part, Failure, str], Awaitable[Part | None]]
"""(the part that broke, why, text that the caller has seen) -> the part that continues it, or None."""


class Answer:
    """What the caller gets. `close` or `abandon` it when the relay is over, however it ended."""

    __slots__ = (
        "_call",
        "_clock",
        "_ends",
        "_estimate",
        "_observe",
        "_resume",
        "_settled",
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
        self._text: list[str] = []
        self._tool_call = False
        self._usage: Usage | None = None
        self.finish_reason: str | None = None
        self.part = part
        self._ends = self._end()
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
                if not await self._continue(chunk.failure):
                    yield self._broken(chunk.failure)
                    return
                chunk = self.part.first
            elif chunk.done:
                yield DONE
                return
            elif self._clock() >= self._ends and self.finish_reason is None:
                chunk = Chunk(failure=_overdue())
            else:
                chunk = await self._next()
            self._note(chunk)

    def settle(self) -> None:
        """Books tokens, cost and speed of the part in hand. Idempotent; `close` and `abandon` call it."""
        if self._settled:
            return
        self._settled = True
        part, attempt, now = self.part, self.part.attempt, self._clock()
        attempt.duration_ms = (now - part.began) * 1e3
        attempt.usage = usage = self._used()
        attempt.cost_usd = cost(usage, part.lane.model.price)
        writing = now - part.committed
        speed = usage.completion / writing if self.streams and writing > SHORTEST else None
        answered = attempt.failure in (None, FailureKind.DEADLINE)
        self._observe(part.lane.model.id, answered, part.committed - part.began, speed)

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

    def _end(self) -> float:
        """When the part in hand must be over, on the call's clock. Looked at with every read."""
        return min(self._call.deadline, self.part.began + self.part.lane.model.timeouts.total)

    async def _next(self) -> Chunk:
        """What the next read brings; the end and every failure are chunks, too."""
        source, decoder = self.part.source, self.part.decoder
        assert source is not None
        assert decoder is not None
        finished = self.finish_reason is not None
        try:
            if finished:
                async with asyncio.timeout(GRACE):
                    return decoder.feed(await anext(source))
            return decoder.feed(await anext(source))
        except StopAsyncIteration:
            return _ended(decoder.close())
        except TimeoutError:
            return Chunk(done=True)
        except UpstreamError as error:
            return Chunk(done=True) if finished else Chunk(failure=error.failure)

    def _note(self, chunk: Chunk) -> None:
        if chunk.text:
            self._text.append(chunk.text)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.finish_reason is not None:
            self.finish_reason = chunk.finish_reason
        if chunk.tool_call:
            self._tool_call = True

    async def _continue(self, failure: Failure) -> bool:
        """Lets another model take over where this one broke off, if it may and can."""
        self._blame(failure)
        if self._resume is None or self._tool_call or self.finish_reason is not None:
            return False
        self.settle()
        self.part.reply.abort()
        part = await self._resume(self.part, failure, "".join(self._text))
        if part is None:
            return False
        if self.part.attempt.outcome == "ok":
            self.part.attempt.outcome = CUT
        self.part = part
        self._ends = self._end()
        self._usage = None
        self._settled = False
        return True

    def _blame(self, failure: Failure) -> None:
        attempt = self.part.attempt
        attempt.failure = failure.kind
        attempt.reason = failure.message
        if failure.kind is FailureKind.DEPARTED:
            attempt.outcome = "failed"  # nothing of it was seen

    def _broken(self, failure: Failure) -> bytes:
        verdict = VERDICTS[failure.kind]
        kind = failure.kind.replace("_", " ")
        message = f"{self.part.lane.model.id} broke off ({kind}): {failure.message}"
        type, code = verdict.type, verdict.code
        if verdict.passes:
            type, code = failure.type or type, failure.code or code
        return error_event(ApiError(verdict.status, message, type=type, code=code, param=failure.param))

    def _used(self) -> Usage:
        """The upstream's count, which of a stream that didn't finish is no more than a lower bound."""
        usage = self._usage
        if usage is None:
            return self._estimated()
        if self.streams and self.finish_reason is None:
            written = max(usage.completion, self._estimate("".join(self._text)))
            return replace(usage, completion=written, estimated=True)
        return usage

    def _estimated(self) -> Usage:
        plan = self._call.plan
        prompt = plan.features.prompt_tokens if plan is not None else 0
        return Usage(prompt=prompt, completion=self._estimate("".join(self._text)), estimated=True)


def silent(kind: FailureKind, seconds: float) -> Failure:
    """The failure of an upstream that said nothing for too long."""
    return Failure(kind, f"no answer within {seconds:.3g} s")


def _overdue() -> Failure:
    return Failure(FailureKind.DEADLINE, "the deadline for the whole answer has passed")


def _ended(last: Chunk) -> Chunk:
    if last.failure is None:
        last.done = True
    return last
