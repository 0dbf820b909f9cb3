"""One process's part in what an operator orders and sees: its circuits, what it observed and learned."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from math import inf

from msgspec import to_builtins

from proxy.dispatch.breaker import Breakers
from proxy.dispatch.stats import Observed, Stats
from proxy.routing.adapt import Adapt
from proxy.server.health import Health
from proxy.server.learned import Moves
from proxy.server.orders import Action, Disabled, Orders


def heed(breakers: Breakers, old: Orders, new: Orders, models: Iterable[str], now: float) -> None:
    """Brings the circuits of these models from the old orders to the new ones. `now` is Unix time."""
    for model in models:
        if model in new.disabled:
            breakers.disable(model, _seconds(new.disabled[model], now))
        elif model in old.disabled:
            breakers.enable(model)
        forced = new.forced.get(model)
        if forced is not None and forced != old.forced.get(model):
            force = breakers.force_open if forced.to is Action.OPEN else breakers.force_close
            force(model)


def obstacle(breakers: Breakers, orders: Orders, model: str) -> str:
    """For a reader: why this model may not be asked now; nothing when it may."""
    order = orders.disabled.get(model)
    if order is None or not order.holds(time.time()):
        return breakers.obstacle(model)
    return disabled(order)


def disabled(order: Disabled) -> str:
    """For a reader: until when, and why."""
    return f"disabled{_until(order)}{f': {order.reason}' if order.reason else ''}"


def health(
    models: Iterable[str], breakers: Breakers, stats: Stats, adapt: Adapt, in_flight: Mapping[str, int]
) -> dict[str, Health]:
    """How each of these models is doing here. `in_flight` counts open calls, 0 of a model that has none."""
    observed, moved = stats.snapshot(), moves(adapt)
    return {
        model: Health(
            circuit=to_builtins(breakers.view(model)),
            observed=to_builtins(observed.get(model, Observed())),
            in_flight=in_flight.get(model, 0),
            moved=moved.get(model, {}),
        )
        for model in models
    }


def moves(adapt: Adapt) -> Moves:
    """How far lasting evidence has moved which terms."""
    adapt.fade()
    return {
        model: {str(signal): shift.by for signal, shift in shifts.items()}
        for model, shifts in adapt.shifts().items()
    }


def forget(adapt: Adapt, model: str | None) -> Moves:
    """Takes one model, or all, for what the registry says; what it had been moved by."""
    moved = moves(adapt)
    adapt.reset(model)
    return {id: terms for id, terms in moved.items() if model in (None, id)}


def _seconds(order: Disabled, now: float) -> float:
    return inf if order.until is None else max(order.until - now, 0.0)


def _until(order: Disabled) -> str:
    if order.until is None:
        return ""
    return time.strftime(" until %Y-%m-%dT%H:%M:%SZ", time.gmtime(order.until))
