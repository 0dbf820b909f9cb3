"""What a lexicon's `facts` may ask of a request, and what their answers come to.

facts of all owners -> by name: the edges between which a value tells the same, and what that is
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from proxy.routing.ask import bounded
from proxy.routing.features import code_share
from proxy.routing.lexicon import Fact
from proxy.types import Features, Need


def _numbers(features: Features) -> float:
    raw = features.ask[:1500].encode("utf-8", "replace")
    return float(len(raw.translate(_DIGITS).split()))


_DIGITS = bytes(byte if 0x30 <= byte <= 0x39 or byte in b".," else 0x20 for byte in range(256))

_DEMANDS = frozenset((
    "must", "shall", "should", "never", "exactly", "least", "avoid", "ensure", "only", "without", "muss",
    "müssen", "soll", "sollen", "darf", "dürfen", "genau", "mindestens", "höchstens", "niemals", "ohne",
    "doit", "doivent", "jamais", "exactement", "moins", "sans", "debe", "deben", "nunca", "exactamente",
    "menos", "sin", "deve", "devem", "devono", "almeno", "esattamente", "senza", "exatamente", "sem",
    "должен", "должна", "должны", "нельзя", "ровно", "никогда", "gerekir", "olmalı", "olmalıdır", "asla",
    "يجب", "चाहिए",
))  # fmt: skip
_UNPARTED = (
    "必须", "必須", "不要", "不得", "至少", "最多", "不超过",
    "必ず", "しないで", "以上", "以内", "해야", "마세요", "이상", "이내",
)  # fmt: skip
"""Words by which an ask demands something; the second in scripts that don't part words."""
_MANY, _READ = 120, 2_000
"""Characters from which an ask may make many demands, and those that are looked at."""


def _demands(features: Features) -> float:
    if len(features.ask) < _MANY:
        return 0.0
    ask = bounded(features.ask, _READ)
    found = sum(map(_DEMANDS.__contains__, ask.lower().split()))
    return float(found if ask.isascii() else found + sum(map(ask.count, _UNPARTED)))


FACTS: dict[str, Callable[[Features], float]] = {
    "ask_chars": lambda features: float(len(features.ask)),
    "ask_lines": lambda features: float(features.ask.count("\n") + 1),
    "code_share": lambda features: code_share(features.ask),
    "prompt_tokens": lambda features: float(features.prompt_tokens),
    "turns": lambda features: float(features.turns),
    "numbers": _numbers,
    "demands": _demands,
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
