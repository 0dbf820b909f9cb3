"""Circuits under every order of events, against a reference that keeps everything and forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.dispatch.breaker import Breakers, Permit, Refusal
from proxy.dispatch.policy import BreakerPolicy
from proxy.providers.failure import Effect

MODELS = ("a", "b")
LONG = {Effect.OPEN_AUTH: (600.0, "key_refused"), Effect.OPEN_QUOTA: (300.0, "quota_exhausted")}


@dataclass
class Reference:
    """One circuit, written for reading: numbers in lists, no short cuts, no jitter."""

    since: float
    state: str = "closed"
    epoch: int = 0
    results: list[tuple[float, str]] = field(default_factory=list)
    row: int = 0
    openings: int = 0
    until: float = 0.0
    long: str = ""
    gate: float = 0.0
    probe: tuple[int, float] | None = None
    wins: int = 0
    forced: str | None = None
    disabled: float = 0.0

    def refusal(self, now: float) -> str | None:
        if self.disabled > now:
            return "disabled"
        if self.forced == "forced_open":
            return self.forced
        if max(self.until, self.gate) > now:
            return (self.long or "circuit_open") if self.until >= self.gate else "throttled"
        return "probe_in_flight" if self.probe and self.probe[1] > now else None

    def admitted(self, ticket: int, now: float) -> None:
        if self.state == "open" and self.until <= now:
            self.enter("half_open", now)
        if self.state != "closed":
            self.probe = (ticket, now + 60)

    def enter(self, state: str, now: float, lasts: float = 0.0, long: str = "") -> None:
        self.state, self.since, self.until, self.long = state, now, now + lasts if lasts else 0.0, long
        self.epoch, self.probe, self.wins = self.epoch + 1, None, 0
        if state == "closed":
            self.results, self.row = [], 0

    def reopen(self, now: float) -> None:
        if self.state == "closed":
            self.openings = max(0, self.openings - int((now - self.since) // 60))
        self.openings += 1
        self.enter("open", now, min(5.0 * 2 ** (self.openings - 1), 15.0))

    def settled(self, ticket: int, epoch: int, result: str, now: float) -> None:
        if self.probe and self.probe[0] == ticket:
            self.probe = None
        if result == "neutral" or epoch != self.epoch or self.forced:
            return
        if result in LONG:
            self.enter("open", now, *LONG[Effect(result)])
        elif self.state != "closed":
            self.probed(result == "success", now)
        else:
            self.results.append((now, result))
            self.row = 0 if result == "success" else self.row + 1
            if self.should_open(now):
                self.reopen(now)

    def probed(self, success: bool, now: float) -> None:
        if not success:
            self.reopen(now)
            return
        wins = self.wins + 1
        if self.state == "open":
            self.enter("half_open", now)
        self.wins = wins
        if wins == 2:
            self.enter("closed", now)

    def should_open(self, now: float) -> bool:
        recent = [result for at, result in self.results if at // 5 > now // 5 - 12]
        bad = sum(result != "success" for result in recent)
        twice = [result for _, result in self.results[-2:]] == ["second", "second"]
        return self.row >= 5 or twice or (len(recent) >= 10 and bad / len(recent) >= 0.5)


@dataclass
class Ticket:
    """A permit that is out, and what the reference knows of it."""

    number: int
    permit: Permit
    reference: Reference
    epoch: int


class Circuits(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 10_000.0
        self.breakers = Breakers(BreakerPolicy(), lambda: self.now, lambda: 0.5)
        self.references: dict[str, Reference] = {}
        self.out: list[Ticket] = []
        self.tickets: Iterator[int] = iter(range(10**9))

    def reference(self, model: str) -> Reference:
        return self.references.setdefault(model, Reference(self.now))

    def take(self, model: str, permit: Permit) -> None:
        reference, number = self.reference(model), next(self.tickets)
        reference.admitted(number, self.now)
        self.out.append(Ticket(number, permit, reference, reference.epoch))

    @rule(model=st.sampled_from(MODELS))
    def admit(self, model: str) -> None:
        expected = self.reference(model).refusal(self.now)
        answer = self.breakers.admit(model)
        if isinstance(answer, Refusal):
            assert answer.reason == expected
            assert answer.retry_after > 0
        else:
            assert expected is None
            self.take(model, answer)

    @rule(model=st.sampled_from(MODELS))
    def probe_anyway(self, model: str) -> None:
        reference = self.reference(model)
        shut = reference.forced == "forced_open" or max(reference.gate, reference.disabled) > self.now
        busy = reference.probe is not None and reference.probe[1] > self.now
        permit = self.breakers.probe_anyway(model)
        assert (permit is None) == (shut or busy)
        if permit is not None:
            self.take(model, permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), result=st.sampled_from(["success", "neutral", *Effect]))
    def settle(self, data: st.DataObject, result: str) -> None:
        self.finish(self.out.pop(data.draw(st.integers(0, len(self.out) - 1))), result)

    @rule(
        model=st.sampled_from(MODELS),
        results=st.lists(st.sampled_from(["success", "failure", "failure", "second"]), max_size=12),
    )
    def run(self, model: str, results: list[str]) -> None:
        """A stretch of plain traffic, which gets further than single steps."""
        for result in results:
            permit = self.breakers.admit(model)
            if isinstance(permit, Refusal):
                return
            self.take(model, permit)
            self.finish(self.out.pop(), result)

    def finish(self, ticket: Ticket, result: str) -> None:
        if result == "success":
            ticket.permit.success()
        elif result == "neutral":
            ticket.permit.neutral()
        else:
            ticket.permit.failure(Effect(result))
        ticket.reference.settled(ticket.number, ticket.epoch, result, self.now)
        ticket.permit.failure(Effect.OPEN_AUTH)  # a second settling must not count

    @precondition(lambda self: self.out)
    @rule()
    def lose(self) -> None:
        self.out.pop(0)

    @rule(seconds=st.sampled_from([0.5, 2.5, 5.0, 7.5, 15.0, 59.5, 60.0, 300.0, 600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(model=st.sampled_from(MODELS), seconds=st.sampled_from([0.0, 1.0, 20.0]))
    def throttle(self, model: str, seconds: float) -> None:
        self.breakers.throttle(model, seconds)
        reference = self.reference(model)
        reference.gate = max(reference.gate, self.now + seconds)

    @rule(
        model=st.sampled_from(MODELS),
        decision=st.sampled_from(
            [
                ("force_open", "forced_open", "open"),
                ("force_close", "forced_closed", "closed"),
                ("reset", None, "closed"),
            ]
        ),
    )
    def operate(self, model: str, decision: tuple[str, str | None, str]) -> None:
        method, forced, state = decision
        getattr(self.breakers, method)(model)
        reference = self.reference(model)
        reference.forced = forced
        reference.enter(state, self.now)
        if forced is None:
            reference.openings, reference.gate = 0, 0.0

    @rule(model=st.sampled_from(MODELS), seconds=st.sampled_from([0.0, 5.0, 60.0, inf]))
    def disable(self, model: str, seconds: float) -> None:
        self.breakers.disable(model, seconds)
        self.reference(model).disabled = self.now + seconds

    @rule(kept=st.sets(st.sampled_from(MODELS)))
    def reload(self, kept: set[str]) -> None:
        self.breakers.retain(kept)
        self.references = {model: ref for model, ref in self.references.items() if model in kept}
        for reference in self.references.values():
            if reference.long:
                reference.until = self.now

    @invariant()
    def they_agree(self) -> None:
        for model, view in self.breakers.snapshot().items():
            reference = self.reference(model)
            passed = reference.state == "open" and not reference.forced and reference.until <= self.now
            assert view.state == ("half_open" if passed else reference.state)
            refusal = reference.refusal(self.now)
            assert self.breakers.available(model) == (refusal is None)
            assert (view.retry_after > 0) == (refusal is not None)
            if refusal in ("circuit_open", "key_refused", "quota_exhausted", "throttled"):
                assert view.retry_after == max(reference.until, reference.gate) - self.now

    @invariant()
    def all_that_are_shut_are_found_at_once(self) -> None:
        refused = {model for model, known in self.references.items() if known.refusal(self.now) is not None}
        assert self.breakers.shut(frozenset(MODELS)) == refused

    @invariant()
    def a_circuit_that_is_not_closed_has_one_live_probe_at_most(self) -> None:
        for reference in self.references.values():
            assert reference.probe is None or reference.state != "closed"

    def teardown(self) -> None:
        """However it stood, and whatever was lost: time and two successes close every circuit."""
        for model, reference in self.references.items():
            if reference.forced:
                continue
            self.breakers.enable(model)
            self.now += 1000
            for _ in range(2):
                permit = self.breakers.admit(model)
                assert isinstance(permit, Permit)
                permit.success()
            assert self.breakers.snapshot()[model].state == "closed"


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=150, derandomize=True, stateful_step_count=50, deadline=None)
