"""What a lexicon's `facts` may ask of a request, and what their answers come to.

facts of all owners -> by name: the edges between which a value tells the same, and what that is
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from proxy.routing.features import code_share
from proxy.routing.lexicon import Fact
from proxy.types import Features, Need


def _numbers(features: Features) -> float:
    raw = features.ask[:1500].encode("utf-8", "replace")
    return float(len(raw.translate(_DIGITS).split()))


_DIGITS = bytes(byte if 0x30 <= byte <= 0x39 or byte in b".," else 0x20 for byte in range(256))

FACTS: dict[str, Callable[[Features], float]] = {
    "ask_chars": lambda features: float(len(features.ask)),
    "ask_lines": lambda features: float(features.ask.count("\n") + 1),
    "code_share": lambda features: code_share(features.ask),
    "prompt_tokens": lambda features: float(features.prompt_tokens),
    "turns": lambda features: float(features.turns),
    "numbers": _numbers,
    "question": lambda features: float(features.ask[-3:].rstrip(" \"')»”」").endswith(("?", "？", "؟"))),
    "tools": lambda features: float(Need.TOOLS in features.needs),
    "vision": lambda features: float(Need.VISION in features.needs),
    "json_schema": lambda features: float(Need.JSON_SCHEMA in features.needs),
}
"""What a `Fact` may ask of a request."""

Stretches = tuple[Callable[[Features], float], list[float], list[tuple[tuple[str, float], ...]]]


def stretches(owners: Iterable[tuple[str, Iterable[Fact]]]) -> list[Stretches]:
    """Each fact that somebody asks for, the edges between which its value tells the same, and what that is:
    (owner, weight) of all whose condition holds there."""
    grouped: dict[str, list[tuple[str, Fact]]] = {}
    for owner, facts in owners:
        for fact in facts:
            grouped.setdefault(fact.fact, []).append((owner, fact))
    found = []
    for name, asked in grouped.items():
        edges = sorted({edge for _, fact in asked for edge in (fact.over, fact.under)})
        # A value that meets an edge lies below it, and the last stretch is open.
        held = [
            tuple((owner, fact.weight) for owner, fact in asked if fact.over < upto <= fact.under)
            for upto in (*edges, inf)
        ]
        found.append((FACTS[name], edges, held))
    return found
