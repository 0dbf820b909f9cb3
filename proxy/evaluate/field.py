"""Graded outcomes by column; which of their models the registry has, and which play a role.

`weak` and `strong` are roles: between these two difficulty decides. A name that outcomes use is a registry
model's when it is its id, an alias, its upstream's name, or the last part of one of them, in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from proxy.errors import ConfigError
from proxy.evaluate.curve import Pair
from proxy.evaluate.rows import Graded
from proxy.types import Model

WEAK, STRONG = ROLES = ("weak", "strong")

Columns = Mapping[str, Sequence[float]]
"""Model -> one value per ask."""


class Field(Struct, frozen=True):
    """Graded outcomes by column, and between which two models the curve runs."""

    quality: dict[str, list[float]]
    """0..1."""
    cost: dict[str, list[float]]
    """USD."""
    lengths: list[float]
    """Characters of each ask."""
    weak: str
    strong: str

    @property
    def rows(self) -> int:
        """How many asks there are."""
        return len(self.lengths)

    def pair(self) -> Pair:
        """The weak and the strong model."""
        quality, cost = self.quality, self.cost
        return Pair(
            [after - before for before, after in zip(quality[self.weak], quality[self.strong], strict=True)],
            [after - before for before, after in zip(cost[self.weak], cost[self.strong], strict=True)],
        )


def gather(rows: Sequence[Graded], roles: Mapping[str, str]) -> Field:
    """Rows as columns. `roles` may name the weak and the strong model."""
    quality = {model: [row.q[model] for row in rows] for model in rows[0].q}
    cost = {model: [row.cost[model] for row in rows] for model in rows[0].q}
    weak, strong = ends(quality, cost)
    lengths = [float(len(_text(row))) for row in rows]
    return Field(quality, cost, lengths, roles.get(WEAK, weak), roles.get(STRONG, strong))


def ends(quality: Columns, cost: Columns) -> tuple[str, str]:
    """The cheapest model and the best one: between these money buys quality. Of equals the better, and the
    cheaper."""
    means = {model: (sum(quality[model]), sum(cost[model])) for model in quality}
    weak = min(means, key=lambda model: (means[model][1], -means[model][0]))
    strong = max(means, key=lambda model: (means[model][0], -means[model][1]))
    return weak, strong


def named(given: str, names: Iterable[str], models: Iterable[Model]) -> dict[str, str]:
    """`A=B,...` as {registry id or role: name in the outcomes}. Raises ConfigError for what is neither."""
    names, ids = set(names), {model.id for model in models}
    found, problems = {}, []
    for part in filter(None, given.split(",")):
        who, _, name = part.partition("=")
        if who not in ids and who not in (WEAK, STRONG):
            problems.append(f"--models: {who!r} is no ready model of the registry, nor {WEAK} or {STRONG}")
        elif name not in names:
            problems.append(f"--models: {name!r} is none of the outcomes' models: {', '.join(sorted(names))}")
        found[who] = name
    if found.get(WEAK, "") == found.get(STRONG):
        problems.append(f"--models: {WEAK} and {STRONG} are the same model")
    if problems:
        raise ConfigError(problems)
    return found


def known(names: Iterable[str], models: Iterable[Model]) -> dict[str, str]:
    """{registry id: name in the outcomes} of those that carry the same name; of several, the first."""
    told = {name.casefold(): name for name in names}
    found: dict[str, str] = {}
    for model in models:
        for name in _names(model):
            if name in told and told[name] not in found.values():
                found.setdefault(model.id, told[name])
    return found


def graded(names: Iterable[str], told: Mapping[str, str], models: Sequence[Model]) -> dict[str, str]:
    """{registry id: name in the outcomes}, as `told` by `named`, else by the same name."""
    return {**known(names, models), **{id: name for id, name in told.items() if id not in ROLES}}


def _names(model: Model) -> list[str]:
    whole = [name.casefold() for name in (model.id, *model.aliases, model.upstream_model)]
    return [*whole, *(name.rpartition("/")[2] for name in whole)]


def _text(row: Graded) -> str:
    """What prompt length is measured of: everything that somebody said."""
    prompt = row.body.get("prompt")
    if isinstance(prompt, str):
        return prompt
    messages = row.body.get("messages", ())
    return "\n".join(str(message.get("content")) for message in messages if isinstance(message, dict))
