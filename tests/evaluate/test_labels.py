"""Precision, recall, F1, confusion and calibration of a handful of answers, worked by hand."""

from __future__ import annotations

from random import Random

import pytest

from proxy.evaluate.labels import PerIntent, Reliability, Said, Share, measure, per_intent, said
from proxy.evaluate.rows import Labelled

ANSWERS = [
    Said("math", "math", 0.95, "en", "a"),
    Said("math", "math", 0.85, "de", "a"),
    Said("math", "code", 0.35, "en", "b"),
    Said("code", "code", 0.97, "en", "b"),
    Said("code", "chat", 0.45, "de", "b"),
]


def test_an_accepted_answer_counts_as_the_label() -> None:
    row = Labelled("writing", ("roleplay",), "en", "x")
    assert said(row, "roleplay", 0.7) == Said("writing", "writing", 0.7, "en", "x")
    assert said(row, "math", 0.7).right is False


def test_each_intent_has_its_precision_recall_and_f1() -> None:
    assert per_intent(ANSWERS) == {
        "chat": PerIntent(0.0, 0.0, 0.0, 0),
        "code": PerIntent(0.5, 0.5, 0.5, 2),
        "math": PerIntent(1.0, 2 / 3, 0.8, 3),
    }


def test_the_card_tells_all_of_it() -> None:
    card = measure(ANSWERS, times=50, chance=Random(1).random)
    assert card.accuracy.value == pytest.approx(0.6)
    assert card.macro_f1.value == pytest.approx(0.65), "the mean over intents that are a label"
    assert card.confusion == {"code": {"chat": 1, "code": 1}, "math": {"math": 2, "code": 1}}
    assert card.languages == {"de": Share(0.5, 2), "en": Share(2 / 3, 3)}
    assert card.sources == {"a": Share(1.0, 2), "b": Share(1 / 3, 3)}
    assert card.calibration == [
        Reliability(0.35, 0.0, 1),
        Reliability(0.45, 0.0, 1),
        Reliability(0.85, 1.0, 1),
        Reliability(0.96, 1.0, 2),
    ]
    assert card.off == pytest.approx((0.35 + 0.45 + 0.15 + 2 * 0.04) / 5)


def test_the_same_seed_tells_the_same_and_progress_is_told() -> None:
    done: list[int] = []
    assert measure(ANSWERS, 4, Random(9).random, done.append) == measure(ANSWERS, 4, Random(9).random)
    assert done == [1, 2, 3, 4]
