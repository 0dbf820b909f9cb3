"""From a choice to the order in which models are asked: the fallback chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from proxy.routing.scoring import Ranking, unfit
from proxy.types import Features, Model


def build(
    first: str,
    ranking: Ranking,
    models: Mapping[str, Model],
    features: Features,
    available: Callable[[str], bool],
) -> tuple[str, ...]:
    """`first`, its own `fallback:` list, then the ranking; each model once.

    Models that can't serve the request are left out, except `first`; those whose circuit is shut go to
    the end, still in order: they may have recovered by the time that they are needed.
    """
    own = models[first].fallback
    rest = fit((*own, *(model for model, _ in ranking)), models, features)
    chain = tuple(dict.fromkeys((first, *rest)))
    return (*filter(available, chain), *(model for model in chain if not available(model)))


def fit(wanted: Iterable[str], models: Mapping[str, Model], features: Features) -> Iterable[str]:
    """Those of `wanted` that are ready and can serve the request, in order."""
    for model in wanted:
        if model in models and unfit(models[model], features) is None:
            yield model
