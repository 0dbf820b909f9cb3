"""Two opinions, pooled: neither the rules nor what was learned has a veto."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.routing.blend import shipped
from proxy.routing.classify import Classifier
from proxy.routing.lexicon import Lexicon
from proxy.routing.semantic import shipped as learned
from proxy.types import Features

INTENTS = learned().intents
BALLAD = "Compose a short ballad about a fisherman"
"""What was learned says `writing`; the lexicons below say what each test makes them say."""


def top(ask: str, *patterns: dict[str, Any], own: str = "math") -> str:
    """The leading intent by a lexicon of the ten, and `own`, which these patterns speak for."""
    intents: dict[str, Any] = {name: {"default": name == "casual_chat"} for name in (*INTENTS, own)}
    intents[own] = {**intents[own], "patterns": list(patterns)}
    return Classifier(msgspec.convert({"intents": intents}, Lexicon)).classify(Features(ask=ask)).top


def test_each_counts_something() -> None:
    found = shipped()
    assert min(found.alone, found.rules, found.learned) > 0.3


@pytest.mark.parametrize(
    ("weight", "intent"),
    [
        pytest.param(1.0, "writing", id="a hint does not overrule what was learned"),
        pytest.param(9.0, "math", id="what was learned does not overrule certainty"),
    ],
)
def test_the_stronger_opinion_wins(weight: float, intent: str) -> None:
    assert top(BALLAD, {"re": "fisherman", "weight": weight}) == intent


@pytest.mark.parametrize(
    ("weight", "intent"),
    [
        pytest.param(0.0, "writing", id="nothing learned of it is nothing for it"),
        pytest.param(4.0, "seafaring", id="and its patterns can speak for it"),
    ],
)
def test_an_intent_of_which_nothing_was_learned(weight: float, intent: str) -> None:
    assert top(BALLAD, {"re": "fisherman", "weight": weight}, own="seafaring") == intent


def test_a_lexicon_of_other_intents_is_judged_by_its_rules_alone() -> None:
    raw = {"intents": {"chat": {"default": True}, "sea": {"patterns": [{"re": "fisherman", "weight": 2}]}}}
    found = Classifier(msgspec.convert(raw, Lexicon)).classify(Features(ask=BALLAD))
    assert found.top == "sea"
    assert not [label for label in found.evidence if label.startswith("semantic:")]
