"""One circuit and its permits. Everything that changes a circuit's state is in this file.

                 5 failures in a row, >= 50 % of >= 10 results in 60 s,
                 a 2nd "no such model" in a row, a refused key, an empty purse
      CLOSED ----------------------------------------------------------------> OPEN <---+
        ^                                                                       |  |    |
        |                    the opening has passed, and somebody asks          |  |    |
        |                      +------------------------------------------------+  |    | a failure
        | 2 successes          v                    an early probe succeeds        |    |
        +----------------- HALF_OPEN <---------------------------------------------+    |
                               +--------------------------------------------------------+

OPEN refuses, HALF_OPEN lends one permit at a time. A permit knows the generation of the circuit that
made it, so a result from before a change of state never moves the state. Two gates stand apart from the
circuit: one is shut while an upstream has asked for patience (Retry-After), one while an operator has
disabled the model. Times are seconds on the clock that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from proxy.dispatch.policy import BreakerPolicy
from proxy.dispatch.states import (
    DISABLED,
    KEY_REFUSED,
    QUOTA_EXHAUSTED,
    THROTTLED,
    CircuitView,
    Listener,
    Override,
    Refusal,
    State,
)
from proxy.dispatch.window import Window
from proxy.providers.failure import Effect

PROBE_WAIT = 1.0
"""Seconds after which asking again makes sense while a probe is on its way."""


class Permit:
    """Leave for one attempt. Settle it exactly once; settling it again does nothing."""

    __slots__ = ("_circuit", "generation")

    def __init__(self, circuit: Circuit) -> None:
        self._circuit: Circuit | None = circuit
        self.generation = circuit.generation

    def success(self) -> None:
        """The upstream answered: a stream reached its commit point."""
        circuit, self._circuit = self._circuit, None
        if circuit is not None:
            circuit.succeeded(self)

    def failure(self, effect: Effect, retry_after: float | None = None, gate: str = THROTTLED) -> None:
        """It didn't; `retry_after` shuts the model's gate for as many seconds, for the reason `gate`."""
        circuit, self._circuit = self._circuit, None
        if circuit is None:
            return
        if retry_after is not None:
            circuit.throttle(retry_after, gate)
        if effect is Effect.NEUTRAL:
            circuit.learned_nothing(self)
        else:
            circuit.failed(self, effect)

    def neutral(self) -> None:
        """Nothing was learned: the caller left, or the fault was the request's or ours."""
        circuit, self._circuit = self._circuit, None
        if circuit is not None:
            circuit.learned_nothing(self)


class Setting(Struct):
    """What all circuits of a process share."""

    policy: BreakerPolicy
    """A reload may exchange it."""
    clock: Callable[[], float]
    random: Callable[[], float]
    listener: Listener | None
    restless: set[str]
    """Models whose circuit isn't quiet: most of the time there are none, and nobody has to look further."""


_FORCED = {Override.OPEN: State.OPEN, Override.CLOSED: State.CLOSED}
"""An operator's decisions -> the state that they put the circuit in."""
_OPENINGS_LIMIT = 30
"""Doublings that are counted; far beyond any cap."""


class Circuit:
    """One model's circuit and its two gates."""

    __slots__ = (
        "_bad", "_disabled_until", "_failures", "_gate", "_lease_until", "_long", "_model", "_not_found",
        "_opened_at", "_openings", "_override", "_probe", "_reason", "_results", "_setting", "_since",
        "_state", "_successes", "_throttled_until", "_until", "generation", "quiet",
    )  # fmt: skip

    def __init__(self, model: str, setting: Setting) -> None:
        self._model = model
        self._setting = setting
        self._state = State.CLOSED
        self._override = Override.NONE
        self._reason = "start"
        self._since = setting.clock()
        self._results = Window(setting.policy.window)
        self._bad = Window(setting.policy.window)
        self._failures = self._successes = self._openings = 0
        self._not_found = False
        self._long = ""
        """The reason of an opening that is long."""
        self._gate = THROTTLED
        """Why the gate is shut, while it is."""
        self._probe: Permit | None = None
        self._until = self._opened_at = self._lease_until = 0.0
        self._throttled_until = self._disabled_until = 0.0
        self.generation = 0
        self.quiet = True
        """Closed, and nothing else stands in the way: `admit` needs no look at the clock."""

    # --- asking ---

    def refusal(self) -> Refusal | None:
        """Why there is no permit now. Changes nothing."""
        now = self._setting.clock()
        if now < self._disabled_until:
            return Refusal(DISABLED, self._disabled_until - now)
        if self._override is Override.OPEN:
            return Refusal(Override.OPEN.value, self._setting.policy.open_cap)
        opening, gate = self._until - now, self._throttled_until - now
        if opening > 0.0 or gate > 0.0:
            reason = self._long or "circuit_open" if opening >= gate else self._gate
            return Refusal(reason, max(opening, gate))
        if self.probing:
            return Refusal("probe_in_flight", PROBE_WAIT)
        return None

    def admit(self) -> Permit | Refusal:
        """Leave to ask the model, or why not."""
        refusal = self.refusal()
        if refusal is not None:
            return refusal
        if self._state is State.CLOSED:
            self._calm(True)
            return Permit(self)
        if self._state is State.OPEN:
            self._enter(State.HALF_OPEN, "the opening has passed")
        return self._lend()

    def badness(self) -> tuple[bool, float] | None:
        """Sorts circuits by how little hope there is; None: not even a probe may be sent."""
        now = self._setting.clock()
        gated = now < max(self._throttled_until, self._disabled_until)
        if self._override is Override.OPEN or gated or self.probing:
            return None
        return bool(self._long), max(self._until - now, 0.0)

    def probe_anyway(self) -> Permit | None:
        """A permit whatever the opening says, when a probe may be sent at all."""
        if self.badness() is None:
            return None
        permit = self.admit()
        return self._lend() if isinstance(permit, Refusal) else permit

    @property
    def probing(self) -> bool:
        """A probe is on its way, for all that is known."""
        return self._probe is not None and self._setting.clock() < self._lease_until

    def _lend(self) -> Permit:
        self._probe = Permit(self)
        self._lease_until = self._setting.clock() + self._setting.policy.probe_lease
        return self._probe

    # --- settling ---

    def succeeded(self, permit: Permit) -> None:
        """A permit came back: the upstream answered."""
        if permit.generation != self.generation or self._override is not Override.NONE:
            self.learned_nothing(permit)
        elif self._state is not State.CLOSED:
            self.learned_nothing(permit)
            self._probe_succeeded()
        else:
            self._failures = 0
            self._not_found = False
            now = self._setting.clock()
            self._results.add(now)
            if self._bad.held:
                self._judge(now)

    def failed(self, permit: Permit, effect: Effect) -> None:
        """A permit came back with a failure that counts."""
        if not self._heeds(permit):
            return
        self._failures += 1
        if effect is Effect.OPEN_AUTH:
            self._open(self._setting.policy.auth_open_for, "our key was refused", KEY_REFUSED)
        elif effect is Effect.OPEN_QUOTA:
            self._open(self._setting.policy.quota_open_for, "nothing is left to spend", QUOTA_EXHAUSTED)
        elif self._state is not State.CLOSED:
            self._open(self._next_opening(), "a probe failed")
        else:
            self._count_failure(effect)

    def learned_nothing(self, permit: Permit) -> None:
        """A permit came back; if it was the probe, the next one may go."""
        if permit is self._probe:
            self._probe = None

    def throttle(self, seconds: float, gate: str = THROTTLED) -> None:
        """Shuts the gate for so long; never shortens it."""
        until = self._setting.clock() + seconds
        if until > self._throttled_until:
            self._throttled_until, self._gate = until, gate
        self._calm(False)

    def _heeds(self, permit: Permit) -> bool:
        """Whether a result may move the state: not one from before a change, nor against an operator."""
        self.learned_nothing(permit)
        return permit.generation == self.generation and self._override is Override.NONE

    def _probe_succeeded(self) -> None:
        if self._state is State.OPEN:
            self._enter(State.HALF_OPEN, "an early probe succeeded")
        self._failures = 0
        self._successes += 1
        if self._successes >= self._setting.policy.successes_to_close:
            self._enter(State.CLOSED, "probes succeeded")

    def _count_failure(self, effect: Effect) -> None:
        again = self._not_found and effect is Effect.SECOND
        self._not_found = effect is Effect.SECOND
        now = self._setting.clock()
        self._results.add(now)
        self._bad.add(now)
        if again:
            self._open(self._next_opening(), "the upstream doesn't know the model")
        elif self._failures >= self._setting.policy.consecutive_failures:
            self._open(self._next_opening(), f"{self._failures} failures in a row")
        else:
            self._judge(now)

    def _judge(self, now: float) -> None:
        """Opens the circuit when the share of failures has become too high."""
        failures = self._bad.count(now)
        if not failures:
            return
        results, policy = self._results.count(now), self._setting.policy
        if results >= policy.min_results and failures >= policy.failure_ratio * results:
            self._open(self._next_opening(), f"{failures} of {results} failed")

    # --- changing ---

    def override_with(self, override: Override) -> None:
        """An operator's decision: it holds until the next one or `reset`. The same again changes nothing."""
        if self._override is not override:
            self._override = override
            self._enter(_FORCED[override], override.value)

    def disable(self, seconds: float) -> None:
        """Shuts the operator's gate for so long, whatever it was before; 0 opens it."""
        self._disabled_until = self._setting.clock() + seconds if seconds > 0.0 else 0.0
        self._calm(False)

    def reset(self, reason: str) -> None:
        """Closed, with no past, no throttle and nothing forced; what is disabled stays so."""
        self._override = Override.NONE
        self._throttled_until = 0.0
        self._openings = 0
        self._enter(State.CLOSED, reason)

    def reloaded(self, recount: bool) -> None:
        """The key or the purse may be another one: the next call is a probe.

        `recount`: the window is as long no more, and what was counted goes.
        """
        if recount:
            self._results = Window(self._setting.policy.window)
            self._bad = Window(self._setting.policy.window)
        if self._long:
            self._until = self._setting.clock()

    def retire(self) -> None:
        """Permits that are still out no longer move anything."""
        self.generation += 1
        self._setting.restless.discard(self._model)

    def _next_opening(self) -> float:
        """Seconds: each opening in a row is twice as long, up to the cap."""
        policy = self._setting.policy
        if self._state is State.CLOSED:
            healthy = int((self._setting.clock() - self._since) / policy.forget_after)
            self._openings = max(self._openings - healthy, 0)
        seconds = min(policy.open_for * 2.0**self._openings, policy.open_cap)
        self._openings = min(self._openings + 1, _OPENINGS_LIMIT)
        return seconds

    def _open(self, seconds: float, reason: str, long: str = "") -> None:
        jitter = self._setting.policy.open_jitter * (2.0 * self._setting.random() - 1.0)
        self._enter(State.OPEN, reason)
        self._until = self._since + seconds * (1.0 + jitter)
        self._long = long

    def _enter(self, state: State, reason: str) -> None:
        """The one place where the state changes; results of older permits no longer count."""
        old, self._state, self._reason = self._state, state, reason
        self._since = self._setting.clock()
        self.generation += 1
        self._probe = None
        self._successes = 0
        self._until = 0.0
        self._long = ""
        self._calm(state is State.CLOSED and not self._throttled_until and not self._disabled_until)
        if old is State.CLOSED:
            self._opened_at = self._since
        if state is State.CLOSED:
            self._failures = 0
            self._not_found = False
            self._results.clear()
            self._bad.clear()
        if old is not state and self._setting.listener is not None:
            self._setting.listener(self._model, old, state, reason)

    def _calm(self, quiet: bool) -> None:
        self.quiet = quiet
        (self._setting.restless.discard if quiet else self._setting.restless.add)(self._model)

    # --- reading ---

    def view(self) -> CircuitView:
        """Shows an opening that has passed as half-open, though the state changes only when asked."""
        now = self._setting.clock()
        passed = self._state is State.OPEN and self._override is Override.NONE and now >= self._until
        refusal = self.refusal()
        return CircuitView(
            state=State.HALF_OPEN if passed else self._state,
            override=self._override,
            reason=self._reason,
            failures=self._failures,
            window_failures=self._bad.peek(now),
            window_results=self._results.peek(now),
            openings=self._openings,
            opened_for=0.0 if self._state is State.CLOSED else now - self._opened_at,
            retry_after=refusal.retry_after if refusal is not None else 0.0,
            throttled_for=max(self._throttled_until - now, 0.0),
            probing=self.probing,
            disabled=now < self._disabled_until,
        )
