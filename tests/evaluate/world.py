"""A world in which it is known what models make of asks: calls of it, and what weights are truly worth."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from msgspec import Struct, field

from proxy.evaluate.drawn import Drawn
from proxy.evaluate.tune import Ask, worth

OLD = {"quality": 2.0, "success": 0.5, "latency": 0.25, "cost": 1.0}
PAID = {"small": 0.02, "middle": 0.15, "large": 0.35}
"""The cost term of each model, as it is expected."""
ALIKE = dict.fromkeys(PAID, 0.1)


class World(Struct, frozen=True):
    """How good models are (`truly`) and are thought to be, on easy asks and on hard ones, 0..1 each."""

    truly: Mapping[str, tuple[float, float]]
    thought: Mapping[str, tuple[float, float]]
    paid: Mapping[str, float] = field(default_factory=PAID.copy)
    """The cost term that is paid."""
    share: float = 0.2
    """Of the calls that are drawn."""
    judges: Mapping[str, float] = {}
    """Model -> how often its answers are judged; 1 if not said."""
    lies: Mapping[str, float] = {}
    """Model -> how much more often it is drawn than is written down."""

    def call(self, chance: Random, number: int) -> tuple[str, Drawn | None]:
        """Whom one was asked of, and the call, if it was judged."""
        hard = chance.random()
        terms = {
            model: {"quality": between(each, hard), "success": 1.0, "latency": 0.5, "cost": PAID[model]}
            for model, each in self.thought.items()
        }
        first, *others = sorted(terms, key=lambda model: -total(terms[model], OLD))
        odds = {first: 1.0 - self.share, **dict.fromkeys(others, self.share / len(others))}
        true = {model: each * self.lies.get(model, 1.0) for model, each in odds.items()}
        model = chance.choices(list(true), list(true.values()))[0]
        good = float(chance.random() < between(self.truly[model], hard))
        call = Drawn(
            odds,
            model,
            good,
            self.paid[model] / 100,
            self.paid[model],
            terms,
            first,
            intent="x",
            conversation=f"c{number}",
        )
        return model, call if chance.random() < self.judges.get(model, 1.0) else None

    def calls(self, chance: Random, number: int) -> list[Drawn]:
        """So many calls, those that were judged."""
        return [call for place in range(number) if (call := self.call(chance, place)[1])]

    def value(self, weights: Mapping[str, float], rows: int = 4000) -> float:
        """What these weights are truly worth, on average over the hardness."""
        found = 0.0
        for place in range(rows):
            hard = (place + 0.5) / rows
            terms = {
                model: {"quality": between(each, hard), "success": 1.0, "latency": 0.5, "cost": PAID[model]}
                for model, each in self.thought.items()
            }
            quality = {model: between(each, hard) for model, each in self.truly.items()}
            best = max(terms, key=lambda model: total(terms[model], weights))
            found += worth(Ask(terms, quality, {}, dict(self.paid), best, True), best, OLD)
        return found / rows


def between(ends: tuple[float, float], hard: float) -> float:
    """From easy to hard."""
    return ends[0] + hard * (ends[1] - ends[0])


def total(terms: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """As the router adds it up."""
    return sum(weights[term] * value * (-1.0 if term == "cost" else 1.0) for term, value in terms.items())


WRONG = World(
    truly={"small": (0.95, 0.55), "middle": (0.95, 0.70), "large": (0.96, 0.74)},
    thought={"small": (0.80, 0.10), "middle": (0.90, 0.50), "large": (0.97, 0.90)},
)
"""The dear model is thought to be far better than it is."""
EVEN = World(
    paid=ALIKE,
    truly=dict.fromkeys(PAID, (0.7, 0.7)),
    thought={"small": (0.8, 0.5), "middle": (0.85, 0.65), "large": (0.9, 0.8)},
)
"""All answers are equally good and equally dear: no weights are better."""
