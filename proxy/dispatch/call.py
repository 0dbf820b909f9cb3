"""One call from arrival to record: what is known of it, what it may still spend, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.record import Attempt, CallRecord
from proxy.types import ChatRequest, Model, Price, Provider, RoutePlan, Usage

Clock = Callable[[], float]
"""Monotonic seconds."""

NAME_LIMIT = 200
"""Characters of a model's name that are recorded: upstreams send what they like."""

CUT = "cut"
"""The outcome of an attempt whose stream broke, and was continued by another: its text was seen."""

Pairs = tuple[tuple[bytes, bytes], ...]


class Call:
    """Carried through every room that performs something. Closed exactly once, whatever happened."""

    __slots__ = ("_clock", "_emit", "_own", "began", "closed", "deadline", "forward", "impatient", "placed",
                 "plan", "queued", "record", "request", "task", "traced", "upstream_time")  # fmt: skip

    def __init__(
        self,
        record: CallRecord,
        clock: Clock,
        emit: Callable[[CallRecord], None],
        deadline: float,
        task: asyncio.Task[None] | None = None,
    ) -> None:
        self.record = record
        self.task = task
        """Which serves it; None: whichever is the current one, when that has to be known."""
        self._clock = clock
        self._emit = emit
        self.began = clock()
        self.deadline = self.began + deadline
        """On `clock`: when the whole chain must have answered."""
        self.impatient = False
        """The caller set the deadline itself."""
        self.forward: Callable[[Provider], Pairs] | None = None
        """Header pairs that this provider may see of the caller's; None: none."""
        self.request: ChatRequest | None = None
        self.plan: RoutePlan | None = None
        self.traced = False
        """The answer says why it is as it is."""
        self.upstream_time = 0.0
        """Seconds spent waiting: for upstreams, and in back-off."""
        self.placed = False
        """It has a place among those that are served."""
        self.queued = 0.0
        """Seconds spent waiting for that."""
        self._own: float | None = None
        """The overhead of a stream, once it has begun."""
        self.closed = False

    def limit(self, seconds: float | None) -> None:
        """Lowers the deadline to what the caller asked for; None: it asked for nothing."""
        if seconds is not None and self.began + seconds < self.deadline:
            self.deadline = self.began + seconds
            self.impatient = True

    def remaining(self) -> float:
        """Seconds until the deadline; not above zero when it has passed."""
        return self.deadline - self._clock()

    def overhead(self) -> float:
        """Seconds so far that were neither an upstream's nor a deliberate wait.

        Of a stream until its first token: from then on its upstream sets the pace, and each continuation's.
        """
        if self._own is not None:
            return self._own
        return max(self._clock() - self.began - self.upstream_time - self.queued, 0.0)

    def served(self, model: Model, response_model: str | None) -> None:
        """This attempt is the one whose answer the caller sees, of a stream the latest such."""
        record = self.record
        record.selected_model = model.id
        record.provider = model.provider
        record.response_model = response_model and response_model[:NAME_LIMIT]
        record.fallback_used = self.plan is not None and model.id != self.plan.models[0]
        if record.ttft_ms is None:
            record.ttft_ms = (self._clock() - self.began) * 1e3
        if self.request is not None and self.request.stream:
            self._own = self.overhead()

    def close(self, outcome: str, status: int, code: str | None = None) -> None:
        """Completes the record and emits it. Later calls do nothing."""
        if self.closed:
            return
        self.closed = True
        record = self.record
        record.outcome = outcome
        record.status = status
        record.error_code = code
        record.latency_ms = (self._clock() - self.began) * 1e3
        record.overhead_ms = self.overhead() * 1e3
        self.add_up()
        self._emit(record)

    def add_up(self) -> None:
        """Books what its attempts come to so far. Of a whole reply that is all, before it is sent."""
        record = self.record
        record.queued_ms = self.queued * 1e3
        if len(record.attempts) == 1 and record.attempts[0].outcome == "ok":
            record.usage = record.attempts[0].usage
            record.cost_usd = record.attempts[0].cost_usd
        else:
            _add_up(record)


def cost(usage: Usage, price: Price | None) -> float | None:
    """USD for these tokens; None when the price is unknown."""
    if price is None:
        return None
    cached_price = price.input if price.cached_input is None else price.cached_input
    fresh = usage.prompt - usage.cached
    return (fresh * price.input + usage.cached * cached_price + usage.completion * price.output) / 1e6


def _add_up(record: CallRecord) -> None:
    """Tokens and cost of what the caller saw, and what else was spent."""
    served = [attempt for attempt in record.attempts if attempt.outcome in ("ok", CUT)]
    record.usage = _sum([attempt.usage for attempt in served if attempt.usage is not None])
    costs = [attempt.cost_usd for attempt in served]
    record.cost_usd = None if None in costs or not costs else sum(c for c in costs if c is not None)
    record.wasted_usd = _spent(record.attempts, "failed", "cancelled")
    record.judge_usd = _spent(record.attempts, "judge")


def _spent(attempts: list[Attempt], *outcomes: str) -> float:
    return sum(attempt.cost_usd or 0.0 for attempt in attempts if attempt.outcome in outcomes)


def _sum(usages: list[Usage]) -> Usage | None:
    if len(usages) <= 1:
        return usages[0] if usages else None
    return Usage(
        prompt=sum(u.prompt for u in usages),
        completion=sum(u.completion for u in usages),
        cached=sum(u.cached for u in usages),
        reasoning=sum(u.reasoning for u in usages),
        estimated=any(u.estimated for u in usages),
    )
