"""What is said of a circuit: its state, what an operator decided, why it refuses, how a reader sees it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from proxy.types import FailureKind

DISABLED = "disabled"
"""The reason of a refusal by the operator's gate."""
KEY_REFUSED, QUOTA_EXHAUSTED = "key_refused", "quota_exhausted"
"""The reasons of a refusal by a long opening: nobody is to blame but us, and callers are told so."""

THROTTLED = "throttled"
GATES = {
    FailureKind.RATE_LIMIT: THROTTLED,
    FailureKind.UNAVAILABLE: "unavailable",
    FailureKind.OVERLOADED: "overloaded",
}
"""What shuts the Retry-After gate -> the reason of its refusals: whoever comes next is told the same. Every
kind that throttles has a row (a test holds this)."""


class State(StrEnum):
    """Of a circuit."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Override(StrEnum):
    """What an operator decided; while there is one, results change nothing."""

    NONE = "none"
    OPEN = "forced_open"
    CLOSED = "forced_closed"


class Refusal(Struct, frozen=True):
    """No permit: `circuit_open`, `key_refused`, `quota_exhausted`, `throttled`, `unavailable`, `overloaded`,
    `probe_in_flight`, `disabled` or `forced_open`."""

    reason: str
    retry_after: float
    """Seconds; infinite for a model that is disabled until further notice."""


class CircuitView(Struct, frozen=True):
    """A circuit as a reader sees it."""

    state: State
    override: Override
    reason: str
    """What led to this state."""
    failures: int
    """In a row."""
    window_failures: int
    window_results: int
    openings: int
    """In a row, less what health has taken off; the next opening is twice as long for each."""
    opened_for: float
    """Since it opened; 0 when closed."""
    retry_after: float
    """Until it may be asked; 0 when it may now, infinite until further notice."""
    throttled_for: float
    """Until the Retry-After gate opens; 0 when it is open."""
    probing: bool
    """A probe is on its way."""
    disabled: bool
    """An operator has taken the model out of service."""


Listener = Callable[[str, State, State, str], None]
"""Takes model, old state, new state and reason. Must not raise."""
