"""Places and the queue in front of them: a model of all that can happen, and what a caller is told."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from proxy.dispatch.call import Call
from proxy.errors import ApiError
from proxy.record import CallRecord
from proxy.server.admission import Admission, Turn
from proxy.server.policy import LimitPolicy

KEYS = st.sampled_from(["alice", "bob", "carol"])


class Model(RuleBasedStateMachine):
    """Against lists: who is served, and one line per key with the keys in the order of their turns."""

    turns: Bundle[Turn] = Bundle("turns")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.served = 0
        self.lines: list[tuple[str, list[Turn]]] = []
        self.left: list[Turn] = []
        """Cancelled, and their tasks have not run yet."""

    @initialize(limit=st.integers(1, 3), room=st.integers(0, 5))
    def begin(self, limit: int, room: int) -> None:
        self.limit, self.room = limit, room
        limits = LimitPolicy(max_in_flight=limit, max_queue=room, queue_timeout=10.0)
        self.admission = Admission(limits, lambda: self.now)

    def teardown(self) -> None:
        self.loop.close()

    @rule(target=turns, key=KEYS, remaining=st.sampled_from([3.0, 30.0]))
    def come(self, key: str, remaining: float) -> Turn | None:
        if self.served < self.limit:
            assert self.admission.enter()
            self.served += 1
            return self._placed(key)
        assert not self.admission.enter()
        loser = self._loser(key) if self._waiting() >= self.room else None
        if loser == key:
            with pytest.raises(ApiError):
                self.admission.join(key, remaining, True, self.loop.create_future())
            return self._placed(key)
        turn = self.admission.join(key, remaining, True, self.loop.create_future())
        if loser is not None:
            self._sent_away(self._line(loser)[-1])
        self._line(key, make=True).append(turn)
        return turn

    @rule()
    def finish(self) -> None:
        """Somebody's answer is complete."""
        if not self.served:
            return
        self.admission.leave()
        self._pass_on()

    @rule(turn=consumes(turns))
    def leave(self, turn: Turn) -> None:
        """A caller in the queue goes; its task notices later."""
        if not turn.future.done():
            turn.future.cancel()
            self.left.append(turn)

    @rule()
    def notice(self) -> None:
        if self.left:
            turn = self.left.pop(0)
            self.admission.quit(turn)
            self._forget(turn)

    @rule(turn=consumes(turns))
    def leave_with_a_place_just_given(self, turn: Turn) -> None:
        if turn.granted and turn.key != "placed":
            self.admission.quit(turn)
            self._pass_on()

    @rule(seconds=st.sampled_from([1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.admission.expire()
        for turn in [t for _, line in self.lines for t in line if t.until <= self.now]:
            if turn.future.cancelled():
                self._forget(turn)
            else:
                self._sent_away(turn)
                error = turn.future.exception()
                assert isinstance(error, ApiError)
                assert error.code == ("request_timeout" if turn.own else "proxy_overloaded")

    @invariant()
    def counts_are_right(self) -> None:
        if hasattr(self, "admission"):
            assert self.admission.in_flight == self.served <= self.limit
            assert self.admission.waiting == self._waiting() <= self.room

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        live = [turn for _, line in self.lines for turn in line if not turn.future.done()]
        assert not live or self.served == self.limit

    # --- the reference ---------------------------------------------------------------------------

    def _waiting(self) -> int:
        return sum(len(line) for _, line in self.lines)

    def _line(self, key: str, make: bool = False) -> list[Turn]:
        found = [line for name, line in self.lines if name == key]
        if make and not found:
            self.lines.append((key, found := []))  # type: ignore[arg-type]
            return self.lines[-1][1]
        return found[0] if found else []

    def _loser(self, key: str) -> str:
        """Whose last one goes when the queue is full: the first of the longest lines', or the newcomer."""
        longest = max(self.lines, key=lambda pair: len(pair[1]), default=(key, []))
        return longest[0] if len(longest[1]) > len(self._line(key)) + 1 else key

    def _pass_on(self) -> None:
        """Whose turn it is now: the first live one of the first key, which then is the last."""
        while self.lines:
            key, line = self.lines.pop(0)
            while line:
                turn = line.pop(0)
                if turn.future.cancelled():
                    continue
                assert turn.granted, "another was given the place"
                if line:
                    self.lines.append((key, line))
                return
        self.served -= 1

    def _sent_away(self, turn: Turn) -> None:
        assert turn.future.cancelled() or turn.future.exception() is not None
        self._forget(turn)

    def _forget(self, turn: Turn) -> None:
        for _, line in self.lines:
            if turn in line:
                line.remove(turn)
        self.lines = [(key, line) for key, line in self.lines if line]

    def _placed(self, key: str) -> Turn:
        """Stands for a call that isn't in the queue."""
        future: asyncio.Future[None] = self.loop.create_future()
        future.set_result(None)
        return Turn("placed", 0.0, False, future)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def call(deadline: float = 60.0) -> Call:
    loop = asyncio.get_running_loop()
    return Call(CallRecord(request_id="r", time=0.0), loop.time, lambda _: None, deadline)


def full(**limits: float) -> Admission:
    """One place, which is taken."""
    policy = LimitPolicy(max_in_flight=1, **limits)  # type: ignore[arg-type]
    admission = Admission(policy, asyncio.get_running_loop().time)
    assert admission.enter()
    return admission


async def test_keys_take_turns_and_each_line_is_first_come_first_served() -> None:
    admission, order = full(), []

    async def come(name: str) -> None:
        await admission.wait(call(), name[0])
        order.append(name)
        admission.leave()

    coming = [asyncio.create_task(come(name)) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
    await asyncio.sleep(0)
    admission.leave()
    await asyncio.gather(*coming)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert admission.open == 0


async def test_one_key_can_not_fill_the_queue_for_the_others() -> None:
    admission = full(max_queue=4)
    greedy = [asyncio.create_task(admission.wait(call(), "greedy")) for _ in range(4)]
    await asyncio.sleep(0)
    modest = asyncio.create_task(admission.wait(call(), "modest"))
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="no more may wait"):
        await greedy[-1]
    with pytest.raises(ApiError):
        await admission.wait(call(), "greedy")
    admission.leave()
    await greedy[0]
    admission.leave()
    await modest


async def test_a_caller_that_leaves_frees_its_place_in_the_queue() -> None:
    admission = full(max_queue=1)
    first = asyncio.create_task(admission.wait(call(), ""))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert admission.waiting == 0
    second = asyncio.create_task(admission.wait(call(), ""))
    await asyncio.sleep(0)
    admission.leave()
    await second


async def test_a_wait_ends_with_503_and_is_told_apart_from_overhead() -> None:
    admission, waiting = full(queue_timeout=0.01), call()
    with pytest.raises(ApiError) as refused:
        await admission.wait(waiting, "")
    assert (refused.value.status, refused.value.code) == (503, "proxy_overloaded")
    assert dict(refused.value.headers)["retry-after"] == "1"
    assert waiting.queued >= 0.01
    assert waiting.overhead() < waiting.queued
    assert admission.waiting == 0


async def test_a_callers_own_deadline_holds_in_the_queue() -> None:
    admission, hasty = full(queue_timeout=30), call()
    hasty.limit(0.01)
    with pytest.raises(ApiError) as refused:
        await admission.wait(hasty, "")
    assert (refused.value.status, refused.value.code) == (504, "request_timeout")


async def test_while_the_process_ends_nobody_enters_and_who_waits_still_may() -> None:
    admission = full()
    early = asyncio.create_task(admission.wait(call(), ""))
    await asyncio.sleep(0)
    admission.close()
    with pytest.raises(ApiError) as refused:
        await admission.wait(call(), "")
    assert refused.value.code == "proxy_stopping"
    assert ("connection", "close") in refused.value.headers
    admission.leave()
    await early
    admission.leave()
    assert not admission.enter()
    assert admission.open == 0
