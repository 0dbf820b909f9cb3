"""An operator's orders, as one process carries them out: gates and forced states of its circuits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from math import inf

from proxy.dispatch.breaker import Breakers
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
    return f"disabled{_until(order)}{f': {order.reason}' if order.reason else ''}"


def _seconds(order: Disabled, now: float) -> float:
    return inf if order.until is None else max(order.until - now, 0.0)


def _until(order: Disabled) -> str:
    if order.until is None:
        return ""
    return time.strftime(" until %Y-%m-%dT%H:%M:%SZ", time.gmtime(order.until))
