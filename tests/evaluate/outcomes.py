"""Graded outcomes' models as a registry that is told their quality and price alone, and what it chooses.

rows --told--> models --choices--> a model for each ask --lead--> quality above chance that spends the same
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import linear_regression, mean

from proxy.evaluate import policies
from proxy.evaluate.field import Field
from proxy.evaluate.rows import Graded
from proxy.routing.features import extract
from proxy.routing.policy import Weights
from proxy.routing.scoring import Lengths, Scorer
from proxy.routing.standing import candidates, standing
from proxy.types import ChatRequest, Classification, Features, Model, Price, Priors


def read(row: Graded) -> Features:
    """What is known of an ask."""
    messages = row.body.get("messages") or [{"role": "user", "content": row.body["prompt"]}]
    return extract(ChatRequest(body=b"", fields={}, model="auto", messages=messages))


def told(rows: Sequence[Graded], asks: Sequence[Features]) -> list[Model]:
    """A model for each of the outcomes', with its mean quality in these rows, and what a token more of a
    prompt cost as the price of all tokens."""
    tokens = [ask.prompt_tokens for ask in asks]
    prices = {
        name: 1e6 * linear_regression(tokens, [row.cost[name] for row in rows]).slope for name in rows[0].cost
    }
    return [
        Model(
            name,
            "outcomes",
            name,
            weights=Priors(quality=mean(row.q[name] for row in rows)),
            price=Price(prices[name], prices[name]),
        )
        for name in rows[0].q
    ]


def choices(
    models: Sequence[Model],
    asks: Sequence[Features],
    classified: Sequence[Classification],
    weights: Weights,
    lengths: Lengths,
) -> list[str]:
    """Who is ranked first for each ask, nothing having been observed."""
    pool = candidates(models)
    scorer = Scorer(pool, weights, standing(pool, lambda _: None), lengths)
    return [next(iter(scorer.rank(*ask))) for ask in zip(asks, classified, strict=True)]


def lead(field: Field, chosen: Sequence[str], drawn: Sequence[int]) -> float:
    """Quality of the choices above that of their cost-matched shuffle, of the rows drawn."""
    quality, cost = policies.chosen(field.quality, field.cost, chosen)
    spent = mean([cost[row] for row in drawn])
    chance = policies.shuffle(field.quality, field.cost, chosen, drawn, spent)
    return mean([quality[row] for row in drawn]) - chance.quality
