"""Intents by example: asks in other words are found, those that are only near aren't, others stay theirs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
import pytest
import yaml

from proxy.routing.classify import Classifier
from proxy.routing.lexicon import Lexicon
from proxy.routing.likeness import by_examples, direction, doubtful, taught
from proxy.routing.semantic import words
from proxy.types import Classification, Features

ROOT = Path(__file__).resolve().parents[2]
OWN = Path(__file__).resolve().parent / "own"
SHIPPED: dict[str, Any] = yaml.safe_load((ROOT / "config" / "intents.yml").read_text("utf-8"))
Rows = list[tuple[set[str], str]]


def labelled(path: Path) -> Rows:
    """(intents of which any is right, ask)."""
    lines = [
        line.split("\t") for line in path.read_text("utf-8").splitlines() if "\t" in line and line[0] != "#"
    ]
    return [(set(intents.split("|")), ask.replace("\\n", "\n")) for intents, ask in lines]


def examples(name: str, count: int = 8) -> dict[str, Any]:
    """An operator's entries of a file, with so many examples each."""
    entries = yaml.safe_load((OWN / name).read_text("utf-8"))["intents"]
    return {intent: {**entry, "examples": entry["examples"][:count]} for intent, entry in entries.items()}


def classifier(own: dict[str, Any]) -> Classifier:
    return Classifier(msgspec.convert({**SHIPPED, "intents": {**SHIPPED["intents"], **own}}, Lexicon))


def judged(model: Classifier, rows: Rows) -> list[Classification]:
    return [model.classify(Features(ask=ask)) for _, ask in rows]


def macro_f1(rows: Rows, said: Iterable[str], names: Iterable[str]) -> float:
    pairs = [(gold, answer) for (gold, _), answer in zip(rows, said, strict=True)]

    def f1(name: str) -> float:
        right = sum(name in gold and answer == name for gold, answer in pairs)
        false = sum(name not in gold and answer == name for gold, answer in pairs)
        missed = sum(name in gold and answer not in gold for gold, answer in pairs)
        return 2 * right / (2 * right + false + missed or 1)

    return fmean(map(f1, names))


THREE = examples("three.yml")
MODEL, PLAIN = classifier(THREE), classifier({})


@pytest.mark.parametrize(
    ("file", "count", "alone", "among_near"),
    [
        pytest.param("three", 8, 0.81, 0.79, id="by eight examples"),
        pytest.param("three", 5, 0.70, 0.68, id="by five"),
        pytest.param("sealed", 8, 0.84, 0.82, id="of intents that nothing was chosen by, by eight"),
        pytest.param("fresh", 8, 0.72, 0.68, id="of those of others, which were looked at once"),
        pytest.param("sealed", 5, 0.82, 0.81, id="of those by five"),
    ],
)
def test_asks_in_other_words_are_found(file: str, count: int, alone: float, among_near: float) -> None:
    rows, own = labelled(OWN / f"{file}.txt"), examples(f"{file}.yml", count)
    said = [one.top for one in judged(classifier(own), rows)]
    assert macro_f1(rows, said, own) >= among_near
    theirs = [(row, answer) for row, answer in zip(rows, said, strict=True) if row[0] & own.keys()]
    assert macro_f1([row for row, _ in theirs], [answer for _, answer in theirs], own) >= alone


def test_the_other_intents_lose_next_to_nothing() -> None:
    rows = labelled(OWN.parent / "asks.txt") + labelled(OWN.parent / "held_out.txt")
    names = set(SHIPPED["intents"])
    before, after = ([one.top for one in judged(model, rows)] for model in (PLAIN, MODEL))
    assert macro_f1(rows, after, names) >= macro_f1(rows, before, names) - 0.01


def test_confidence_is_the_share_that_is_right() -> None:
    rows = labelled(OWN / "three.txt") + labelled(OWN.parent / "held_out.txt")
    told = zip(rows, judged(MODEL, rows), strict=True)
    own = [(one.intents[0][1], one.top in gold) for (gold, _), one in told if one.top in THREE]
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 1.0)):
        stretch = [(sure, right) for sure, right in own if low <= sure < high]
        assert abs(fmean(sure for sure, _ in stretch) - fmean(right for _, right in stretch)) < 0.15


def test_asks_in_other_languages_than_the_examples_keep_their_intent_or_find_their_own() -> None:
    rows = labelled(OWN / "foreign.txt")
    before, after = ([one.top for one in judged(model, rows)] for model in (PLAIN, MODEL))
    assert all(now == then or now in gold for (gold, _), then, now in zip(rows, before, after, strict=True))


def test_many_intents_are_measured_in_one_go_as_each_by_itself() -> None:
    model, ask = by_examples({name: spec["examples"] for name, spec in THREE.items()}), "our join is slow"
    assert model is not None
    chances, point, learned = model.read(words(ask)), model.point(ask), taught()
    assert point is not None
    alone = learned.bias + learned.common * point.common
    alone += sum(one.counts * of for one, of in zip(learned.kinds.values(), point.kind, strict=True))
    odds = {}
    for name, spec in THREE.items():
        way = direction([placed for one in spec["examples"] if (placed := model.point(one)) is not None])
        subject, kind = way.along(point)
        odds[name] = exp(alone + learned.subject * subject + learned.kind * kind)
    whole = 1.0 + sum(odds.values())
    assert chances == pytest.approx({name: one / whole for name, one in odds.items()}, rel=0.03)


def test_examples_in_another_language_take_nobodys_asks() -> None:
    german = (
        "Welchen Index brauche ich, damit die Abfrage schneller wird?",
        "Ist diese Haftungsklausel akzeptabel?",
    )
    model = classifier({"eigenes": {"examples": german}})
    rows = labelled(OWN / "foreign.txt")
    assert [one.top for one in judged(model, rows)] == [one.top for one in judged(PLAIN, rows)]


@pytest.mark.parametrize(
    ("ask", "intent"),
    [
        pytest.param("our nightly report query got ten times slower", "sql_tuning", id="in other words"),
        pytest.param("write a haiku about databases", "writing", id="its subject alone is not enough"),
        pytest.param("What does SLO mean?", "factual_qa", id="nor is its field"),
        pytest.param("Translate the contract clause into French", "translation", id="nor are its words"),
        pytest.param("hey, how are you", "casual_chat", id="what has nothing to do with it"),
        pytest.param("这条查询太慢了", "casual_chat", id="a language of no example is not compared"),
    ],
)
def test_an_ask_goes_to_whom_it_is_like(ask: str, intent: str) -> None:
    assert MODEL.classify(Features(ask=ask)).top == intent


def test_the_evidence_names_the_examples() -> None:
    found = MODEL.classify(
        Features(ask="Postgres scans the whole table, which index would make the query faster?")
    )
    assert found.top == "sql_tuning"
    assert "examples:sql_tuning" in found.evidence
    assert sum(share for _, share in found.intents) <= 1.0 + 1e-9


def test_a_follow_up_means_what_the_turn_before_it_meant() -> None:
    before = "Why is this join so slow, should I add an index on customer_id?"
    assert MODEL.classify(Features(ask="and now?", context=(before,), turns=2)).top == "sql_tuning"


def test_examples_help_a_shipped_intent_too() -> None:
    ask = "Sort the leads by how likely they are to buy and put each into a bucket"
    more = {"extraction": {**SHIPPED["intents"]["extraction"], "examples": [
        "Put each of these leads into hot, warm or cold", "which bucket does this lead belong to",
        "sort the incoming leads by how likely they are to sign", "Label every lead with a likelihood to buy",
        "assign the leads to the right pipeline stage",
    ]}}  # fmt: skip
    chance = dict(PLAIN.classify(Features(ask=ask)).intents).get("extraction", 0.0)
    assert dict(classifier(more).classify(Features(ask=ask)).intents)["extraction"] > chance + 0.2


def test_without_examples_nothing_is_read() -> None:
    assert by_examples({"a": (), "b": ()}) is None


def test_a_megabyte_costs_a_bounded_time() -> None:
    began = time.process_time()
    for ask in ("slow query " * 90_000, "x" * 1_000_000, "慢" * 300_000):
        MODEL.classify(Features(ask=ask))
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("ask", ["", " ", "?", "\x00", "\ud800", "0" * 5000, "zzzz qqqq"])
def test_anything_is_read(ask: str) -> None:
    chances = by_examples({"a": ("a slow query",)}).read(words(ask))  # type: ignore[union-attr]
    assert sum(chances.values()) < 1.0


# --- what an operator is warned of


SLOW = ("This query is slow", "Which index makes the join faster", "the database needs minutes for a report")
SLUGGISH = (
    "My query takes forever",
    "How do I make a slow join faster with an index",
    "a report that takes the database minutes",
)
CLAUSES = (
    "Is this liability clause acceptable",
    "Review the contract for risks",
    "what does the NDA oblige us to",
)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param({"a": SLOW, "b": CLAUSES}, [], id="two that are apart"),
        pytest.param(
            {"a": SLOW, "b": SLUGGISH},
            [("a", "examples: those of 'b' are too much like them for the two to be told apart")],
            id="two of one kind",
        ),
        pytest.param(
            {"a": (*CLAUSES, "慢查询")},
            [("a", "examples[3]: is not understood, for it is not English: nothing is learned from it")],
            id="an example that says nothing",
        ),
        pytest.param(
            {"a": (*CLAUSES, "Ist diese Haftungsklausel für einen Lieferanten akzeptabel?")},
            [("a", "examples[3]: is not understood, for it is not English: nothing is learned from it")],
            id="one in another language",
        ),
        pytest.param({"a": ()}, [], id="none at all"),
    ],
)
def test_examples_that_will_not_do(given: dict[str, tuple[str, ...]], told: list[tuple[str, str]]) -> None:
    assert list(doubtful(given)) == told
