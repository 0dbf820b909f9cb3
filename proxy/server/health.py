"""How a model is doing, in each process and in all of them together.

    Look --every worker that serves--> Health of each model --circuit, observed--> ModelState, for a reader

Circuits and observations are each worker's own: they may differ, and are shown apart as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

from msgspec import Struct

from proxy.server.orders import Disabled, Forced, Orders
from proxy.types import Model


class Look(Struct, frozen=True):
    """Asks every worker for the health of its models."""


class Health(Struct, frozen=True):
    """One model as one process sees it."""

    circuit: dict[str, Any]
    """State, why, and the seconds until it may be asked: null is until further notice."""
    observed: dict[str, Any]
    """Success (0..1), seconds to the first token, tokens a second, and how many attempts that rests on."""
    in_flight: int = 0
    """Calls whose latest attempt is at it."""
    moved: dict[str, float] = {}
    """Terms that lasting evidence has moved (`adapt`), and by how much."""


class Heard(Struct, frozen=True):
    """What the workers said."""

    workers: dict[str, dict[str, Health]]
    """Worker -> model -> its health."""
    silent: tuple[str, ...] = ()
    """Workers that said nothing in time."""

    def of(self, model: str) -> dict[str, Health]:
        """By worker. One that hasn't taken the model up yet is missing."""
        return {name: seen[model] for name, seen in sorted(self.workers.items()) if model in seen}


class ModelState(Struct, frozen=True):
    """A model, and how it is doing in all workers together and in each."""

    id: str
    ready: bool
    """False: the registry doesn't have it any more, or its provider lacks a key; only the order is left."""
    provider: str | None
    upstream_model: str | None
    aliases: tuple[str, ...]
    disabled: Disabled | None
    """Null: it is in service."""
    forced: Forced | None
    """Null: its circuit goes by its own judgement."""
    circuit: dict[str, Any] | None
    """That of the worker where it is worst, and how many are in which state."""
    observed: dict[str, Any] | None
    """Means over the workers; null: no attempt was seen."""
    in_flight: int
    workers: dict[str, Health]
    """As each worker sees it."""


class ModelStates(Struct, frozen=True):
    """Every ready model, then those that are only disabled."""

    data: list[ModelState]
    workers: tuple[str, ...]
    """Those that were heard."""
    silent: tuple[str, ...]
    """Those that said nothing in time: what they see is missing here."""
    object: str = "list"


def states(models: Sequence[Model], orders: Orders, heard: Heard) -> ModelStates:
    """Of all of them."""
    known = {model.id: model for model in models}
    gone = [model for model in orders.disabled if model not in known]
    shown = [state(id, known, orders, heard) for id in (*known, *gone)]
    return ModelStates(shown, tuple(sorted(heard.workers)), heard.silent)


def state(id: str, known: Mapping[str, Model], orders: Orders, heard: Heard) -> ModelState:
    """Of one of them; `known` are the ready ones."""
    model, seen = known.get(id), heard.of(id)
    return ModelState(
        id=id,
        ready=model is not None,
        provider=model.provider if model is not None else None,
        upstream_model=model.upstream_model if model is not None else None,
        aliases=model.aliases if model is not None else (),
        disabled=orders.disabled.get(id),
        forced=orders.forced.get(id),
        circuit=circuit(seen.values()),
        observed=observed(seen.values()),
        in_flight=sum(each.in_flight for each in seen.values()),
        workers=seen,
    )


OPENNESS = {"closed": 0, "half_open": 1, "open": 2}
"""Of circuits: the worst one speaks for all."""


def circuit(seen: Iterable[Health]) -> dict[str, Any] | None:
    """That of the worker where it is worst, and how many are in which state."""
    circuits = [each.circuit for each in seen]
    if not circuits:
        return None
    worst = max(circuits, key=lambda each: (OPENNESS[each["state"]], _wait(each)))
    return {**worst, "workers": {state: _count(circuits, state) for state in OPENNESS}}


def observed(seen: Iterable[Health]) -> dict[str, Any] | None:
    """Means over the workers, each weighing as much as it has seen; the slowest p95. None: nothing was."""
    views = [each.observed for each in seen if each.observed["evidence"]]
    if not views:
        return None
    slowest = [view["p95"] for view in views if view["p95"] is not None]
    return {
        **{name: _mean(views, name) for name in ("success", "ttft", "speed")},
        "evidence": sum(view["evidence"] for view in views),
        "p95": max(slowest, default=None),
    }


def _wait(view: Mapping[str, Any]) -> float:
    wait = view["retry_after"]
    return inf if wait is None else float(wait)


def _count(circuits: Iterable[Mapping[str, Any]], state: str) -> int:
    return sum(each["state"] == state for each in circuits)


def _mean(views: Iterable[Mapping[str, Any]], name: str) -> float | None:
    known = [(float(view[name]), float(view["evidence"])) for view in views if view[name] is not None]
    weight = sum(evidence for _, evidence in known)
    return sum(value * evidence for value, evidence in known) / weight if known else None
