"""What the call log and its callers' feedback say: by model, by difficulty, and whether choices beat chance.

    call: model, score, cost, intent, difficulty --> strata: an intent, and a third of the difficulties

Nobody knows what another model would have made of a call. So models are compared within a stratum only, where
which of them answered is taken for chance (post-stratification); `lead` is how far the calls as they were
dealt are above the same shares of models dealt by chance, at the same cost. Where a stratum knows one model
only, nothing can be compared: `compared` says how many calls lie elsewhere. Graded outcomes of every model on
every ask (`proxy.evaluate.scorecard`) assume nothing of the kind, and are the better test.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import exp
from operator import attrgetter

from msgspec import Struct

from proxy.evaluate.others import DrawnCard
from proxy.evaluate.resample import Chance, Estimate, draws, estimate, quantile

THIRDS = 3
"""Ranges of difficulty, with as many calls each."""

_STEEPEST = 60.0


class Call(Struct, frozen=True):
    """A call that somebody said something of."""

    model: str
    score: float
    """Feedback, 0..1."""
    cost: float
    """USD."""
    intent: str
    difficulty: float


class PerModel(Struct, frozen=True):
    """Of the calls that a model answered."""

    calls: int
    score: Estimate
    cost: Estimate
    """USD per call."""
    difficulty: float
    """On average."""


class CallCard(Struct, frozen=True):
    """All that was measured."""

    calls: int
    resamples: int
    """Samples that the intervals rest on; 0: there are none."""
    compared: float
    """Share of calls in strata that know two models or more."""
    models: dict[str, PerModel]
    told_apart: Estimate
    """How often, of two calls that one model answered, the one with the worse feedback had been called the
    harder one. 0.5: difficulty says nothing of it."""
    lead: Estimate
    """Feedback above that of chance at the same cost."""
    drawn: DrawnCard | None = None
    """Of those calls that were left to chance; what it says goes before the rest."""

    @property
    def better(self) -> bool:
        """The router is shown to be better than chance that spends the same."""
        if self.drawn is not None:
            return self.drawn.lead.above_zero and not self.drawn.amiss
        return self.lead.above_zero


Cell = tuple[int, float, float]
"""Calls, their scores and their costs added up."""


def measure(
    calls: Sequence[Call], times: int, chance: Chance, progress: Callable[[int], None] = lambda _: None
) -> CallCard:
    """`progress` is told how many of `times` samples are done."""
    strata = _strata(calls)
    sampled: list[dict[str, float | None]] = []
    for number, drawn in enumerate(draws(len(calls), times, chance), start=1):
        sampled.append(_measures([calls[row] for row in drawn], [strata[row] for row in drawn]))
        progress(number)
    told = {
        name: estimate(value, [one.get(name) for one in sampled])
        for name, value in _measures(calls, strata).items()
    }
    return CallCard(
        calls=len(calls),
        resamples=times,
        compared=_compared(_table(calls, strata)) / len(calls),
        models={
            model: PerModel(
                len(held), told[f"score {model}"], told[f"cost {model}"], _mean(held, _DIFFICULTY)
            )
            for model, held in sorted(_by_model(calls).items())
        },
        told_apart=told["told apart"],
        lead=told["lead"],
    )


def lead(table: Mapping[object, Mapping[str, Cell]]) -> float:
    """Mean score of the calls above that of the same shares of models in every stratum, tilted to the same
    cost as far as the strata's models can cost that. `table`: stratum -> model -> its calls."""
    calls, scores, costs = (
        sum(cell[part] for row in table.values() for cell in row.values()) for part in range(3)
    )
    shares: dict[str, int] = defaultdict(int)
    for row in table.values():
        for model, cell in row.items():
            shares[model] += cell[0]
    means = {
        model: sum(row[model][2] for row in table.values() if model in row) / n for model, n in shares.items()
    }
    dearest = max(means.values()) or 1.0
    places = {model: mean / dearest for model, mean in means.items()}
    low, high = -_STEEPEST, _STEEPEST
    for _ in range(50):
        middle = (low + high) / 2.0
        if _dealt(table, shares, places, middle)[1] < costs:
            low = middle
        else:
            high = middle
    return (scores - _dealt(table, shares, places, (low + high) / 2.0)[0]) / calls


def _dealt(
    table: Mapping[object, Mapping[str, Cell]],
    shares: Mapping[str, int],
    places: Mapping[str, float],
    lean: float,
) -> tuple[float, float]:
    """Scores and costs of all calls, were they dealt out by shares that lean to the dear."""
    scores = costs = 0.0
    for row in table.values():
        weights = {model: shares[model] * exp(lean * places[model]) for model in row}
        scale = sum(cell[0] for cell in row.values()) / sum(weights.values())
        for model, (count, score, cost) in row.items():
            scores += scale * weights[model] * score / count
            costs += scale * weights[model] * cost / count
    return scores, costs


def told_apart(calls: Sequence[Call]) -> float | None:
    """The area under the ROC curve of difficulty as a sign of bad feedback, within each model; None where no
    model has calls of different scores."""
    pairs = right = 0.0
    for held in _by_model(calls).values():
        worse: list[float] = []
        for _, group in groupby(sorted(held, key=_SCORE), _SCORE):
            alike = [call.difficulty for call in group]
            for difficulty in alike:
                below, upto = bisect_left(worse, difficulty), bisect_right(worse, difficulty)
                right += len(worse) - upto + (upto - below) / 2.0
            pairs += len(alike) * len(worse)
            worse = sorted(worse + alike)
    return right / pairs if pairs else None


def _measures(calls: Sequence[Call], strata: Sequence[object]) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "lead": lead(_table(calls, strata)),
        "told apart": told_apart(calls),
    }
    for model, held in _by_model(calls).items():
        found[f"score {model}"] = _mean(held, _SCORE)
        found[f"cost {model}"] = _mean(held, _COST)
    return found


def _strata(calls: Sequence[Call]) -> list[tuple[str, int]]:
    ranked = sorted(call.difficulty for call in calls)
    edges = [quantile(ranked, part / THIRDS) for part in range(1, THIRDS)]
    return [(call.intent, bisect_left(edges, call.difficulty)) for call in calls]


def _table(calls: Sequence[Call], strata: Sequence[object]) -> dict[object, dict[str, Cell]]:
    table: dict[object, dict[str, Cell]] = {}
    for call, stratum in zip(calls, strata, strict=True):
        row = table.setdefault(stratum, {})
        count, score, cost = row.get(call.model, (0, 0.0, 0.0))
        row[call.model] = (count + 1, score + call.score, cost + call.cost)
    return table


def _compared(table: Mapping[object, Mapping[str, Cell]]) -> int:
    return sum(cell[0] for row in table.values() if len(row) > 1 for cell in row.values())


def _by_model(calls: Sequence[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        found[call.model].append(call)
    return found


def _mean(calls: Sequence[Call], read: Callable[[Call], float]) -> float:
    return sum([read(call) for call in calls]) / len(calls)


_SCORE, _COST, _DIFFICULTY = attrgetter("score"), attrgetter("cost"), attrgetter("difficulty")
