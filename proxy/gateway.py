"""One whole call on one page: begin, plan, dispatch; whatever happens, the record is emitted once.

begin -> Call          before anything can fail
call  -> Answer        plan (asking the judge first when the ladder wants it), then the walk
Answer.close           by whoever relays it: settles and emits
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from proxy.dispatch.alarm import Alarms
from proxy.dispatch.answer import Answer, Write
from proxy.dispatch.breaker import Breakers, Refusal
from proxy.dispatch.call import Call
from proxy.dispatch.executor import Executor
from proxy.dispatch.policy import BreakerPolicy
from proxy.errors import ApiError
from proxy.providers.failure import Effect
from proxy.record import CallRecord
from proxy.routing import judge
from proxy.routing.explain import COURSE, course, described
from proxy.routing.features import extract
from proxy.routing.policy import JudgePolicy
from proxy.routing.router import Router
from proxy.types import ChatRequest, RoutePlan

__all__ = ["Alarms", "Answer", "Call", "Gateway", "House", "Write", "trace"]

Clock = Callable[[], float]


BENCH = BreakerPolicy(
    consecutive_failures=3, open_for=10.0, open_cap=120.0, open_jitter=0.0, successes_to_close=1
)
"""The judge's own circuit: no answer in time, or none that can be used, is a failure there, though it may be
none of the model's."""


class House(Struct, frozen=True):
    """Everything that one configuration made. A reload makes another; open calls keep theirs."""

    epoch: str
    router: Router
    executor: Executor
    judge: JudgePolicy
    judge_intents: tuple[str, ...]
    """Names that the judge may answer with."""
    deadline: float = 600.0
    """Seconds for a whole call, when the caller sets none."""
    prompt_chars: int = 0
    """How much of what was asked is kept for the call log; 0: nothing."""


class Gateway:
    """The way through the house. Holds the configuration in force."""

    def __init__(
        self,
        house: House,
        emit: Callable[[CallRecord], None],
        alarms: Alarms,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self.house = house
        self.alarms = alarms
        self._emit = emit
        self._clock = clock
        self._wall = wall
        self.bench = Breakers(BENCH, clock, lambda: 0.5)
        """Circuits of judges, by model."""
        self._open: dict[int, CallRecord] = {}

    def begin(self, request_id: str, task: asyncio.Task[None] | None = None) -> Call:
        """A call has arrived, for `task` to serve. Close it, by `Call.close` or its answer's `close`."""
        record = CallRecord(request_id=request_id, time=self._wall())
        self._open[id(record)] = record
        return Call(record, self._clock, self._ended, self.house.deadline, task)

    async def call(
        self,
        call: Call,
        request: ChatRequest,
        headers: Mapping[str, str],
        session: str,
        *,
        traced: bool = False,
    ) -> Answer:
        """The answer to a request. Raises ApiError; then the call is closed."""
        house = self.house
        call.request = request
        call.traced = traced
        record = call.record
        record.requested_model = request.model
        record.stream = request.stream
        record.session = session
        try:
            judging = house.judge.enabled and self.bench.available(house.judge.model)
            plan = house.router.plan(request, headers, session, judging=judging, traced=traced)
            if not isinstance(plan, RoutePlan):
                verdict = await self._judge(house, call, plan)
                if verdict is not None:
                    house.router.judged(plan, verdict)
                plan = house.router.plan(request, headers, session, judging=False, traced=traced)
                assert isinstance(plan, RoutePlan)
            call.plan = plan
            book(record, plan, house.epoch)
            if house.prompt_chars:
                record.prompt = extract(request).ask[: house.prompt_chars]
            answer = await house.executor.run(call)
        except ApiError as error:
            call.close(_ended_by(error, record), error.status, error.code)
            raise
        except asyncio.CancelledError:
            raise  # who cancels knows why, and closes the call
        except BaseException:
            call.close("error", 500, "internal_error")
            raise
        part = answer.part
        house.router.served(plan, session, part.lane.model.id, hedged=part.attempt.hedge)
        return answer

    async def _judge(self, house: House, call: Call, question: judge.Question) -> judge.Verdict | None:
        """Asks the judge within its own time; its failures are nobody's but its circuits'."""
        timeout, permit = house.judge.timeout, self.bench.admit(house.judge.model)
        if isinstance(permit, Refusal):
            return None
        if call.remaining() < 2 * timeout:
            permit.neutral()  # the caller is in a hurry: its time goes to the answer
            return None
        record = CallRecord(request_id=call.record.request_id, time=self._wall())
        asking = Call(record, self._clock, _keep, timeout, call.task)
        asking.request = question.request
        plan = house.router.plan(question.request, {}, judging=False)
        assert isinstance(plan, RoutePlan)
        asking.plan = msgspec.structs.replace(plan, models=plan.models[:1], effort=house.router.least_effort)
        began = self._clock()
        verdict = None
        try:
            answer = await house.executor.run(asking)
            answer.close()
            verdict = judge.answer(answer.part.first.text, house.judge_intents)
            if verdict is not None:
                permit.success()
            else:
                permit.failure(Effect.FAILURE)
        except ApiError:
            permit.failure(Effect.FAILURE)  # its attempts say why; the ladder goes on without it
        finally:
            permit.neutral()  # settles nothing that is settled: the caller left
            call.upstream_time += self._clock() - began
            for attempt in record.attempts:
                attempt.reason = f"{JUDGED}: {attempt.outcome}"
                attempt.outcome = JUDGED
            call.record.attempts.extend(record.attempts)
        return verdict

    @property
    def open_calls(self) -> int:
        """Calls that have arrived and are not closed."""
        return len(self._open)

    def in_flight(self) -> Counter[str]:
        """Open calls by the model that their latest attempt is at; those that are at none aren't counted."""
        latest = [record.attempts[-1] for record in self._open.values() if record.attempts]
        return Counter(attempt.model for attempt in latest if attempt.outcome != "skipped")

    def _ended(self, record: CallRecord) -> None:
        del self._open[id(record)]
        self._emit(record)


JUDGED = "judge"
"""The outcome of an attempt that asked the judge: it is booked apart from the answer."""


def trace(call: Call) -> dict[str, Any]:
    """Why this call went where it went, for a reader: the `kuro` object of a traced reply.

    At the begin of a stream nobody knows its tokens and cost: they are left out there.
    """
    assert call.plan is not None
    call.add_up()
    unknown = ("usage", "cost_usd") if call.record.stream else ()
    record = {name: msgspec.to_builtins(getattr(call.record, name)) for name in COURSE}
    told = {**described(call.plan), **course(record)}
    return {name: value for name, value in told.items() if name not in unknown}


def book(record: CallRecord, plan: RoutePlan, epoch: str) -> None:
    """Puts into a record what was decided, by the configuration of this epoch."""
    record.route = plan.route
    record.profile = plan.profile
    record.plan = plan.models
    record.scores = plan.ranking
    if plan.lot is not None:
        record.propensity = plan.lot.chances[plan.models[0]]
    record.why = plan, epoch
    seen = plan.classification
    if seen is not None:
        record.intent = seen.intents[0][0]
        record.intents = dict(seen.intents)
        record.difficulty = seen.difficulty
        record.effort = plan.effort


def _ended_by(error: ApiError, record: CallRecord) -> str:
    """The outcome: what no model could serve is an error, also where circuits kept it from being tried."""
    tried = any(attempt.outcome == "failed" for attempt in record.attempts)
    return "error" if tried or error.status == 429 or error.status >= 500 else "refused"


def _keep(_: CallRecord) -> None:
    """The judge's record goes into the call's own."""
