"""Looks for better weights of a profile on some graded asks, and judges them on others that it never saw.

    asks --split--> half to search --search--> weights --router--> choices --\\
                    half unseen -------------------------------------------- compare --> Trial, a verdict

What is judged is the *worth* of the models that are chosen: the profile's own total, with the graded quality
and the paid cost in place of what was expected of them, per unit of its weight of quality. So money and time
have the price that the operator gave them: weights can't look better by spending more, or by being slow where
no outcome tells of time. And they can't talk themselves into it step by step either: the price stays that of
the weights which the operator wrote, whatever a trial has put in their place since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import product

from msgspec import Struct

from proxy.evaluate.resample import LEVEL, Chance, Estimate, clustered, draws, estimate, evenly, mean, mean_of

Weighing = Mapping[str, float]
"""Term -> its weight."""

QUALITY, SUCCESS, LATENCY, COST = "quality", "success", "latency", "cost"
VARIED = (LATENCY, COST)
"""Quality keeps its weight, for only ratios count; success is 1 for every model of which nothing was seen."""
FACTORS = tuple(2.0 ** (half / 2) for half in range(-6, 7))
"""By which a weight is tried: an eighth to eight times."""
MOST = 10.0
"""No weight is more."""
DIGITS = 3
"""Significant ones of a proposed weight."""
LEAST_ROWS = 100
"""In both halves together, and half of it in each: fewer show nothing."""
LEAST_GROUPS = 4
"""From so many on the halves share no group."""
LEAST_CHANGED = 20
"""Unseen asks that the new weights give to another model: an interval of fewer is too narrow."""


class Ask(Struct, frozen=True):
    """A graded ask, among the models that could be chosen for it."""

    terms: dict[str, Weighing]
    """Model -> what the router expects: its terms, 0..1 each."""
    quality: dict[str, float]
    """Model -> how good its answer was, 0..1."""
    cost: dict[str, float]
    """Model -> USD."""
    paid: dict[str, float]
    """Model -> the cost term of that."""
    choice: str
    """The router's, by the weights in force."""
    scored: bool
    """It chose by the scores; a rule, say, chooses whatever the weights are."""
    group: str = "?"


class Side(Struct, frozen=True):
    """One set of weights on the unseen asks."""

    weights: dict[str, float]
    worth: Estimate
    quality: Estimate
    cost: Estimate
    """USD per ask."""


class Trial(Struct, frozen=True):
    """The former weights and the proposed ones, on the asks that the search never saw."""

    profile: str
    searched: int
    """Asks that the proposed weights were found on."""
    judged: int
    """Unseen ones."""
    changed: int
    """Of these, those that go to another model ..."""
    met: int | None
    """... which it was left to chance to ask, and that was asked. None: of graded asks all is known."""
    unknown: int
    """Those that go to a model that had no chance: it is taken to have failed."""
    resamples: int
    level: float
    """What the intervals shall cover."""
    price: dict[str, float]
    """The weights by which worth is measured."""
    old: Side
    new: Side
    gain: Estimate
    """In worth: what decides ..."""
    gain_by_kind: Estimate | None
    """... together with its interval by whole kinds, where there are some."""
    quality: Estimate
    cost: Estimate
    """What is gained in each; USD per ask."""
    groups: dict[str, float]
    """Unseen kind -> its mean gain in worth."""
    better: bool
    why: str


class Support(Struct, frozen=True):
    """What unseen calls tell of choices that they didn't make."""

    met: int
    """Calls that chance gave to whom the new weights choose instead."""
    unknown: int
    amiss: str = ""
    """Why their chances can't be trusted."""


def halves(groups: Sequence[str], keys: Sequence[bytes], seed: int) -> tuple[list[int], list[int]]:
    """Row numbers to search and to judge. Whole groups, where there are some; else by what was asked, so that
    the same ask never stands in both."""
    named = sorted(set(groups), key=lambda group: _hash(group.encode(), seed))
    if len(named) < LEAST_GROUPS:
        search = {row for row, key in enumerate(keys) if _hash(key, seed) % 2}
    else:
        search = set()
        for group in named:
            rows = [row for row, its in enumerate(groups) if its == group]
            if 2 * len(search) + len(rows) <= len(groups):
                search.update(rows)
    return sorted(search), [row for row in range(len(groups)) if row not in search]


def worth(ask: Ask, model: str, price: Weighing) -> float:
    """What the model's answer was worth, in units of quality."""
    terms = ask.terms[model]
    beside = sum(price[term] * terms[term] for term in (SUCCESS, LATENCY)) - price[COST] * ask.paid[model]
    return ask.quality[model] + beside / price[QUALITY]


def search(asks: Sequence[Ask], weights: Weighing, price: Weighing) -> dict[str, float]:
    """The weights whose choices are worth most; of equals those nearest to the former ones."""
    rows = [_prepared(ask, weights, price) for ask in asks if ask.scored]
    tried = sorted(product(FACTORS, repeat=len(VARIED)), key=lambda factors: sum(abs(f - 1) for f in factors))
    best, most = dict(weights), float("-inf")
    for factors in tried:
        varied = {term: _times(weights[term], factor) for term, factor in zip(VARIED, factors, strict=True)}
        proposed = {**weights, **varied}
        value = _value(rows, proposed[LATENCY], proposed[COST])
        if value > most + 1e-9 and max(proposed.values()) <= MOST:
            best, most = proposed, value
    return best


def compare(
    profile: str,
    searched: int,
    asks: Sequence[Ask],
    weights: tuple[Weighing, Weighing, Weighing],
    choices: Sequence[str],
    times: int,
    chance: Chance,
    progress: Callable[[int], None] = lambda _: None,
    units: Sequence[str] | None = None,
    support: Support | None = None,
    level: float = LEVEL,
) -> Trial:
    """The verdict on unseen asks. `weights`: the former, the proposed, and the price; `choices`: the router's
    by the proposed ones; `units`: what is drawn as a whole, if not each ask by itself; `support`:
    what the asks rest on, where not all outcomes are known; `level`: what intervals shall cover."""
    former, proposed, price = weights
    old, new = (_columns(asks, chosen, price) for chosen in ([ask.choice for ask in asks], list(choices)))
    gained = {name: [b - a for a, b in zip(old[name], new[name], strict=True)] for name in old}
    columns = [*old.values(), *new.values(), *gained.values()]
    sampled: list[list[float]] = []
    samples = clustered(units, times, chance) if units is not None else draws(len(asks), times, chance)
    for number, drawn in enumerate(samples, start=1):
        sampled.append([mean_of(column, drawn) for column in columns])
        progress(number)
    told = [
        estimate(mean(column), [sample[place] for sample in sampled], level)
        for place, column in enumerate(columns)
    ]
    if support is not None:
        told = list(map(evenly, told))
    changed = sum(ask.choice != choice for ask, choice in zip(asks, choices, strict=True))
    by_kind = None
    if units is None and len({ask.group for ask in asks}) > 1:
        by_kind = _by_kind(asks, gained["worth"], times, chance, level)
    problem = _unshown(changed, dict(former) != dict(proposed), times, support)
    better, why = (False, problem) if problem else _verdict(told[6], by_kind)
    return Trial(
        profile=profile,
        searched=searched,
        judged=len(asks),
        changed=changed,
        met=support.met if support else None,
        unknown=support.unknown if support else 0,
        resamples=times,
        level=level,
        price=dict(price),
        old=Side(dict(former), *told[:3]),
        new=Side(dict(proposed), *told[3:6]),
        gain=told[6],
        gain_by_kind=by_kind,
        quality=told[7],
        cost=told[8],
        groups=_by_group(asks, gained["worth"]),
        better=better,
        why=why,
    )


def _unshown(changed: int, other: bool, times: int, support: Support | None) -> str:
    """Why nothing is shown whatever the interval is."""
    if not other:
        return "no other weights did better on the asks that were searched"
    if not times:
        return "without resamples nothing is shown"
    if support is not None and support.amiss:
        return support.amiss
    if support is not None and support.met < LEAST_CHANGED:
        return (
            f"chance gave {support.met} of the unseen calls to whom the new weights choose instead: "
            f"{LEAST_CHANGED - support.met} more are needed"
        )
    if changed < LEAST_CHANGED:
        return f"only {changed} of the unseen asks would go to another model: {LEAST_CHANGED} are needed"
    return ""


def _verdict(gain: Estimate, by_kind: Estimate | None) -> tuple[bool, str]:
    if not gain.above_zero:
        return False, "the interval of the gain is not wholly above zero"
    if by_kind is not None and not by_kind.above_zero:
        return False, "drawn by whole kinds, which decides, the interval of the gain is not wholly above zero"
    return True, "the whole interval of the gain is above zero"


def _by_kind(
    asks: Sequence[Ask], gained: Sequence[float], times: int, chance: Chance, level: float
) -> Estimate:
    drawn = clustered([ask.group for ask in asks], times, chance)
    return estimate(mean(gained), [mean_of(gained, rows) for rows in drawn], level)


def _prepared(ask: Ask, weights: Weighing, price: Weighing) -> list[tuple[float, float, float, float]]:
    """For each model: what doesn't vary of its total, its latency and cost, and what its answer was worth."""
    return [
        (
            weights[QUALITY] * terms[QUALITY] + weights[SUCCESS] * terms[SUCCESS],
            terms[LATENCY],
            terms[COST],
            worth(ask, model, price),
        )
        for model, terms in ask.terms.items()
    ]


def _value(rows: Sequence[list[tuple[float, float, float, float]]], latency: float, cost: float) -> float:
    """Worth of all choices by these weights, on average."""
    found = 0.0
    for models in rows:
        most = -1e9
        for fixed, soon, dear, value in models:
            total = fixed + latency * soon - cost * dear
            if total > most:
                most, chosen = total, value
        found += chosen
    return found / (len(rows) or 1)


def _columns(asks: Sequence[Ask], choices: Sequence[str], price: Weighing) -> dict[str, list[float]]:
    chosen = list(zip(asks, choices, strict=True))
    return {
        "worth": [worth(ask, model, price) for ask, model in chosen],
        "quality": [ask.quality[model] for ask, model in chosen],
        "cost": [ask.cost[model] for ask, model in chosen],
    }


def _by_group(asks: Sequence[Ask], gained: Sequence[float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for ask, gain in zip(asks, gained, strict=True):
        found.setdefault(ask.group, []).append(gain)
    return {group: mean(gains) for group, gains in sorted(found.items())}


def _hash(key: bytes, seed: int) -> int:
    return int.from_bytes(blake2b(key, digest_size=8, salt=seed.to_bytes(8, "big")).digest(), "big")


def _times(weight: float, factor: float) -> float:
    return weight if factor == 1.0 else float(f"{weight * factor:.{DIGITS}g}")
