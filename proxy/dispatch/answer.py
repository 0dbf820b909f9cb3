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

from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from proxy.dispatch.alarm import Alarms
from proxy.dispatch.call import CUT, Call, cost
from proxy.dispatch.lane import Lane, Reply
from proxy.errors import ApiError, UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.failure import VERDICTS
from proxy.providers.scrub import hide
from proxy.record import Attempt
from proxy.types import ChatRequest, Chunk, Failure, FailureKind, Usage
from proxy.wire.reply import error_event

DONE = b"data: [DONE]\n\n"
GRACE = 1.0
"""Seconds that a finished stream gets for its usage and its end, in all."""
TEXT_LIMIT = 1_000_000
"""Characters of an answer that are kept: to continue it, to estimate its tokens. Models write fewer."""
TOGETHER = 8
"""Pieces of it that become one: a word of four letters takes 61 bytes by itself."""
SHORTEST = 0.05
"""Seconds of a stream below which its tokens per second say nothing."""

Observe = Callable[[str, bool, float | None, float | None, bool], None]
"""(model, answered, seconds to the first token, tokens per second, whether it was a stream)."""


class Part(Struct):
    """One committed attempt: what it said first, and where the rest comes from."""

    lane: Lane
    attempt: Attempt
    first: Chunk
    began: float
    committed: float
    """Both on the call's clock."""
    reply: Reply
    decoder: Decoder | None = None
    """None: a whole reply."""


Write = Callable[[bytes], bool]
"""Gives the caller these bytes at once; False, and nothing is written, when it can't take them now."""

Resume = Callable[[Part, Failure, str], Awaitable[Part | None]]
"""(the part that broke, why, text that the caller has seen) -> the part that continues it, or None."""


class Books(Struct, frozen=True):
    """What accounting needs; the same for all answers."""

    alarms: Alarms
    clock: Callable[[], float]
    observe: Observe
    estimate: Callable[[str], int]
    """Text -> tokens, for upstreams that report no usage."""
    weigh: Callable[[ChatRequest], int]
    """Request -> tokens of its prompt, likewise."""


class Answer:
    """What the caller gets. `close` or `abandon` it when the relay is over, however it ended."""

    __slots__ = ("_before", "_books", "_call", "_code", "_ends", "_latest", "_resume", "_said", "_settled",
                 "_text", "_tool_call", "_usage", "finish_reason", "part", "streams")  # fmt: skip

    def __init__(self, call: Call, part: Part, books: Books, resume: Resume | None = None) -> None:
        first = part.first
        self._call = call
        self._books = books
        self._resume = resume
        self._code: str | None = None
        """Of the error that ended the stream."""
        self._settled = False
        self._text = [first.text] if first.text else []
        self._latest: list[str] = []
        """What was said, and the pieces that came since it was put together last."""
        self._said = len(first.text)
        """Characters of the answer; beyond TEXT_LIMIT they are only counted."""
        self._before = -1
        """... of which so many were there before the part in hand took over."""
        self._tool_call = first.tool_call
        self._usage = first.usage
        self.finish_reason = first.finish_reason
        self.part = part
        self.streams = part.decoder is not None
        """Whether this is a stream to be relayed with `events`, or one whole reply: `part.first`."""
        self._ends = self._end() if self.streams else 0.0
        """When the part in hand must be over, on the call's clock."""

    async def events(self, write: Write | None = None) -> AsyncIterator[bytes]:
        """The stream for the caller, the first chunk included, to its end or to one error event.

        What `write` takes from the second chunk on isn't among them: it is written as it comes, without a
        turn of the event loop and of five coroutines for each event.
        """
        chunk = self.part.first
        while True:
            if chunk.data:
                yield chunk.data
                chunk.data = b""  # A stream may be long, and there may be thousands of them.
            if chunk.failure is not None:
                failure = hide(chunk.failure, self.part.lane.secrets)
                if not await self._continue(failure):
                    yield self._broken(failure)
                    return
                chunk = self.part.first
            elif chunk.done:
                yield DONE
                return
            elif self.finish_reason is not None:
                chunk = await self._last()
            else:
                try:
                    with self._books.alarms.limit(self._ends - self._books.clock(), self._call.task):
                        chunk = await self._next(write)
                except UpstreamError as error:
                    chunk = Chunk(failure=error.failure)
                except TimeoutError:
                    chunk = Chunk(failure=_overdue())
            self._note(chunk)

    def settle(self) -> None:
        """Books tokens, cost and speed of the part in hand. Idempotent; `close` and `abandon` call it."""
        if self._settled:
            return
        self._settled = True
        part, attempt, now = self.part, self.part.attempt, self._books.clock()
        attempt.duration_ms = (now - part.began) * 1e3
        usage = self._usage
        if usage is None or self.streams:
            usage = self._used()
        attempt.usage = usage
        attempt.cost_usd = cost(usage, part.lane.model.price)
        writing = now - part.committed
        speed = usage.completion / writing if self.streams and writing > SHORTEST else None
        answered = attempt.failure in (None, FailureKind.DEADLINE)
        self._books.observe(part.lane.model.id, answered, part.committed - part.began, speed, self.streams)
        if self._before >= 0 and self._seen():
            self._call.served(part.lane.model, part.first.model)

    def close(self) -> None:
        """The relay is over: settles, and lets go of the upstream."""
        self.abandon("aborted" if self.part.attempt.failure else "ok", 200, self._code)

    def abandon(self, outcome: str, status: int, code: str | None = None) -> None:
        """The relay was cut short on our side: as `close`, with what came of it."""
        self.part.reply.abort()
        self.settle()
        self._call.close(outcome, status, code)

    def _end(self) -> float:
        ends = self._limit()
        return ends if self.finish_reason is None else min(ends, self._books.clock() + GRACE)

    def _limit(self) -> float:
        return min(self._call.deadline, self.part.began + self.part.lane.model.timeouts.total)

    async def _next(self, write: Write | None) -> Chunk:
        """The next chunk that `write` doesn't take."""
        if write is None:
            return self._decoded(await self.part.reply.take())
        left: list[Chunk] = []

        def sink(data: bytes) -> bool:
            chunk = self._decoded(data)
            plain = chunk.failure is None and chunk.finish_reason is None and not chunk.done
            if plain and (not chunk.data or write(chunk.data)):
                self._note(chunk)
                return True
            left.append(chunk)
            return False

        await self.part.reply.pour(sink)
        return left[0] if left else self._decoded(await self.part.reply.take())

    async def _last(self) -> Chunk:
        """What comes after a finish_reason: the answer is whole, and no failure matters any more."""
        try:
            with self._books.alarms.limit(self._ends - self._books.clock(), self._call.task):
                return self._decoded(await self.part.reply.take())
        except (TimeoutError, UpstreamError):
            return Chunk(done=True)

    def _decoded(self, data: bytes) -> Chunk:
        """What a read brought; nothing is the end."""
        decoder = self.part.decoder
        assert decoder is not None
        return decoder.feed(data) if data else _ended(decoder.close())

    def _note(self, chunk: Chunk) -> None:
        if chunk.text:
            self._said += len(chunk.text)
            if self._said <= TEXT_LIMIT:
                self._latest.append(chunk.text)
                if len(self._latest) >= TOGETHER:
                    self._gather()
        if chunk.usage is not None:
            self._usage = chunk.usage
        if self.finish_reason is not None and chunk.meaningful:
            # Whoever says `stop` on every chunk goes on all the same: from now on its end is its end.
            self._ends = self._limit()
        elif self.finish_reason is None and chunk.finish_reason is not None:
            self._ends = min(self._ends, self._books.clock() + GRACE)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        if chunk.tool_call:
            self._tool_call = True

    def _gather(self) -> None:
        self._text.append("".join(self._latest))
        self._latest.clear()

    def _so_far(self) -> str:
        """All that the caller has seen of the text, as far as it is kept."""
        self._gather()
        return "".join(self._text)

    async def _continue(self, failure: Failure) -> bool:
        """Lets another model take over where this one broke off, if it may and can."""
        self._blame(failure)
        if self._resume is None or self._tool_call or self.finish_reason is not None:
            return False
        if self._said > TEXT_LIMIT or failure.kind is FailureKind.DEADLINE:
            return False
        self.settle()
        self.part.reply.abort()
        part = await self._resume(self.part, failure, self._so_far())
        if part is None:
            return False
        if self.part.attempt.outcome == "ok":
            self.part.attempt.outcome = CUT
        self.part = part
        self._before = self._said
        self._ends = self._end()
        self._usage = None
        self._settled = False
        return True

    def _blame(self, failure: Failure) -> None:
        attempt = self.part.attempt
        attempt.failure = failure.kind
        attempt.reason = failure.message
        if not self._seen():
            attempt.outcome = "failed"

    def _seen(self) -> bool:
        """Whether the caller has anything of the part in hand: some of a continuation was said already."""
        return self._said > self._before or self._tool_call or self.finish_reason is not None

    def _broken(self, failure: Failure) -> bytes:
        verdict = VERDICTS[failure.kind]
        kind = failure.kind.replace("_", " ")
        message = f"{self.part.lane.model.id} broke off ({kind}): {failure.message}"
        type, code = verdict.type, verdict.code
        if verdict.passes:
            type, code = failure.type or type, failure.code or code
        self._code = code
        return error_event(ApiError(verdict.status, message, type=type, code=code, param=failure.param))

    def _used(self) -> Usage:
        """The upstream's count, which of a stream that didn't finish is no more than a lower bound."""
        usage = self._usage
        if usage is None:
            return self._estimated()
        if self.streams and self.finish_reason is None:
            written = max(usage.completion, self._written())
            return replace(usage, completion=written, estimated=True)
        return usage

    def _estimated(self) -> Usage:
        plan = self._call.plan
        prompt = plan.features.prompt_tokens if plan is not None else 0
        if not prompt and self._call.request is not None:
            prompt = self._books.weigh(self._call.request)
        return Usage(prompt=prompt, completion=self._written(), estimated=True)

    def _written(self) -> int:
        """Tokens of the text so far, estimated."""
        text = self._so_far()
        tokens = self._books.estimate(text)
        return tokens if self._said <= TEXT_LIMIT else tokens * self._said // max(len(text), 1)


def silent(kind: FailureKind, seconds: float) -> Failure:
    """The failure of an upstream that said nothing for too long."""
    return Failure(kind, f"no answer within {seconds:.3g} s")


def _overdue() -> Failure:
    return Failure(FailureKind.DEADLINE, "the deadline for the whole answer has passed")


def _ended(last: Chunk) -> Chunk:
    if last.failure is None:
        last.done = True
    return last
