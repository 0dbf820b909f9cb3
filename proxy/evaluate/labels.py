"""The scorecard of the classifier on labelled asks: what it gets right, what it confuses, how sure it is.

    precision, recall, F1     per intent; macro-F1 is the mean over the intents that occur
    confusion                 label -> what was said -> how often
    calibration               of decisions made with such a confidence, how many were right; `off`, the mean
                              distance weighted by rows, is the expected calibration error (Guo et al. 2017)

An answer that a row accepts (`also_ok`) counts as its label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from msgspec import Struct

from proxy.evaluate.resample import Chance, Estimate, draws, estimate
from proxy.evaluate.rows import Labelled

BINS = (0.0, 0.4, 0.6, 0.8, 0.9)
"""Where ranges of confidence begin."""


class Said(Struct, frozen=True):
    """What the classifier made of a row."""

    gold: str
    said: str
    """The leading intent, or `gold` when the row accepts it."""
    sure: float
    lang: str = "?"
    source: str = "?"

    @property
    def right(self) -> bool:
        """It is the label, or accepted instead."""
        return self.said == self.gold


class PerIntent(Struct, frozen=True):
    """Of one intent. 0..1."""

    precision: float
    recall: float
    f1: float
    rows: int


class Reliability(Struct, frozen=True):
    """A range of confidence: how sure it was on average, and how often right."""

    sure: float
    right: float
    rows: int


class Share(Struct, frozen=True):
    """How many of some rows were right, 0..1."""

    right: float
    rows: int


class Mistake(Struct, frozen=True):
    """One row that was wrong, for a reader."""

    ask: str
    """Its beginning."""
    gold: str
    intents: dict[str, float]
    """What was said instead, by confidence."""
    evidence: list[str]


class IntentCard(Struct, frozen=True):
    """All that was measured."""

    rows: int
    resamples: int
    """Samples that the intervals rest on; 0: there are none."""
    accuracy: Estimate
    macro_f1: Estimate
    intents: dict[str, PerIntent]
    confusion: dict[str, dict[str, int]]
    languages: dict[str, Share]
    sources: dict[str, Share]
    calibration: list[Reliability]
    off: float
    mistakes: list[Mistake] = []
    """As many as were asked for."""


def said(row: Labelled, intent: str, sure: float) -> Said:
    """The classifier's answer beside the label."""
    accepted = intent == row.gold_intent or intent in row.also_ok
    return Said(row.gold_intent, row.gold_intent if accepted else intent, sure, row.lang, row.source)


def measure(
    answers: Sequence[Said], times: int, chance: Chance, progress: Callable[[int], None] = lambda _: None
) -> IntentCard:
    """`progress` is told how many of `times` samples are done."""
    accuracies: list[float | None] = []
    scores: list[float | None] = []
    for number, drawn in enumerate(draws(len(answers), times, chance), start=1):
        sample = [answers[row] for row in drawn]
        accuracies.append(accuracy(sample))
        scores.append(macro_f1(sample))
        progress(number)
    table = calibration(answers)
    return IntentCard(
        rows=len(answers),
        resamples=times,
        accuracy=estimate(accuracy(answers), accuracies),
        macro_f1=estimate(macro_f1(answers), scores),
        intents=per_intent(answers),
        confusion=confusion(answers),
        languages=_shares(answers, lambda one: one.lang),
        sources=_shares(answers, lambda one: one.source),
        calibration=table,
        off=sum([bin.rows * abs(bin.sure - bin.right) for bin in table]) / len(answers),
    )


def accuracy(answers: Sequence[Said]) -> float:
    """The share of right answers."""
    return sum([one.said == one.gold for one in answers]) / len(answers)


def macro_f1(answers: Sequence[Said]) -> float:
    """The mean F1 of the intents that are a row's label."""
    scores = [one.f1 for one in per_intent(answers).values() if one.rows]
    return sum(scores) / len(scores)


def per_intent(answers: Sequence[Said]) -> dict[str, PerIntent]:
    """Of every intent that is a label or was said."""
    gold = Counter([one.gold for one in answers])
    told = Counter([one.said for one in answers])
    right = Counter([one.gold for one in answers if one.said == one.gold])
    found = {}
    for name in sorted(gold | told):
        precision = right[name] / told[name] if told[name] else 0.0
        recall = right[name] / gold[name] if gold[name] else 0.0
        f1 = 2.0 * right[name] / (gold[name] + told[name])
        found[name] = PerIntent(precision, recall, f1, gold[name])
    return found


def confusion(answers: Sequence[Said]) -> dict[str, dict[str, int]]:
    """Label -> what was said -> how often, most often first."""
    counted = Counter([(one.gold, one.said) for one in answers])
    found: dict[str, dict[str, int]] = {gold: {} for gold in sorted({one.gold for one in answers})}
    for (gold, told), count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        found[gold][told] = count
    return found


def calibration(answers: Sequence[Said]) -> list[Reliability]:
    """By ranges of confidence, those that occur."""
    bins: dict[float, list[Said]] = defaultdict(list)
    for one in answers:
        bins[max(low for low in BINS if low <= max(one.sure, 0.0))].append(one)
    return [
        Reliability(sum([one.sure for one in held]) / len(held), accuracy(held), len(held))
        for _, held in sorted(bins.items())
    ]


def _shares(answers: Sequence[Said], by: Callable[[Said], str]) -> dict[str, Share]:
    grouped: dict[str, list[Said]] = defaultdict(list)
    for one in answers:
        grouped[by(one)].append(one)
    return {name: Share(accuracy(held), len(held)) for name, held in sorted(grouped.items())}
