"""What each model would have made of former calls, where it was left to chance which one was asked.

    score of a call, chance of its model --> of every model that had a chance, without bias:
        guess + (score - guess) / chance     for the one that was asked
        guess                                for the others

Doubly robust (Dudik, Langford and Li 2011): it is right on average where the chances are, whatever was
guessed, and the better the guess the less it scatters. Guesses are what the router expected, mended by what
other calls said of the model. So a drawn call is read like a graded one, of which every model's outcome is
known: only its outcomes scatter far beyond 0..1, and it takes many to tell.

Not every answer is judged. How often each model's are is counted in; that callers judge bad answers more
often than good ones of the same model can't be seen, and isn't.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt

from msgspec import Struct

from proxy.evaluate.resample import mean
from proxy.evaluate.tune import Ask, Weighing

Odds = Mapping[str, float]
"""Model -> the chance that it had to be asked first."""

PRIOR = 20.0
"""Calls of all models that count beside a model's own, where little is known of it."""
AMISS = 4.0
"""Standard deviations between how often models were asked and their chances from which something is wrong:
chance does so once in 16,000 times."""


class Drawn(Struct, frozen=True):
    """A call that somebody judged, and whose model was left to chance."""

    chances: dict[str, float]
    """That of the choice comes first."""
    model: str
    """The one that was asked first. Whoever answered in its place is its doing."""
    quality: float
    """Feedback, 0..1."""
    cost: float
    """USD, with what was wasted."""
    paid: float
    """The cost term of that."""
    terms: dict[str, Weighing]
    """Model -> what the router expects, term by term; of all that could be asked."""
    choice: str
    """The router's by the weights in force now."""
    scored: bool = True
    """Its weights decide."""
    intent: str = "?"
    conversation: str = ""
    """What it has in common with others."""


class Outcome(Struct, frozen=True):
    """Of one call, for each model that had a chance."""

    quality: dict[str, float]
    cost: dict[str, float]
    paid: dict[str, float]


Guess = Callable[[Drawn, str], tuple[float, float, float]]
"""(Quality, cost, paid) of a model's answer to a call."""

FAILED = 0.0
"""The quality that a model is taken to have where it had no chance to show any."""


def asks(calls: Sequence[Drawn], guess: Guess) -> list[Ask]:
    """Calls as graded asks. Whoever had no chance is taken to have failed: weights that choose it have to be
    better all the same."""
    return [
        _ask(call, outcome, {model: guess(call, model) for model in call.terms.keys() - call.chances.keys()})
        for call, outcome in zip(calls, outcomes(calls, guess), strict=True)
    ]


def outcomes(calls: Sequence[Drawn], guess: Guess) -> list[Outcome]:
    """What every model made of each call, without bias."""
    return [_outcome(call, {model: guess(call, model) for model in call.chances}) for call in calls]


def guesser(calls: Sequence[Drawn]) -> Guess:
    """Guesses by what these calls were like: the router's expectation, and how far it was off."""
    off = [
        (call.model, call.quality - call.terms[call.model]["quality"]) for call in calls if _expected(call)
    ]
    dear = [(call.model, call.paid - call.terms[call.model]["cost"]) for call in calls if _expected(call)]
    quality, paid, cost = _means(off), _means(dear), _means([(call.model, call.cost) for call in calls])

    def guess(call: Drawn, model: str) -> tuple[float, float, float]:
        terms = call.terms.get(model, {})
        return (
            terms.get("quality", 0.5) + quality(model),
            cost(model),
            terms.get("cost", 0.0) + paid(model),
        )

    return guess


def fitted(calls: Sequence[Drawn]) -> Guess:
    """Guesses for these calls by those of them that belong to other conversations: none knows its own
    outcome."""
    halves = {call.conversation: place % 2 for place, call in enumerate(calls)}
    by = [guesser([call for call in calls if halves[call.conversation] != half]) for half in (0, 1)]
    return lambda call, model: by[halves[call.conversation]](call, model)


def support(calls: Sequence[Drawn], choices: Sequence[str]) -> tuple[int, int]:
    """Calls that chance gave to whom the choices name instead of the router's; and those of which the choices
    name somebody who had no chance."""
    both = list(zip(calls, choices, strict=True))
    met = sum(call.model == choice != call.choice for call, choice in both)
    return met, sum(choice not in call.chances for call, choice in both)


def judged(odds: Odds, rate: Callable[[str], float]) -> dict[str, float]:
    """The chances of those who are judged as often as `rate` says, once it is known that somebody was."""
    raw = {model: chance * rate(model) for model, chance in odds.items()}
    whole = sum(raw.values())
    return {model: chance / whole for model, chance in raw.items()}


def rates(asked: Iterable[tuple[str, bool]]) -> Callable[[str], float]:
    """How often a model's answers are judged, by (model, whether its answer was) of all drawn calls."""
    return _means([(model, float(told)) for model, told in asked])


def amiss(asked: Sequence[tuple[str, Odds]]) -> str:
    """Who was asked first far more or less often than its chances say, for a reader; nothing: nobody."""
    found = Counter(model for model, _ in asked)
    expected: dict[str, float] = defaultdict(float)
    spread: dict[str, float] = defaultdict(float)
    for _, odds in asked:
        for model, chance in odds.items():
            expected[model] += chance
            spread[model] += chance * (1.0 - chance)
    for model, most in expected.items():
        if abs(found[model] - most) > AMISS * sqrt(spread[model]) + 1.0:
            return f"{model} was asked first {found[model]:,} times, by its chances it had to be {most:,.0f}"
    return ""


def _outcome(call: Drawn, guesses: Mapping[str, tuple[float, float, float]]) -> Outcome:
    seen = (call.quality, call.cost, call.paid)
    told = {
        model: [
            guessed + ((real - guessed) / call.chances[model] if model == call.model else 0.0)
            for real, guessed in zip(seen, expected, strict=True)
        ]
        for model, expected in guesses.items()
    }
    quality, cost, paid = ({model: values[place] for model, values in told.items()} for place in range(3))
    return Outcome(quality, cost, paid)


def _ask(call: Drawn, outcome: Outcome, others: Mapping[str, tuple[float, float, float]]) -> Ask:
    return Ask(
        terms=call.terms,
        quality={**outcome.quality, **dict.fromkeys(others, FAILED)},
        cost={**outcome.cost, **{model: cost for model, (_, cost, _) in others.items()}},
        paid={**outcome.paid, **{model: paid for model, (_, _, paid) in others.items()}},
        choice=call.choice,
        scored=call.scored,
        group=call.intent,
    )


def _expected(call: Drawn) -> bool:
    return call.model in call.terms


def _means(values: Sequence[tuple[str, float]]) -> Callable[[str], float]:
    """A model's mean, near that of all where little is known of it."""
    whole = mean([value for _, value in values]) if values else 0.0
    sums: dict[str, float] = defaultdict(float)
    counts = Counter(model for model, _ in values)
    for model, value in values:
        sums[model] += value
    return lambda model: (sums.get(model, 0.0) + PRIOR * whole) / (counts[model] + PRIOR)
