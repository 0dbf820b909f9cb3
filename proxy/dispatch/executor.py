"""Walks the plan: asks one model after the other until one commits to an answer.

    for each model of the plan:  admit -> Permit | Refusal (skipped)
      attempt: encode, send, decode up to the commit point
        committed -> Answer                       the permit is settled as a success
        failed    -> VERDICTS[kind]: the same model again, the next one, or the end

This is the only attempt loop. What comes after the commit point is in `answer.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial

from msgspec import Struct

from proxy.dispatch.answer import Answer, Books, Part, silent
from proxy.dispatch.backoff import Budget, delay
from proxy.dispatch.breaker import Breakers, Permit, Refusal
from proxy.dispatch.call import Call, cost
from proxy.dispatch.effort import REFUSALS, Efforts
from proxy.dispatch.exchange import Exchange
from proxy.dispatch.hedge import Hedges, Racer, race
from proxy.dispatch.lane import Lane
from proxy.dispatch.policy import RetryPolicy
from proxy.dispatch.splice import PREFILL_REFUSED, Seam, may_splice, prefilled
from proxy.dispatch.states import GATES, THROTTLED
from proxy.dispatch.walk import Limits, Try, Walk, exhausted, refused
from proxy.effort import Effort
from proxy.errors import ApiError, UpstreamError
from proxy.providers.base import Decoder
from proxy.providers.failure import VERDICTS, Effect
from proxy.record import Attempt
from proxy.types import ChatRequest, Failure, FailureKind, Model, Usage


class Executor(Struct, frozen=True):
    """Performs what a `Walk` decides. One per configuration; holds no state of its own."""

    lanes: Mapping[str, Lane]
    books: Books
    breakers: Breakers
    policy: RetryPolicy
    budget: Budget
    hedges: Hedges
    efforts: Efforts
    random: Callable[[], float]
    content_filter_fallback: bool = False
    splices: bool = True
    """A stream that breaks after the commit point is continued by the next model."""

    async def run(self, call: Call) -> Answer:
        """The first answer along the call's plan. Raises ApiError when there is none."""
        plan, request = call.plan, call.request
        assert plan is not None
        assert request is not None
        walk = Walk(
            plan.models,
            self._model,
            self.policy,
            explicit=plan.explicit,
            content_filter_fallback=self.content_filter_fallback,
        )
        self.budget.deposit()
        self.hedges.deposit()
        refusals: dict[str, Refusal] = {}
        while (model := walk.next()) is not None:
            if walk.failures and call.remaining() <= 0.0:
                break
            permit = self.breakers.admit(model.id)
            if isinstance(permit, Refusal):
                refusals[model.id] = permit
                _skip(call, model, permit)
                continue
            part = await self._ask(call, walk, permit, self._exchange(call, model.id))
            if part is not None:
                return self._answer(call, request, walk, part)
            if not all(walk.goes_on(failure) for _, failure in walk.failures):
                break
        if not walk.failures and not plan.explicit:
            part = await self._probe(call, walk, refusals)
            if part is not None:
                return self._answer(call, request, walk, part)
        raise self._nothing(walk, refusals)

    def _model(self, id: str) -> Model:
        return self.lanes[id].model

    async def _probe(self, call: Call, walk: Walk, refusals: Mapping[str, Refusal]) -> Part | None:
        """Every circuit is shut: one call at a time may try the least bad model all the same."""
        least_bad = self.breakers.least_bad(refusals)
        permit = self.breakers.probe_anyway(least_bad) if least_bad is not None else None
        if least_bad is None or permit is None:
            return None
        return await self._ask(call, walk, permit, self._exchange(call, least_bad))

    async def _ask(self, call: Call, walk: Walk, permit: Permit, exchange: Exchange) -> Part | None:
        """One model, as often as the walk allows. None: it failed, and the walk knows why."""
        lane = exchange.lane
        model = lane.model
        walk.asked.add(model.id)
        step = Try(model)
        refused: tuple[Effort, str] | None = None
        while True:
            outcome = await self._tried(call, walk, permit, exchange, step.fresh)
            if isinstance(outcome, Part):
                if refused is not None and outcome.lane is exchange.lane:
                    self.efforts.refused(exchange.request, model, *refused)
                return outcome
            if exchange.effort is not None and exchange.status is not None and outcome.kind in REFUSALS:
                refused, exchange, step = (exchange.effort, outcome.message), exchange.plain(), Try(model)
            else:
                again = walk.failed(model, outcome, self._limits(call))
                if again is None:
                    return None
                exchange, step = exchange.again(), again
            if step.wait:
                call.upstream_time += step.wait
                await asyncio.sleep(step.wait)
            readmitted = self.breakers.admit(model.id)
            if isinstance(readmitted, Refusal):
                _skip(call, model, readmitted)
                return None
            permit = readmitted

    def _tried(
        self, call: Call, walk: Walk, permit: Permit, exchange: Exchange, fresh: bool
    ) -> Awaitable[Part | Failure]:
        """One attempt; at a model that may be late, with another beside it when it is."""
        late = self.hedges.patience(exchange.lane.model.id) if exchange.streams else None
        if late is None or walk.hedged or not walk.others():
            return self._attempt(call, call.task, exchange, permit, walk.others(), fresh)
        return self._hedged(call, walk, permit, exchange, late)

    async def _hedged(
        self, call: Call, walk: Walk, permit: Permit, exchange: Exchange, late: float
    ) -> Part | Failure:
        """As `_attempt`, with the next model of the plan beside it from the moment that it is late."""
        walk.hedged = True
        began, waited = self.books.clock(), call.upstream_time
        racers = [self._racer(call, permit, exchange)]
        try:
            winner = await race(racers, late, partial(self._second, call, walk))
        except BaseException:
            for racer in racers:
                racer.let_go()
            raise
        finally:
            call.upstream_time = (
                waited + self.books.clock() - began
            )  # not the sum of two who ran side by side
        # When all have failed, whoever asked goes on with the first's failure, and may ask it again.
        winner = winner or racers[0]
        for racer in racers:
            if racer is not winner:
                self._beaten(call, walk, racer)
        outcome = winner.outcome
        assert outcome is not None
        return outcome

    def _second(self, call: Call, walk: Walk) -> Racer | None:
        """The next model that may be asked, if all calls together may be hedged once more."""
        if not self.hedges.withdraw():
            return None
        while (model := walk.next()) is not None:
            permit = self.breakers.admit(model.id)
            if isinstance(permit, Refusal):
                _skip(call, model, permit)
                continue
            walk.asked.add(model.id)
            return self._racer(call, permit, self._exchange(call, model.id), hedge=True)
        return None

    def _racer(self, call: Call, permit: Permit, exchange: Exchange, *, hedge: bool = False) -> Racer:
        async def attempt() -> Part | Failure:
            return await self._attempt(call, asyncio.current_task(), exchange, permit, True, hedge=hedge)

        return Racer(exchange.lane, permit, asyncio.create_task(attempt()))

    def _beaten(self, call: Call, walk: Walk, racer: Racer) -> None:
        """It failed, which counts as any failure, or another was quicker: then it is paid for in vain."""
        lane, outcome = racer.lane, racer.outcome
        racer.let_go()
        attempt = next(a for a in reversed(call.record.attempts) if a.model == lane.model.id)
        if isinstance(outcome, Failure):
            if attempt.effort is None or outcome.kind not in REFUSALS:
                walk.broke(lane.model, outcome)
            return
        attempt.outcome = "cancelled"
        attempt.reason = "another model was quicker"
        self._book_prompt(attempt, lane, call.request)
        # Were those who are stopped not seen, a model would look the quicker the more often it is late.
        self.books.observe(lane.model.id, True, attempt.duration_ms / 1e3, None, True)

    def _book_prompt(self, attempt: Attempt, lane: Lane, request: ChatRequest | None) -> None:
        """Of an attempt that was stopped: the least that is paid for, its upstream has read the prompt."""
        assert request is not None
        attempt.usage = Usage(prompt=self.books.weigh(request), estimated=True)
        attempt.cost_usd = cost(attempt.usage, lane.model.price)

    async def _attempt(
        self,
        call: Call,
        task: asyncio.Task[object] | None,
        exchange: Exchange,
        permit: Permit,
        others: bool,
        fresh: bool = False,
        hedge: bool = False,
    ) -> Part | Failure:
        lane = exchange.lane
        attempt = Attempt(lane.model.id, lane.provider.name, effort=exchange.effort, hedge=hedge)
        call.record.attempts.append(attempt)
        began = self.books.clock()
        remaining = max(call.deadline - began, 0.0)
        limit = _patience(remaining, exchange.streams, lane, others)
        attempt.began_ms = (began - call.began) * 1e3
        try:
            with self.books.alarms.limit(limit, task) as alarm:
                outcome = await exchange.perform(
                    call, fresh, lambda: alarm.put_off(began + _patience(remaining, False, lane, others))
                )
        except UpstreamError as error:
            outcome = error.failure
        except TimeoutError:
            outcome = _late(call, exchange, _patience(remaining, exchange.streams, lane, others), remaining)
        except BaseException:
            # The caller left or the process ends: nothing was learned about the upstream.
            permit.neutral()
            attempt.outcome = "cancelled"
            waited = self.books.clock() - began
            call.upstream_time += waited
            attempt.duration_ms = waited * 1e3
            self._book_prompt(attempt, lane, exchange.request)
            exchange.abort()
            raise
        now = self.books.clock()
        call.upstream_time += now - began
        attempt.status = exchange.status
        attempt.duration_ms = (now - began) * 1e3
        if isinstance(outcome, Failure):
            exchange.abort()
            attempt.failure = outcome.kind
            attempt.reason = outcome.message
            self._settle(lane, permit, outcome)
            return outcome
        permit.success()
        attempt.outcome = "ok"
        attempt.ttft_ms = attempt.duration_ms
        assert exchange.reply is not None
        return Part(lane, attempt, outcome, began, now, exchange.reply, exchange.decoder)

    def _answer(self, call: Call, request: ChatRequest, walk: Walk, part: Part) -> Answer:
        call.served(part.lane.model, part.first.model)
        resume = None
        if self.splices and request.stream and may_splice(request):
            resume = partial(self._resume, call, request, walk)
        return Answer(call, part, self.books, resume)

    async def _resume(
        self, call: Call, request: ChatRequest, walk: Walk, broken: Part, failure: Failure, sent: str
    ) -> Part | None:
        """The next model of the plan that continues a stream whose text so far the caller has seen."""
        walk.hedged = True  # what continues a stream is asked in the words of one model
        goes_on = walk.broke(broken.lane.model, failure)
        while goes_on and call.remaining() > 0.0 and (model := walk.next()) is not None:
            for how, exchange in self._continuations(call, model.id, request, sent):
                permit = self.breakers.admit(model.id)
                if isinstance(permit, Refusal):
                    _skip(call, model, permit)
                    break
                part = await self._ask(call, walk, permit, exchange)
                if part is not None:
                    part.attempt.seam, part.attempt.seam_at = how, len(sent)
                    return part
                refusal = walk.failures[-1][1]
                goes_on = walk.goes_on(refusal)
                if refusal.kind not in PREFILL_REFUSED:
                    break
        return None

    def _exchange(
        self,
        call: Call,
        model: str,
        request: ChatRequest | None = None,
        wrap: Callable[[Decoder], Decoder] | None = None,
    ) -> Exchange:
        """What this model is asked for the call, by another request than the caller's where one is given."""
        lane, request = self.lanes[model], request or call.request
        assert call.plan is not None
        assert request is not None
        return Exchange(lane, request, self.efforts.of(call.plan, request, lane.model), wrap)

    def _continuations(
        self, call: Call, model: str, request: ChatRequest, sent: str
    ) -> Iterator[tuple[str, Exchange]]:
        """How this model may be asked to continue: by prefill where it takes one, then from the start."""
        asked = prefilled(request, self._model(model), sent)
        if asked is not None:
            yield (
                "prefill",
                self._exchange(call, model, asked[0], lambda decoder: Seam(decoder, asked[1], lenient=True)),
            )
        yield "restart", self._exchange(call, model, request, lambda decoder: Seam(decoder, sent))

    def _settle(self, lane: Lane, permit: Permit, failure: Failure) -> None:
        verdict = VERDICTS[failure.kind]
        retry_after = failure.retry_after if verdict.throttles else None
        permit.failure(verdict.effect, retry_after, GATES.get(failure.kind, THROTTLED))
        if verdict.effect is not Effect.NEUTRAL or failure.kind is FailureKind.RATE_LIMIT:
            self.books.observe(lane.model.id, False, None, None, True)

    def _limits(self, call: Call) -> Limits:
        return Limits(
            remaining=call.remaining(),
            delay=lambda number: delay(number, self.policy, self.random),
            may_retry=self.budget.withdraw,
        )

    def _nothing(self, walk: Walk, refusals: Mapping[str, Refusal]) -> ApiError:
        if walk.failures:
            return exhausted(walk.failures)
        return refused(
            min((refusal.retry_after for refusal in refusals.values()), default=1.0),
            {model: refusal.reason for model, refusal in refusals.items()},
        )


def _patience(remaining: float, streams: bool, lane: Lane, others: bool) -> float:
    """Seconds until this attempt must have committed, of those that the call has left.

    A stream has to begin within `first_token`. A whole reply gives no sign of life before it is done, so
    it may use half of what is left of the deadline while somebody else could still serve, else all.
    """
    limit = min(_own_limit(lane, streams), remaining)
    return limit / 2 if others and not streams else limit


def _own_limit(lane: Lane, streams: bool) -> float:
    """Seconds that the model has until its commit point, whatever the call has left."""
    return lane.model.timeouts.first_token if streams else lane.model.timeouts.total


def _late(call: Call, exchange: Exchange, limit: float, remaining: float) -> Failure:
    """Whose limit has passed. Nothing is learned about a model from a caller's impatience."""
    # Told by what the limit was made of: timers may fire a millisecond before the clock agrees.
    if not call.impatient or remaining >= _own_limit(exchange.lane, exchange.streams):
        return silent(FailureKind.FIRST_TOKEN_TIMEOUT, limit)
    if limit == remaining:
        return Failure(FailureKind.DEADLINE, "the deadline that the caller set has passed")
    return silent(FailureKind.CUT_SHORT, limit)


def _skip(call: Call, model: Model, refusal: Refusal) -> None:
    call.record.attempts.append(
        Attempt(model=model.id, provider=model.provider, outcome="skipped", reason=refusal.reason)
    )
