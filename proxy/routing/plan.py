"""From a choice to the order in which models are asked: the fallback chain."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable


def build(
    first: str,
    own: Collection[str],
    ranking: Iterable[str],
    able: Container[str],
    shut: Container[str] = (),
) -> tuple[str, ...]:
    """`first`, its `own` fallback list, then the ranking; each model once.

    Of `own` only those are taken that are `able` to serve the request. Models whose circuit is `shut` go
    to the end, still in order: they may have recovered by the time that they are needed.
    """
    preferred = [m for m in own if m in able] if own else ()
    chain = dict.fromkeys((first, *preferred, *ranking))
    if not shut:
        return tuple(chain)
    return (*[m for m in chain if m not in shut], *[m for m in chain if m in shut])
