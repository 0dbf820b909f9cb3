"""Circuits by model: who may be asked now. How one circuit moves is in `circuit.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from proxy.dispatch.circuit import Circuit, Permit, Setting
from proxy.dispatch.policy import BreakerPolicy
from proxy.dispatch.states import (
    GATES,
    KEY_REFUSED,
    QUOTA_EXHAUSTED,
    CircuitView,
    Listener,
    Override,
    Refusal,
    State,
)

__all__ = ["Breakers", "CircuitView", "Listener", "Override", "Permit", "Refusal", "State"]


_NONE: frozenset[str] = frozenset()
_PASSING = frozenset({"circuit_open", KEY_REFUSED, QUOTA_EXHAUSTED, "disabled", *GATES.values()})
"""Reasons that end by themselves, at a known time."""


class Breakers:
    """The circuits of one process by registry id; a model not seen before starts closed."""

    def __init__(
        self,
        policy: BreakerPolicy,
        clock: Callable[[], float],
        random: Callable[[], float],
        listener: Listener | None = None,
    ) -> None:
        self._setting = Setting(policy, clock, random, listener, set())
        self._circuits: dict[str, Circuit] = {}

    def admit(self, model_id: str) -> Permit | Refusal:
        """Leave to ask the model, or why not."""
        circuit = self._circuits.get(model_id) or self._circuit(model_id)
        if circuit.quiet:
            return Permit(circuit)
        return circuit.admit()

    def available(self, model_id: str) -> bool:
        """Whether `admit` would give a permit now. Changes nothing."""
        circuit = self._circuits.get(model_id)
        return circuit is None or circuit.quiet or circuit.refusal() is None

    def shut(self, model_ids: frozenset[str]) -> frozenset[str]:
        """Those of them that `admit` would refuse now. Changes nothing."""
        restless = self._setting.restless
        if not restless:
            return _NONE
        return frozenset([model for model in restless & model_ids if not self.available(model)])

    def obstacle(self, model_id: str) -> str:
        """For a reader: why `admit` would refuse the model now; nothing when it wouldn't."""
        circuit = self._circuits.get(model_id)
        refusal = circuit.refusal() if circuit is not None else None
        if refusal is None:
            return ""
        reason = refusal.reason.replace("_", " ")
        ends = refusal.reason in _PASSING and refusal.retry_after < inf
        return f"{reason}, {refusal.retry_after:.1f} s left" if ends else reason

    def least_bad(self, model_ids: Iterable[str]) -> str | None:
        """Of models that are all refused, the one that a probe is best spent on; None: none may be probed, or
        one of them is being probed already.

        Short openings come before refused keys and empty purses, then the one that would open next, then
        the given order.
        """
        circuits = {model: self._circuit(model) for model in model_ids}
        if any(circuit.probing for circuit in circuits.values()):
            return None
        badness = {model: circuit.badness() for model, circuit in circuits.items()}
        probed = {model: bad for model, bad in badness.items() if bad is not None}
        return min(probed, key=probed.__getitem__, default=None)

    def probe_anyway(self, model_id: str) -> Permit | None:
        """A permit for a probe before the opening has passed, one at a time.

        Its success makes the circuit half-open, its failure opens it anew, anything else leaves it as it
        was. None: a probe is on its way, the upstream asked for patience, or an operator shut the circuit.
        """
        return self._circuit(model_id).probe_anyway()

    def throttle(self, model_id: str, seconds: float) -> None:
        """Shuts the model's gate for so long, whatever the circuit says. Never shortens it."""
        self._circuit(model_id).throttle(seconds)

    def force_open(self, model_id: str) -> None:
        """Refuses every call until `force_close` or `reset`."""
        self._circuit(model_id).override_with(Override.OPEN)

    def force_close(self, model_id: str) -> None:
        """Closes the circuit and keeps it closed, whatever happens, until `force_open` or `reset`."""
        self._circuit(model_id).override_with(Override.CLOSED)

    def disable(self, model_id: str, seconds: float = inf) -> None:
        """Takes the model out of service for so long; what its circuit has learned stays."""
        self._circuit(model_id).disable(seconds)

    def enable(self, model_id: str) -> None:
        """Takes it back into service."""
        self._circuit(model_id).disable(0.0)

    def reset(self, model_id: str) -> None:
        """Closed, with no past, no throttle and nothing forced; a disabled model stays so."""
        self._circuit(model_id).reset("reset")

    def retain(self, model_ids: Iterable[str], policy: BreakerPolicy | None = None) -> None:
        """A reload: circuits of other models go; those that opened for a key or a purse are tried again.

        A new `policy` holds from here on; openings that have begun last as long as they were to.
        """
        kept = set(model_ids)
        policy = policy or self._setting.policy
        recount = policy.window != self._setting.policy.window
        self._setting.policy = policy
        for model_id in [m for m in self._circuits if m not in kept]:
            self._circuits.pop(model_id).retire()
        for circuit in self._circuits.values():
            circuit.reloaded(recount)

    def view(self, model_id: str) -> CircuitView:
        """One circuit; of a model not seen before the one that it starts with."""
        return self._circuit(model_id).view()

    def snapshot(self) -> dict[str, CircuitView]:
        """Every circuit that was ever asked for."""
        return {model_id: circuit.view() for model_id, circuit in self._circuits.items()}

    def _circuit(self, model_id: str) -> Circuit:
        circuit = self._circuits.get(model_id)
        if circuit is None:
            circuit = self._circuits[model_id] = Circuit(model_id, self._setting)
        return circuit
