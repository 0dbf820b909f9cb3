from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from proxy.dispatch.answer import Part
from proxy.dispatch.hedge import Hedges, Outcome, Racer, race
from proxy.dispatch.policy import HedgePolicy
from proxy.types import Failure, FailureKind

FAILED = Failure(FailureKind.SERVER_ERROR)
ON = HedgePolicy(enabled=True, share=0.1, min_delay=0.2, min_answers=20, window=120)


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "p95", "patience"),
    [
        pytest.param(ON, 1.5, 1.5, id="its own percentile"),
        pytest.param(ON, 0.01, 0.2, id="but never sooner than the least delay"),
        pytest.param(ON, None, None, id="never while little is known of it"),
        pytest.param(HedgePolicy(), 1.5, None, id="never unless it is switched on"),
    ],
)
def test_when_a_second_model_may_be_asked(
    policy: HedgePolicy, p95: float | None, patience: float | None
) -> None:
    asked: list[tuple[str, float]] = []

    def percentile(model: str, least: float) -> float | None:
        asked.append((model, least))
        return p95

    assert Hedges(policy, percentile, lambda: 0.0).patience("m") == patience
    assert asked == ([("m", 20)] if policy.enabled else [])


def test_no_more_than_a_share_of_the_recent_calls() -> None:
    now = 0.0
    hedges = Hedges(ON, lambda _, __: 1.0, lambda: now)
    assert not hedges.withdraw()
    for _ in range(29):
        hedges.deposit()
    assert [hedges.withdraw() for _ in range(3)] == [True, True, False]
    hedges.deposit()
    assert hedges.withdraw()
    now = 121.0
    assert not hedges.withdraw()


# --- the race -------------------------------------------------------------------------------------


class Reply:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Permit:
    neutrals = 0

    def neutral(self) -> None:
        self.neutrals += 1


class Runner:
    """An attempt that ends when it is told to."""

    def __init__(self) -> None:
        self.end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.began = asyncio.Event()
        self.permit = Permit()
        self.reply = Reply()
        self.racer = Racer(cast(Any, None), cast(Any, self.permit), asyncio.create_task(self._run()))

    async def _run(self) -> Outcome:
        self.began.set()
        return await self.end

    def commit(self) -> None:
        self.end.set_result(
            Part(cast(Any, None), cast(Any, None), cast(Any, None), 0.0, 0.0, cast(Any, self.reply))
        )

    def fail(self) -> None:
        self.end.set_result(FAILED)


async def test_a_first_that_is_in_time_runs_alone() -> None:
    first = Runner()
    first.commit()
    assert await race([first.racer], 60.0, lambda: pytest.fail("nobody was late")) is first.racer


async def test_a_first_that_fails_in_time_is_not_hedged() -> None:
    first = Runner()
    first.fail()
    assert await race([first.racer], 60.0, lambda: pytest.fail("nobody was late")) is None


async def started() -> tuple[Runner, Runner, list[Racer], asyncio.Task[Racer | None]]:
    """Two who run side by side."""
    first, second = Runner(), Runner()
    racers, late = [first.racer], asyncio.Event()

    def begin() -> Racer:
        late.set()
        return second.racer

    ran = asyncio.create_task(race(racers, 0.0, begin))
    for event in (first.began, second.began, late):
        await event.wait()
    return first, second, racers, ran


@pytest.mark.parametrize("winner", [0, 1], ids=["the late one", "the second"])
async def test_the_first_token_wins_and_the_other_is_stopped(winner: int) -> None:
    *runners, racers, ran = await started()
    runners[winner].commit()
    assert await ran is racers[winner]
    assert racers[1 - winner].task.cancelled()
    assert racers[1 - winner].outcome is None


@pytest.mark.parametrize("failing", [0, 1], ids=["the late one", "the second"])
async def test_who_fails_leaves_the_other_to_go_on(failing: int) -> None:
    *runners, racers, ran = await started()
    runners[failing].fail()
    await asyncio.wait([racers[failing].task])
    runners[1 - failing].commit()
    assert await ran is racers[1 - failing]
    assert racers[failing].outcome is FAILED


async def test_both_may_fail() -> None:
    first, second, racers, ran = await started()
    first.fail()
    second.fail()
    assert await ran is None
    assert [racer.outcome for racer in racers] == [FAILED, FAILED]


async def test_without_a_second_the_first_goes_on() -> None:
    first = Runner()
    ran = asyncio.create_task(race([first.racer], 0.0, lambda: None))
    await first.began.wait()
    first.commit()
    assert await ran is first.racer


async def test_two_that_commit_at_once_leave_one_to_be_let_go() -> None:
    first, second, racers, ran = await started()
    first.commit()
    second.commit()
    assert await ran is first.racer
    racers[1].let_go()
    assert (second.reply.aborted, second.permit.neutrals) == (True, 1)
    assert not first.reply.aborted


async def test_a_caller_that_leaves_ends_both() -> None:
    first, second, racers, ran = await started()
    second.commit()  # nobody has taken it, unless it is given back
    ran.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ran
    assert first.racer.task.cancelled()
    for racer in racers:
        racer.let_go()
    assert first.permit.neutrals == 1
    assert second.reply.aborted
