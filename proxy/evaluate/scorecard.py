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
from proxy.evaluate.curve import Curve, area, hull, least, levels, trace
from proxy.evaluate.field import Field
from proxy.evaluate.policies import Point
from proxy.evaluate.resample import Chance, Estimate, clustered, draws, estimate, mean, mean_of

DIFFICULTY, LENGTH, RANDOM, ORACLE = "difficulty", "prompt length", "random", "oracle"
SHUFFLE, ALWAYS, DIAL = "shuffle", "always ", "router dial"
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

Values = dict[tuple[str, str], float | None]
"""(Policy, measure) -> value."""

Column = tuple[list[float], list[float]]
"""Quality and cost of every ask."""

Measured = dict[str, dict[str, Estimate]]
"""Policy -> measure -> estimate."""


class Scorecard(Struct, frozen=True):
    """All that was measured."""

    rows: int
    resamples: int
    """Samples that the intervals rest on; 0: there are none."""
    weak: str
    strong: str
    curves: Measured
    points: Measured
    lead: Estimate
    """Quality above chance that spends the same: of the router's choices, or, when it chose none, averaged
    over its curve."""
    lead_by_kind: Estimate | None
    """The same, its interval by whole kinds of asks; None where there are no kinds."""
    lead_over_length: Estimate
    """How much more of the gap difficulty recovers per dollar than prompt length does."""
    traced: dict[str, list[Point]]
    """Policy -> its curve on the plane, of all asks."""
    chosen: dict[str, Point]
    """Each policy that is one point on the plane."""

    @property
    def better(self) -> bool:
        """The lead is above zero for asks like these, and for kinds like theirs."""
        return self.lead.above_zero and (self.lead_by_kind is None or self.lead_by_kind.above_zero)


def measure(
    field: Field,
    difficulty: Sequence[float],
    routed: dict[str, list[str]],
    times: int,
    chance: Chance,
    progress: Callable[[int], None] = lambda _: None,
    groups: Sequence[str] = (),
) -> Scorecard:
    """`routed`: name of a way to ask the router -> the model that it chose for each ask; the first is the
    one that decides, and those that begin with DIAL are one policy, to be mixed. `progress` is told how many
    of `times` samples are done. `groups`: the kind of each ask."""
    ranks = {name: levels(scores) for name, scores in _scores(field, difficulty).items()}
    columns = {**_others(field), **{name: _chosen(field, models) for name, models in routed.items()}}
    asked = next(iter(routed.items()), None)
    sample = Sample(field, ranks, columns, asked)
    whole = sample.measures(range(field.rows))
    sampled: list[Values] = []
    for number, drawn in enumerate(draws(field.rows, times, chance), start=1):
        sampled.append(sample.measures(drawn))
        progress(number)
    told = {key: estimate(value, [one[key] for one in sampled]) for key, value in whole.items()}
    return Scorecard(
        rows=field.rows,
        resamples=times,
        weak=field.weak,
        strong=field.strong,
        curves=_by_policy(told, (*ranks, *((DIAL,) if (DIAL, "apgr") in told else ())), CURVE_MEASURES),
        points=_by_policy(told, (*columns, *((SHUFFLE,) if asked else ())), POINT_MEASURES),
        lead=told[LEAD],
        lead_by_kind=_by_kind(sample, whole[LEAD], groups, times, chance),
        lead_over_length=told[OVER_LENGTH],
        traced=_traced(field, sample, ranks, columns),
        chosen={name: Point(mean(q), mean(c)) for name, (q, c) in columns.items()},
    )


def _by_kind(
    sample: Sample, lead: float | None, groups: Sequence[str], times: int, chance: Chance
) -> Estimate | None:
    if len(set(groups)) < 2:
        return None
    return estimate(lead, [sample.lead(drawn) for drawn in clustered(groups, times, chance)])


def _traced(
    field: Field, sample: Sample, ranks: dict[str, list[int]], columns: dict[str, Column]
) -> dict[str, list[Point]]:
    """Every curve on the plane; the dial's in the order in which its ways were given."""
    asks = range(field.rows)
    found = {name: _on_plane(field, trace(sample.pair, places, asks)) for name, places in ranks.items()}
    dialled = [_point(column, asks) for name, column in columns.items() if name.startswith(DIAL)]
    return {**found, DIAL: dialled} if dialled else found


class Sample:
    """Takes all measures of any sample of the rows."""

    def __init__(
        self,
        field: Field,
        ranks: dict[str, list[int]],
        columns: dict[str, Column],
        asked: tuple[str, list[str]] | None,
    ) -> None:
        """`asked`: the policy that decides, and its choices."""
        self.pair = field.pair()
        self._field, self._ranks, self._columns, self._asked = field, ranks, columns, asked

    def measures(self, drawn: Sequence[int]) -> Values:
        """(Policy, measure) -> value."""
        ends = self._ends(drawn)
        points = {name: _point(column, drawn) for name, column in self._columns.items()}
        curves = {name: trace(self.pair, places, drawn) for name, places in self._ranks.items()}
        if dialled := [point for name, point in points.items() if name.startswith(DIAL)]:
            curves[DIAL] = hull([_shares(point, ends) for point in dialled])
        found = {
            (name, measure): take(curve)
            for name, curve in curves.items()
            for measure, take in CURVE_MEASURES.items()
        }
        mine, length = found[DIFFICULTY, "apgr_per_dollar"], found[LENGTH, "apgr_per_dollar"]
        found[OVER_LENGTH] = None if mine is None or length is None else mine - length
        if self._asked is None:
            found[LEAD] = _above(mine, ends)
        else:
            name, choices = self._asked
            points[SHUFFLE] = self._shuffled(choices, drawn, points[name].cost)
            found[LEAD] = points[name].quality - points[SHUFFLE].quality
        return {**found, **_placed(points, ends)}

    def lead(self, drawn: Sequence[int]) -> float | None:
        """That measure alone."""
        if self._asked is None:
            curve = trace(self.pair, self._ranks[DIFFICULTY], drawn)
            return _above(CURVE_MEASURES["apgr_per_dollar"](curve), self._ends(drawn))
        name, choices = self._asked
        point = _point(self._columns[name], drawn)
        return point.quality - self._shuffled(choices, drawn, point.cost).quality

    def _shuffled(self, choices: list[str], drawn: Sequence[int], spent: float) -> Point:
        return policies.shuffle(self._field.quality, self._field.cost, choices, drawn, spent)

    def _ends(self, drawn: Sequence[int]) -> tuple[Point, Point]:
        """The weak and the strong model."""
        field = self._field
        weak, strong = (_point((field.quality[m], field.cost[m]), drawn) for m in (field.weak, field.strong))
        return weak, strong


def _above(area: float | None, ends: tuple[Point, Point]) -> float | None:
    """A curve's mean quality above that of chance."""
    return None if area is None else (area - 0.5) * (ends[1].quality - ends[0].quality)


def _placed(points: dict[str, Point], ends: tuple[Point, Point]) -> Values:
    """POINT_MEASURES of every policy."""
    found: Values = {}
    for name, point in points.items():
        values = (point.quality, point.cost, policies.arena(point), _shares(point, ends)[1])
        found.update({(name, measure): one for measure, one in zip(POINT_MEASURES, values, strict=True)})
    return found


def _shares(point: Point, ends: tuple[Point, Point]) -> tuple[float | None, float | None]:
    """(Dollars, recovered): where a policy lies between the weak and the strong model."""
    weak, strong = ends
    extra, gap = strong.cost - weak.cost, strong.quality - weak.quality
    return (
        (point.cost - weak.cost) / extra if extra > 0.0 else None,
        (point.quality - weak.quality) / gap if gap > 0.0 else None,
    )


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


def _others(field: Field) -> dict[str, Column]:
    """Quality and cost of every ask under each policy that needs no router."""
    q, c = field.quality, field.cost
    same = {ALWAYS + model: policies.always(q, c, model) for model in q}
    best = policies.chosen(q, c, policies.oracle(q, c))
    return {**same, RANDOM: policies.chance(q, c), ORACLE: best}


def _chosen(field: Field, models: list[str]) -> Column:
    return policies.chosen(field.quality, field.cost, models)


def _by_policy(
    told: dict[tuple[str, str], Estimate], policies: Iterable[str], measures: Iterable[str]
) -> Measured:
    measures = tuple(measures)
    return {policy: {measure: told[policy, measure] for measure in measures} for policy in policies}


def _on_plane(field: Field, curve: Curve) -> list[Point]:
    """A curve of shares as points; where there is no gap or no extra cost, its two ends."""
    weak_q, weak_c = mean(field.quality[field.weak]), mean(field.cost[field.weak])
    gap, extra = mean(field.quality[field.strong]) - weak_q, mean(field.cost[field.strong]) - weak_c
    dollars, recovered = curve.dollars or [0.0, 1.0], curve.recovered or [0.0, 1.0]
    if len(dollars) != len(recovered):
        dollars = recovered = [0.0, 1.0]
    return [
        Point(weak_q + gap * up, weak_c + extra * along) for along, up in zip(dollars, recovered, strict=True)
    ]


def _point(column: Column, drawn: Sequence[int]) -> Point:
    quality, cost = column
    return Point(mean_of(quality, drawn), mean_of(cost, drawn))
