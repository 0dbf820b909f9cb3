"""Ranks the candidates: whose answer to this request is worth most, term by term.

    total = quality + success + latency - cost      each weighted by the profile

Every term is in 0..1 and has a name in `TERMS`:

    quality   the chance that the answer is good, averaged over the intents by their confidence
    success   how often it answered lately
    latency   how soon an answer of the expected length is done: the registry's prior, until it was seen
    cost      what this call is expected to cost: 3 cents are 0.5

The chance of a good answer is Rasch's (1960): log-odds = ability - hardness. Hardness are the difficulty's
log-odds; ability lies half way between those of the model's quality and of its fitness for the intent. So
`quality: 0.8` says: of asks of difficulty 0.5 it gets 80 % right, of 0.1 97 %, of 0.9 31 %. A model of 0.5
fails with just the chance that `difficulty` names: it is the small model by which that is defined.

Who can serve the request at all is `proxy.routing.pool`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log1p, sqrt
from operator import itemgetter

from proxy.routing.difficulty import EASIEST, HARDEST
from proxy.routing.policy import Weights
from proxy.routing.standing import TYPICAL_COMPLETION, Candidate, Stand, Standing
from proxy.types import Classification, Features, Scored

TRIFLE = 0.0001
"""USD of a call below which the cost term grows with the dollars, and above with their logarithm: twice the
price is felt alike from then on, however long the prompt, and a trifle isn't felt."""
FORTUNE = 10.0
"""USD of a call from which the cost term is 1."""
LEADING = 4
"""Intents that count: those behind them are seldom more than doubt."""
SUREST = 0.99
"""What the registry says of a model is taken for no surer than this: neither sure to do nor to fail."""
INSTANT = 0.9999
"""A latency term above this counts as this, and so does one as near to 0: no answer takes no time, or all."""

Lengths = Mapping[str, int]
"""Intent -> tokens that an answer usually has; TYPICAL_COMPLETION where it isn't named."""

Ranking = dict[str, float]
"""Registry id -> total, best first."""

TERMS = ("quality", "success", "latency", "cost")
"""What `explain` names. `Weights` has a field for each."""


def promptness(stand: Stand, tokens: float) -> float:
    """The latency term of an answer of so many tokens: its first one takes as long as a typical answer's."""
    quickness = _quickness(stand.latency)
    return quickness / (quickness + stand.first + (1.0 - stand.first) * tokens / TYPICAL_COMPLETION)


def felt(usd: float) -> float:
    """The cost term of a call."""
    return min(log1p(usd / TRIFLE), _MOST) / _MOST


def expected(features: Features, classification: Classification, lengths: Lengths) -> float:
    """Tokens that the answer is expected to have: what the intents usually take, by their confidence, within
    the caller's limit."""
    tokens = sure = 0.0
    for intent, confidence in classification.intents[:LEADING]:
        tokens += confidence * lengths.get(intent, TYPICAL_COMPLETION)
        sure += confidence
    usual, limit = tokens / (sure or 1.0), features.completion_tokens
    return limit if 0 < limit < usual else usual


class Scorer:
    """Ranks one pool by one profile's weights, as long as `standing` holds: what no request changes of a
    total is worked out here, once, and what an intent changes when it is first met."""

    def __init__(
        self, pool: Sequence[Candidate], weights: Weights, standing: Standing, lengths: Lengths
    ) -> None:
        self._quality, self._cost = weights.quality, weights.cost / _MOST
        self._lengths = lengths
        self._ids = [candidate.id for candidate in pool]
        self._able = [(standing[candidate.id].quality, candidate) for candidate in pool]
        self._fixed = [_fixed(candidate, weights, standing[candidate.id]) for candidate in pool]
        self._against: dict[str, list[float]] = {}

    def rank(self, features: Features, classification: Classification) -> Ranking:
        """The candidates by total, best first. Equal totals keep the registry's order."""
        prompt, tokens = features.prompt_tokens, expected(features, classification, self._lengths)
        extent, cost = tokens / TYPICAL_COMPLETION, self._cost
        totals = [
            success
            + latency / (begun + extent * written)
            - cost * (dear if (dear := log1p(prompt * read + tokens * wrote)) < _MOST else _MOST)
            for success, latency, begun, written, read, wrote in self._fixed
        ]
        leading = classification.intents[:LEADING]
        ease = _against(classification.difficulty, EASIEST, HARDEST)
        worth = self._quality * ease / (sum([confidence for _, confidence in leading]) or 1.0)
        for intent, confidence in leading:
            share, against = worth * confidence, self._against.get(intent) or self._met(intent)
            # To be strict about lengths that are the same would take a fifth of the time.
            totals = [total + share / (ease + odds) for total, odds in zip(totals, against, strict=False)]
        return dict(sorted(zip(self._ids, totals, strict=True), key=_TOTAL, reverse=True))

    def _met(self, intent: str) -> list[float]:
        """Every candidate's odds against a good answer to an ask of this intent, of difficulty 0.5."""
        odds = [_odds_against(quality, c.fitness.get(intent, c.unsaid)) for quality, c in self._able]
        self._against[intent] = odds
        return odds


def rank(
    pool: Sequence[Candidate],
    features: Features,
    classification: Classification,
    weights: Weights,
    standing: Standing,
    lengths: Lengths,
) -> Ranking:
    """As `Scorer.rank`, for once."""
    return Scorer(pool, weights, standing, lengths).rank(features, classification)


def explain(
    pool: Sequence[Candidate],
    features: Features,
    classification: Classification,
    weights: Weights,
    standing: Standing,
    lengths: Lengths,
) -> tuple[Scored, ...]:
    """As `rank`, with every term by name: for a reader."""
    asked = (pool, features, classification)
    ranking = rank(*asked, weights, standing, lengths)
    # A term is the total that is left when its weight is 1 and the others are 0.
    terms = {term: rank(*asked, alone, standing, lengths) for term, alone in _ALONE.items()}
    return tuple(
        Scored(model, total, {term: abs(values[model]) for term, values in terms.items()})
        for model, total in ranking.items()
    )


def _fixed(candidate: Candidate, weights: Weights, stand: Stand) -> tuple[float, ...]:
    """What no request changes: success, weighted; the three parts of `promptness`, the first one weighted;
    what a token read and one written cost, in TRIFLEs."""
    quickness = _quickness(stand.latency)
    return (
        weights.success * stand.success,
        weights.latency * quickness,
        quickness + stand.first,
        1.0 - stand.first,
        candidate.price_in / (1e6 * TRIFLE),
        candidate.price_out / (1e6 * TRIFLE),
    )


def _odds_against(quality: float, fitness: float | None) -> float:
    """Of a good answer to an ask of difficulty 0.5: half way between those of the two, in log-odds."""
    return sqrt(_against(quality) * _against(quality if fitness is None else fitness))


def _against(share: float, least: float = 1.0 - SUREST, most: float = SUREST) -> float:
    """The odds against something of this probability, which is taken to lie within the two bounds."""
    sure = least if share < least else most if share > most else share
    return (1.0 - sure) / sure


def _quickness(latency: float) -> float:
    """Typical answers within PATIENCE."""
    sure = min(max(latency, 1.0 - INSTANT), INSTANT)
    return sure / (1.0 - sure)


_MOST = log1p(FORTUNE / TRIFLE)

_TOTAL = itemgetter(1)

_ALONE = {term: Weights(**{other: float(other == term) for other in TERMS}) for term in TERMS}
