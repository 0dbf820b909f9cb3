"""From a choice to the order in which models are asked: the fallback chain."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable

FIRST = "the choice"
ASKED_FOR = "asked for"
DRAWN = "drawn"
"""Where the first place of a plan comes from: the ladder, the caller, chance."""


def build(
    first: str,
    own: Collection[str],
    ranking: Collection[str],
    able: Container[str],
    shut: Container[str] = (),
) -> tuple[str, ...]:
    """`first`, its `own` fallback list, then the ranking; each model once.

    Of `own` only those are taken that are `able` to serve the request. Models whose circuit is `shut` go
    to the end, still in order: they may have recovered by the time that they are needed.
    """
    if not own and not shut and next(iter(ranking), None) == first:
        return tuple(ranking)  # nearly always
    preferred = [m for m in own if m in able] if own else ()
    chain = dict.fromkeys((first, *preferred, *ranking))
    if not shut:
        return tuple(chain)
    return (*[m for m in chain if m not in shut], *[m for m in chain if m in shut])


def origins(
    chain: Iterable[str],
    first: str,
    own: Container[str],
    shut: Container[str] = (),
    origin: str = FIRST,
) -> tuple[str, ...]:
    """For a reader: where each place of a chain that was built of these comes from; `origin`: the first's."""
    found = []
    for model in chain:
        said = origin if model == first else f"fallback of {first}" if model in own else "ranking"
        found.append(f"{said}, but last: it can't be asked now" if model in shut else said)
    return tuple(found)
