"""What an operator has ordered beside the configuration: models out of service, circuits forced.

    Command --obey--> Orders    all that is in force, given to every process, also to those that start later
                      Ruling    the orders, and what was there before, for who commanded and for the log

Decides alone: the clock is an argument. Times are Unix seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

LONGEST = 366 * 86400.0
"""Seconds ahead that an end may be."""
REASON_LIMIT = 200
"""Characters of a reason."""


class Action(StrEnum):
    """What an operator can do to a model."""

    DISABLE = "disable"
    """Out of service: it is asked nothing, until then or until it is enabled."""
    ENABLE = "enable"
    OPEN = "open"
    """Its circuit lets no call through, whatever the results were."""
    CLOSE = "close"
    """Its circuit lets every call through, whatever the results are."""
    RESET = "reset"
    """Its circuit goes by its own judgement again, with nothing held against it."""


KEPT = frozenset({Action.DISABLE, Action.ENABLE})
"""What outlasts a restart."""


class Disabled(Struct, frozen=True):
    """A model that is out of service."""

    since: float
    until: float | None = None
    """None: until further notice."""
    reason: str = ""
    by: str = ""
    """The name of an admin key."""

    def holds(self, now: float) -> bool:
        """Whether it is still out of service."""
        return self.until is None or now < self.until


class Forced(Struct, frozen=True):
    """A circuit that doesn't go by its own judgement."""

    to: Action
    """`open` or `close`."""
    since: float
    by: str = ""


Order = TypeVar("Order", Disabled, Forced)


class Orders(Struct, frozen=True):
    """All that is in force, by registry id. Models that the registry doesn't have now stay in it."""

    disabled: dict[str, Disabled] = {}
    forced: dict[str, Forced] = {}

    def current(self, now: float) -> Orders:
        """Without what has ended."""
        held = {model: order for model, order in self.disabled.items() if order.holds(now)}
        return replace(self, disabled=held)

    def bars(self, model: str) -> bool:
        """Whether no call may reach the model: it is disabled, or its circuit is forced open."""
        forced = self.forced.get(model)
        return model in self.disabled or (forced is not None and forced.to is Action.OPEN)


class Command(Struct, frozen=True):
    """One model, and what is to become of it. `until` and `reason` go with `disable`."""

    action: Action
    model: str
    by: str
    until: float | None = None
    reason: str = ""


class Ruling(Struct, frozen=True):
    """What every process is to do about a command, and what is told of it."""

    command: Command
    orders: Orders
    """In force from now on."""
    old: Disabled | Forced | None
    new: Disabled | Forced | None
    kept: bool | None = None
    """Whether it will outlast a restart; None: it was never meant to."""

    @property
    def changed(self) -> bool:
        """Something is other than before. A reset always makes the past count no more."""
        return self.old != self.new or self.command.action is Action.RESET


def obey(orders: Orders, command: Command, now: float) -> Ruling:
    """The orders in force afterwards. The same command again changes nothing."""
    before = orders.current(now)
    if command.action in KEPT:
        return _serve(before, command, now)
    old = before.forced.get(command.model)
    new = None if command.action is Action.RESET else Forced(command.action, now, command.by)
    if old is not None and new is not None and old.to is new.to:
        new = old
    return Ruling(command, replace(before, forced=_with(before.forced, command.model, new)), old, new)


def _serve(before: Orders, command: Command, now: float) -> Ruling:
    old = before.disabled.get(command.model)
    new = None
    if command.action is Action.DISABLE:
        new = Disabled(now, command.until, command.reason, command.by)
        if old is not None and (old.until, old.reason) == (new.until, new.reason):
            new = old
    return Ruling(command, replace(before, disabled=_with(before.disabled, command.model, new)), old, new)


def _with(orders: dict[str, Order], model: str, order: Order | None) -> dict[str, Order]:
    others = {name: each for name, each in orders.items() if name != model}
    return others if order is None else {**others, model: order}


# --- what outlasts a restart -----------------------------------------------------------------------


class Stored(Struct, frozen=True):
    """The file's shape."""

    disabled: dict[str, Disabled]
    version: int = 1


def stored(orders: Orders) -> bytes:
    """What is written: a restart ends what circuits were forced to."""
    return msgspec.json.format(msgspec.json.encode(Stored(orders.disabled)), indent=2) + b"\n"


def restored(data: bytes, now: float) -> Orders:
    """What was written, without what has ended. Raises ValueError, which says what is wrong."""
    try:
        found = msgspec.json.decode(data, type=Stored)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    if found.version != 1:
        raise ValueError(f"version {found.version} is not known here")
    return Orders(found.disabled).current(now)
