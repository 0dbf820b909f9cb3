"""The scorecard of a router on graded outcomes: its curve and its choices, beside who else might choose.

    difficulty of each ask ---> curve between the weak and the strong model   beside length, chance, oracle
    model chosen for each  ---> quality, cost, arena score, part of the gap   beside one model always, chance,
                                                                              oracle, and its own shuffle

What decides is `lead`: by how much the router's quality is above that of chance which spends the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from proxy.evaluate import policies
from proxy.evaluate.curve import Curve, area, least, levels, trace
from proxy.evaluate.field import Field
from proxy.evaluate.policies import Point
from proxy.evaluate.resample import Chance, Estimate, draws, estimate

DIFFICULTY, LENGTH, RANDOM, ORACLE = "difficulty", "prompt length", "random", "oracle"
SHUFFLE, ALWAYS = "shuffle", "always "
LEAD, OVER_LENGTH = ("", "lead"), ("", "lead_over_length")

CURVE_MEASURES: dict[str, Callable[[Curve], float | None]] = {
    "apgr": lambda curve: area(curve.calls, curve.recovered),
    "apgr_per_dollar": lambda curve: area(curve.dollars, curve.recovered),
    "cpt50": lambda curve: least(curve.calls, curve.recovered, 0.5),
    "cpt80": lambda curve: least(curve.calls, curve.recovered, 0.8),
    "dollars50": lambda curve: least(curve.dollars, curve.recovered, 0.5),
    "dollars80": lambda curve: least(curve.dollars, curve.recovered, 0.8),
}
"""What is measured of a curve."""

POINT_MEASURES = ("quality", "cost", "arena", "recovered")
"""What is measured of a policy; `recovered`: the part of the gap between weak and strong."""

Measured = dict[str, dict[str, Estimate]]
"""Policy -> measure -> estimate."""


class Scorecard(Struct, frozen=True):
    """All that was measured."""

    rows: int
    weak: str
    strong: str
    curves: Measured
    points: Measured
    lead: Estimate
    """Quality above chance that spends the same: of the router's choices, or, when it chose none, averaged
    over its curve."""
    lead_over_length: Estimate
    """How much more of the gap difficulty recovers per dollar than prompt length does."""
    traced: dict[str, list[Point]]
    """Policy -> its curve on the plane, of all asks."""
    chosen: dict[str, Point]
    """Each policy that is one point on the plane."""


def measure(
    field: Field,
    difficulty: Sequence[float],
    routed: dict[str, list[str]],
    times: int,
    chance: Chance,
    progress: Callable[[int], None] = lambda _: None,
) -> Scorecard:
    """`routed`: name of a way to ask the router -> the model that it chose for each ask; the first is the
    one that decides. `progress` is told how many of `times` samples are done."""
    ranks = {name: levels(scores) for name, scores in _scores(field, difficulty).items()}
    columns = {**_others(field), **{name: _chosen(field, models) for name, models in routed.items()}}
    asked = next(iter(routed.items()), None)
    sample = Sample(field, ranks, columns, asked)
    whole = sample.measures(range(field.rows))
    sampled: list[dict[tuple[str, str], float | None]] = []
    for number, drawn in enumerate(draws(field.rows, times, chance), start=1):
        sampled.append(sample.measures(drawn))
        progress(number)
    told = {key: estimate(value, [one[key] for one in sampled]) for key, value in whole.items()}
    everything = range(field.rows)
    return Scorecard(
        rows=field.rows,
        weak=field.weak,
        strong=field.strong,
        curves=_by_policy(told, ranks, CURVE_MEASURES),
        points=_by_policy(told, (*columns, *((SHUFFLE,) if asked else ())), POINT_MEASURES),
        lead=told[LEAD],
        lead_over_length=told[OVER_LENGTH],
        traced={
            name: _on_plane(field, trace(sample.pair, places, everything)) for name, places in ranks.items()
        },
        chosen={name: Point(_mean(q), _mean(c)) for name, (q, c) in columns.items()},
    )


class Sample:
    """Takes all measures of any sample of the rows."""

    def __init__(
        self,
        field: Field,
        ranks: dict[str, list[int]],
        columns: dict[str, tuple[list[float], list[float]]],
        asked: tuple[str, list[str]] | None,
    ) -> None:
        """`asked`: the policy that decides, and its choices."""
        self.pair = field.pair()
        self._field, self._ranks, self._columns, self._asked = field, ranks, columns, asked

    def measures(self, drawn: Sequence[int]) -> dict[tuple[str, str], float | None]:
        """(Policy, measure) -> value."""
        found: dict[tuple[str, str], float | None] = {}
        for name, places in self._ranks.items():
            curve = trace(self.pair, places, drawn)
            found.update({(name, measure): take(curve) for measure, take in CURVE_MEASURES.items()})
        points = {name: _point(column, drawn) for name, column in self._columns.items()}
        weak = _mean([self._field.quality[self._field.weak][row] for row in drawn])
        gap = sum([self.pair.gain[row] for row in drawn]) / len(drawn)
        mine, length = found[DIFFICULTY, "apgr_per_dollar"], found[LENGTH, "apgr_per_dollar"]
        found[OVER_LENGTH] = None if mine is None or length is None else mine - length
        found[LEAD] = None if mine is None else (mine - 0.5) * gap
        if self._asked is not None:
            router, choices = points[self._asked[0]], self._asked[1]
            field = self._field
            points[SHUFFLE] = policies.shuffle(field.quality, field.cost, choices, drawn, router.cost)
            found[LEAD] = router.quality - points[SHUFFLE].quality
        for name, point in points.items():
            part = (point.quality - weak) / gap if gap > 0.0 else None
            values = (point.quality, point.cost, policies.arena(point), part)
            found.update(
                {(name, measure): value for measure, value in zip(POINT_MEASURES, values, strict=True)}
            )
        return found


def _scores(field: Field, difficulty: Sequence[float]) -> dict[str, list[float]]:
    """What sends an ask to the strong model early, by policy. The oracle knows the outcomes: first what gains
    most per extra dollar, and last where the strong model is worse."""
    pair = field.pair()
    worth = [gain / max(extra, 1e-12) for gain, extra in zip(pair.gain, pair.extra, strict=True)]
    return {
        DIFFICULTY: list(difficulty),
        LENGTH: field.lengths,
        RANDOM: [0.0] * field.rows,
        ORACLE: worth,
    }


def _others(field: Field) -> dict[str, tuple[list[float], list[float]]]:
    """Quality and cost of every ask under each policy that needs no router."""
    q, c = field.quality, field.cost
    same = {ALWAYS + model: policies.always(q, c, model) for model in q}
    best = policies.chosen(q, c, policies.oracle(q, c))
    return {**same, RANDOM: policies.chance(q, c), ORACLE: best}


def _chosen(field: Field, models: list[str]) -> tuple[list[float], list[float]]:
    return policies.chosen(field.quality, field.cost, models)


def _by_policy(
    told: dict[tuple[str, str], Estimate], policies: Iterable[str], measures: Iterable[str]
) -> Measured:
    measures = tuple(measures)
    return {policy: {measure: told[policy, measure] for measure in measures} for policy in policies}


def _on_plane(field: Field, curve: Curve) -> list[Point]:
    """A curve of shares as points; where there is no gap or no extra cost, its two ends."""
    weak_q, weak_c = _mean(field.quality[field.weak]), _mean(field.cost[field.weak])
    gap, extra = _mean(field.quality[field.strong]) - weak_q, _mean(field.cost[field.strong]) - weak_c
    dollars, recovered = curve.dollars or [0.0, 1.0], curve.recovered or [0.0, 1.0]
    if len(dollars) != len(recovered):
        dollars = recovered = [0.0, 1.0]
    return [
        Point(weak_q + gap * up, weak_c + extra * along) for along, up in zip(dollars, recovered, strict=True)
    ]


def _point(column: tuple[list[float], list[float]], drawn: Sequence[int]) -> Point:
    quality, cost = column
    return Point(_mean([quality[row] for row in drawn]), _mean([cost[row] for row in drawn]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
