"""Scorecards as plain text: a table for each question, intervals in brackets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from proxy.evaluate.calls import CallCard
from proxy.evaluate.labels import IntentCard, Share
from proxy.evaluate.others import DrawnCard
from proxy.evaluate.resample import LEVEL, Estimate
from proxy.evaluate.scorecard import Measured, Scorecard
from proxy.evaluate.tune import Trial

_CURVE = {
    "apgr": "APGR",
    "apgr_per_dollar": "per dollar",
    "cpt50": "CPT50",
    "cpt80": "CPT80",
    "dollars50": "$ for 50 %",
    "dollars80": "$ for 80 %",
}
_POINT = {"quality": "quality", "cost": "USD/1000", "arena": "arena", "recovered": "of the gap"}
_WORST = 12


def outcomes(card: Scorecard) -> Iterator[str]:
    """The lines of a scorecard on graded outcomes."""
    yield f"{card.rows:,} asks, from {card.weak} (weak) to {card.strong} (strong){_intervals(card.resamples)}"
    yield ""
    yield from _lines("weak or strong, by", tuple(_CURVE.values()), _cells(card.curves, _CURVE))
    yield ""
    yield from _lines("a model for each ask", tuple(_POINT.values()), _cells(card.points, _POINT))
    yield ""
    yield f"difficulty over prompt length, per dollar: {number(card.lead_over_length, sign='+')}"
    of = "of the router's choices" if "shuffle" in card.points else "averaged over the curve"
    if card.lead_by_kind is not None:
        kinds = number(card.lead_by_kind, sign="+")
        yield f"quality above chance at the same cost, drawn by whole kinds, which decides as well: {kinds}"
    verdict = _verdict(card.better)
    yield f"quality above chance at the same cost, {of}: {number(card.lead, sign='+')}: {verdict}"


def intents(card: IntentCard) -> Iterator[str]:
    """The lines of a scorecard on labelled asks."""
    yield f"{card.rows:,} asks{_intervals(card.resamples)}"
    yield f"accuracy {number(card.accuracy)}, macro-F1 {number(card.macro_f1)}"
    yield ""
    heads = ("precision", "recall", "F1", "rows")
    rows = {
        name: (f"{one.precision:.2f}", f"{one.recall:.2f}", f"{one.f1:.2f}", str(one.rows))
        for name, one in card.intents.items()
    }
    yield from _lines("intent", heads, rows)
    yield ""
    yield from _shares("language", card.languages)
    yield ""
    yield from _shares("source", card.sources)
    wrong = [
        (count, gold, said)
        for gold, row in card.confusion.items()
        for said, count in row.items()
        if gold != said
    ]
    yield ""
    yield f"confusion, most often first ({sum(count for count, _, _ in wrong)} wrong):"
    for count, gold, said in sorted(wrong, key=lambda one: (-one[0], one[1:]))[:_WORST]:
        yield f"  {count:4}  {gold} taken for {said}"
    yield ""
    bins = {f"{one.sure:.2f}": (f"{one.right:.2f}", str(one.rows)) for one in card.calibration}
    yield from _lines("confidence", ("were right", "rows"), bins)
    yield f"off by {card.off:.3f} on average"
    for one in card.mistakes:
        said = ", ".join(f"{name} {share:.2f}" for name, share in one.intents.items())
        yield ""
        yield f"{one.gold} taken for {said}"
        yield f"  {' '.join(one.ask.split())}"
        yield f"  {', '.join(one.evidence)}"


def calls(card: CallCard) -> Iterator[str]:
    """The lines of a scorecard of former calls."""
    yield f"{card.calls:,} calls with feedback{_intervals(card.resamples)}"
    yield ""
    rows = {
        model: (f"{one.calls:,}", number(one.score), number(one.cost, 1000.0), f"{one.difficulty:.3f}")
        for model, one in card.models.items()
    }
    yield from _lines("model", ("calls", "feedback", "USD/1000", "difficulty"), rows)
    yield ""
    yield f"of two calls to a model, the one with worse feedback was called harder: {number(card.told_apart)}"
    yield f"with others of its intent and difficulty, by other models, {card.compared:.0%} compare"
    verdict = _verdict(card.lead.above_zero)
    yield f"feedback above chance at the same cost: {number(card.lead, sign='+')}: {verdict}"
    if card.drawn is not None:
        yield ""
        yield from ways(card.drawn)


def ways(card: DrawnCard) -> Iterator[str]:
    """The lines of what other ways to choose would have made of calls that were left to chance."""
    given = f"which gave {card.away:,} to another model than the router's choice"
    yield f"{card.calls:,} of them were left to chance, {given}{_intervals(card.resamples)}"
    yield ""
    rows = {
        name: (f"{one.calls:,}", number(one.quality), number(one.cost, 1000.0), number(one.lead, sign="+"))
        for name, one in card.ways.items()
    }
    yield from _lines("by chances", ("calls", "feedback", "USD/1000", "router above it"), rows)
    yield ""
    verdict = f"NOT to be trusted: {card.amiss}" if card.amiss else _verdict(card.lead.above_zero)
    yield f"feedback above chance at the same cost, as drawn: {number(card.lead, sign='+')}: {verdict}"


def trial(card: Trial, *, written: bool) -> Iterator[str]:
    """The lines of former weights beside proposed ones."""
    what = "asks" if card.met is None else "calls"
    asks = f"searched {card.searched:,} {what}, judged {card.judged:,} others"
    yield f"{card.profile}: {asks}{_intervals(card.resamples, card.level)}"
    yield ""
    sides = {"old": card.old, "new": card.new}
    terms = tuple(card.price)
    weights = {name: [f"{side.weights[term]:g}" for term in terms] for name, side in sides.items()}
    yield from _lines("weights", terms, {**weights, "worth by": [f"{card.price[term]:g}" for term in terms]})
    yield ""
    rows = {name: (side.worth, side.quality, side.cost) for name, side in sides.items()}
    cells = {name: [number(row[0]), number(row[1]), number(row[2], 1000.0)] for name, row in rows.items()}
    gains = [number(card.gain, sign="+"), number(card.quality, sign="+"), number(card.cost, 1000.0, "+")]
    yield from _lines(f"on unseen {what}", ("worth", "quality", "USD/1000"), {**cells, "difference": gains})
    yield ""
    yield f"{card.changed:,} of {card.judged:,} go to another model"
    if card.met is not None:
        yield f"to which chance had given {card.met:,} of them"
    if card.unknown:
        yield f"{card.unknown:,} go to a model that had no chance: it is taken to have failed"
    if card.gain_by_kind is not None:
        yield f"difference in worth, drawn by whole kinds: {number(card.gain_by_kind, sign='+')}"
    if len(card.groups) > 1:
        yield f"gain by kind: {', '.join(f'{name} {gain:+.3f}' for name, gain in card.groups.items())}"
    verdict = "better" if card.better else "NOT shown to be better"
    yield f"the new weights are {verdict}: {card.why}"
    if written:
        yield "written to routing.yml"


def number(one: Estimate, scale: float = 1.0, sign: str = "") -> str:
    """`0.560 [0.541, 0.583]`; with `+` as the sign, `+0.020 [+0.011, +0.031]`."""
    if one.value is None:
        return "-"
    middle = f"{scale * one.value:{sign}.3f}"
    if one.low is None or one.high is None:
        return middle
    return f"{middle} [{scale * one.low:{sign}.3f}, {scale * one.high:{sign}.3f}]"


def _intervals(resamples: int, level: float = LEVEL) -> str:
    return f"; {100.0 * level:g} % intervals" if resamples else "; no intervals"


def _verdict(better: bool) -> str:
    return "better than chance" if better else "NOT shown to be better than chance"


def _cells(measured: Measured, heads: Iterable[str]) -> dict[str, list[str]]:
    """Costs are told per thousand asks."""
    return {
        policy: [number(measures[name], 1000.0 if name == "cost" else 1.0) for name in heads]
        for policy, measures in measured.items()
    }


def _lines(title: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Iterator[str]:
    first = max(map(len, (title, *rows)))
    widths = [max(len(head), *(len(row[place]) for row in rows.values())) for place, head in enumerate(heads)]
    yield _line(title, heads, first, widths)
    for name, row in rows.items():
        yield _line(name, row, first, widths)


def _line(name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    return f"{name:{first}}  " + "  ".join(
        f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


def _shares(title: str, shares: dict[str, Share]) -> Iterator[str]:
    return _lines(
        title, ("right", "rows"), {name: (f"{one.right:.2f}", str(one.rows)) for name, one in shares.items()}
    )
