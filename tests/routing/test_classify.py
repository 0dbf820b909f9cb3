"""Intents and difficulty: labelled asks in many languages, follow-ups, and the engine on its own lexicons."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from proxy.errors import ConfigError
from proxy.evaluate.labels import macro_f1, said
from proxy.evaluate.rows import Labelled
from proxy.routing.classify import Classifier, Lexicon, classifier, combine, shares
from proxy.routing.features import extract
from proxy.routing.language import language
from proxy.routing.lexicon import COMPLAINT
from proxy.routing.text import fold, passages
from proxy.types import ChatRequest, Classification, Features

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DEVELOPMENT = ROOT.parent / "shared" / "data" / "intents_dev.jsonl"
FLOOR = 0.76
"""Macro-F1 on the development prompts below which something has broken; 0.79 when this was written."""
STRANGERS = 0.83
"""The same on either half of the asks that are written in the manner of strangers."""

INTENTS = {
    "casual_chat",
    "complex_reasoning",
    "code_generation",
    "long_context_summary",
    "math",
    "extraction",
    "writing",
    "translation",
    "factual_qa",
    "roleplay",
}
NAMES = {
    "chat": "casual_chat",
    "code": "code_generation",
    "reasoning": "complex_reasoning",
    "summarization": "long_context_summary",
}


def shipped() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "config" / "intents.yml").read_text("utf-8"))
    return loaded


CLASSIFIER = Classifier(msgspec.convert(shipped(), Lexicon))


def judged(*turns: str, **fields: Any) -> Classification:
    """The classification of a conversation's last turn, with an answer after each turn before it."""
    messages: list[dict[str, Any]] = []
    for turn in turns[:-1]:
        messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "Here you are."}]
    messages.append({"role": "user", "content": turns[-1]})
    return CLASSIFIER.classify(extract(ChatRequest(body=b"", fields=fields, model="auto", messages=messages)))


def labelled(name: str) -> list[Any]:
    """Rows of a text file: (turns, accepted intents), with an id to read."""
    found, before = [], []
    for line in (HERE / name).read_text("utf-8").splitlines():
        if line.startswith("> "):
            before.append(line[2:])
        elif "\t" in line and not line.startswith("#"):
            intents, ask = line.split("\t")
            turns = (*before, ask.replace("\\n", "\n"))
            title = " / ".join((*before[-1:], ask))
            found.append(pytest.param(turns, set(intents.split("|")), id=f"{intents}: {title[:70]}"))
            before = []
    return found


# --- what people ask


@pytest.mark.parametrize(("turns", "accepted"), labelled("asks.txt"))
def test_ask(turns: tuple[str, ...], accepted: set[str]) -> None:
    assert judged(*turns).top in accepted


@pytest.mark.parametrize(("turns", "accepted"), labelled("conversations.txt"))
def test_ask_within_a_conversation(turns: tuple[str, ...], accepted: set[str]) -> None:
    assert judged(*turns).top in accepted


@pytest.mark.parametrize(("turns", "accepted"), labelled("instructed.txt"))
def test_ask_under_instructions(turns: tuple[str, ...], accepted: set[str]) -> None:
    system, ask = turns
    messages = [{"role": "system", "content": system}, {"role": "user", "content": ask}]
    assert CLASSIFIER.classify(extract(ChatRequest(b"", {}, "auto", messages))).top in accepted


@pytest.mark.parametrize(("turns", "expected"), labelled("complaints.txt"))
def test_who_complains_of_the_answer_is_told_from_who_tells_of_what_is_wrong(
    turns: tuple[str, ...], expected: set[str]
) -> None:
    complains = judged(*turns).struggle >= COMPLAINT
    assert complains is ("yes" in expected)


def test_a_first_turn_complains_of_nothing() -> None:
    assert judged("that's wrong, try again").struggle == 0.0


def test_the_labelled_asks_cover_every_intent_in_many_languages() -> None:
    rows = labelled("asks.txt")
    assert len(rows) + len(labelled("conversations.txt")) >= 150
    languages = defaultdict(set)
    for row in rows:
        features = extract(_request(row.values[0][-1]))
        for intent in row.values[1]:
            languages[intent].add(language(features.ask))
    assert set(languages) == INTENTS
    assert all(len(found) >= 7 for found in languages.values())


def _request(ask: str) -> ChatRequest:
    return ChatRequest(body=b"", fields={}, model="auto", messages=[{"role": "user", "content": ask}])


def test_the_development_prompts_are_classified_as_well_as_ever() -> None:
    if not DEVELOPMENT.is_file():
        pytest.skip("../shared/data/intents_dev.jsonl is not beside this checkout")
    answers = []
    for line in filter(None, DEVELOPMENT.read_text("utf-8").split("\n")):
        row = json.loads(line)
        label, *others = (NAMES.get(name, name) for name in (row["gold_intent"], *row["also_ok"]))
        answers.append(said(Labelled(label, tuple(others)), *judged(row["prompt"]).intents[0]))
    assert macro_f1(answers) >= FLOOR


@pytest.mark.parametrize("name", ["strangers.txt", "strangers_sealed.txt"])
def test_strangers_are_understood_as_well_as_ever(name: str) -> None:
    answers = []
    for row in labelled(name):
        turns, (label,) = row.values
        answers.append(said(Labelled(label), *judged(*turns).intents[0]))
    assert macro_f1(answers) >= STRANGERS


# --- what a classification promises


@pytest.mark.parametrize(
    "ask",
    [
        "",
        " ",
        "?",
        "x",
        "🎉",
        "\x00",
        "\ud800",
        "0" * 5000,
        "Write a function and translate this poem into French",
    ],
    ids=["empty", "blank", "question mark", "letter", "emoji", "control", "surrogate", "digits", "several"],
)
def test_confidences_are_sorted_shares_and_never_empty(ask: str) -> None:
    found = CLASSIFIER.classify(Features(ask=ask))
    confidences = [confidence for _, confidence in found.intents]
    assert confidences
    assert confidences == sorted(confidences, reverse=True)
    assert 0.0 < confidences[-1] <= confidences[0] <= 1.0
    assert sum(confidences) <= 1.0 + 1e-9
    assert 0.0 <= found.difficulty <= 1.0
    assert {name for name, _ in found.intents} <= INTENTS


def test_an_ask_of_two_intents_lists_both() -> None:
    found = dict(judged("Write a love letter and translate it into French").intents)
    assert set(found) == {"writing", "translation"}


def test_clear_asks_are_surer_than_vague_ones() -> None:
    clear = judged("Write a Python function that reverses a linked list").intents[0][1]
    vague = judged("the blue one near the window").intents[0][1]
    assert clear > 0.9 > 0.7 > vague


def test_evidence_says_what_spoke() -> None:
    assert "translation:translate-language" in judged("Translate this into German: good morning").evidence


def test_nothing_at_all_is_the_default_intent() -> None:
    assert CLASSIFIER.classify(Features(ask="")).top == "casual_chat"


@pytest.mark.parametrize(
    ("chore", "intent"),
    [("title", "casual_chat"), ("compaction", "long_context_summary"), ("unheard_of", "casual_chat")],
)
def test_chores_are_not_judged_by_the_conversation_they_quote(chore: str, intent: str) -> None:
    found = CLASSIFIER.classify(Features(ask="Write a Python function", background=chore))
    assert (found.top, found.evidence) == (intent, ("background",))
    assert found.difficulty < 0.3


def test_code_that_is_pasted_without_words_is_code() -> None:
    assert judged('```\nfn main() { println!("{}", 1 + 1); }\n```').top == "code_generation"


def test_a_long_paste_with_a_request_at_its_end_is_a_summary() -> None:
    paste = "The council met again and spoke about bridges, roads and the new school. " * 300
    assert judged(f"{paste}\nPlease summarize what was said.").top == "long_context_summary"


def test_a_long_paste_with_a_request_at_its_beginning_is_a_summary() -> None:
    paste = "The council met again and spoke about bridges, roads and the new school. " * 300
    assert judged(f"Give me the key points of this transcript.\n{paste}").top == "long_context_summary"


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        pytest.param(
            "hi", "Prove that there are infinitely many primes.", id="a proof is harder than a greeting"
        ),
        pytest.param(
            "What is the capital of France?",
            "Design a scalable architecture for a distributed queue and weigh the trade-offs.",
            id="a design is harder than a lookup",
        ),
        pytest.param(
            "Write a simple hello world in Python",
            "Implement a lock-free concurrent hash map in C++ with optimal memory use.",
            id="constraints make code harder",
        ),
        pytest.param(
            "Translate 'cat' into French",
            "Analyze the ethical implications of gene editing and critically compare two positions.",
            id="analysis is harder than a word",
        ),
        pytest.param("What is 17 * 23?", "Find all functions f with f(x+f(y)) = f(x) + y.", id="one line"),
        pytest.param(
            "Solve x^2 = 49",
            "Find all positive integers n for which n^2 + n + 11 is a square.",
            id="a contest's problem is harder than an equation",
        ),
        pytest.param("Write a poem on sleep", "Write a sestina on sleep.", id="a strict form"),
        pytest.param(
            "Write an HTTP client in Go", "Write Raft consensus in Go.", id="what is distributed is harder"
        ),
        pytest.param(
            "Write an ad. It is for our new bicycle, which folds in ten seconds, weighs nine kilograms and "
            "comes in red, green and blue; we sell it from May on, for nine hundred euros.",
            "Write an ad. It must have exactly three paragraphs, never an exclamation mark, at least two "
            "numbers, no more than 90 words, and the last sentence should have exactly seven words.",
            id="who demands much",
        ),
    ],
)
def test_difficulty_orders_asks(easier: str, harder: str) -> None:
    assert judged(easier).difficulty < judged(harder).difficulty


# --- bounded


MEGABYTE = 1_000_000
HOSTILE = {
    "one letter": "a" * MEGABYTE,
    "line ends": "\n" * MEGABYTE,
    "short lines": "what is\n" * (MEGABYTE // 8),
    "bait for nested quantifiers": "(a+)+" * (MEGABYTE // 5),
    "words of a pattern": "how many " * (MEGABYTE // 9),
    "emoji": "😀" * (MEGABYTE // 4),
    "Han": "翻译总结计算" * (MEGABYTE // 18),
    "digits": "1+" * (MEGABYTE // 2),
    "many languages": "write schreibe écris 写 напиши اكتب " * (MEGABYTE // 50),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_costs_a_bounded_time(name: str) -> None:
    asked = _request(HOSTILE[name])
    best = min(_took(asked) for _ in range(3))
    assert best < 0.05, f"{best * 1000:.1f} ms"


def _took(asked: ChatRequest) -> float:
    started = time.perf_counter()
    CLASSIFIER.classify(extract(asked))
    return time.perf_counter() - started


# --- the engine, on lexicons of its own


def lexicon(intents: Mapping[str, Any] | None = None, **others: Any) -> Lexicon:
    given = {"chat": {"default": True}, **(intents or {})}
    return msgspec.convert({"intents": given, **others}, Lexicon)


def top(book: Lexicon, ask: str) -> str:
    return Classifier(book).classify(Features(ask=ask)).top


@pytest.mark.parametrize(
    ("pattern", "ask", "holds"),
    [
        pytest.param(r"\bcats?\b", "Two CATS here", True, id="case does not matter"),
        pytest.param(r"\bCATS\b", "two cats", True, id="nor in the pattern"),
        pytest.param("straße", "Die STRASSE", True, id="sharp s"),
        pytest.param("übung", "eine ubung", True, id="an accent may be missing in the text"),
        pytest.param("ubung", "eine Übung", True, id="or in the pattern"),
        pytest.param("ёлка", "елка", True, id="yo and ye"),
        pytest.param("写", "请写一首诗", True, id="Han"),
        pytest.param(r"^now", "Well. Now go", True, id="a caret is a sentence's beginning"),
        pytest.param(r"^now", "just now", False, id="and not its middle"),
        pytest.param(r"\p{Greek}", "Ωμέγα και άλφα", True, id="classes keep their spelling"),
        pytest.param(r"\Bat\b", "cat", True, id="escapes keep their case"),
        pytest.param("<pets>", "my dog", True, id="a word of a list"),
        pytest.param("<pets>", "dogma", False, id="words end where they end"),
        pytest.param("<pets>", "kittens", True, id="unless left open"),
        pytest.param("<pets>", "у меня кот", True, id="Cyrillic words"),
        pytest.param("<pets>", "который час", False, id="Cyrillic words end, too"),
        pytest.param("<pets>", "我的猫很可爱", True, id="words that no spaces part"),
        pytest.param("^<pets>", '"dog', True, id="a word at the beginning, punctuation aside"),
        pytest.param("^<pets>", "my dog", False, id="and not in the middle"),
        pytest.param(r"my <pets>\?", "my dog?", True, id="a list within a pattern"),
    ],
)
def test_pattern(pattern: str, ask: str, holds: bool) -> None:
    book = lexicon(
        {"hit": {"patterns": [{"re": pattern, "weight": 4}]}},
        words={"pets": [["dog", "kitten*"], ["кот", "猫"]]},
    )
    assert (top(book, ask) == "hit") is holds


@pytest.mark.parametrize(
    ("ask", "intent"),
    [
        pytest.param("write me a poem", "hit", id="both in one sentence"),
        pytest.param("a poem to write", "hit", id="in either order"),
        pytest.param("write to me. I read a poem.", "chat", id="not in two sentences"),
        pytest.param("write", "chat", id="not one alone"),
    ],
)
def test_near_is_the_same_sentence(ask: str, intent: str) -> None:
    book = lexicon({"hit": {"patterns": [{"re": "write", "near": "poem", "weight": 4}]}})
    assert top(book, ask) == intent


def test_negative_weights_speak_against() -> None:
    patterns = [{"re": "code", "weight": 3}, {"re": "zip code", "weight": -4}]
    book = lexicon({"hit": {"patterns": patterns}})
    assert top(book, "some code") == "hit"
    assert top(book, "a zip code") == "chat"


@pytest.mark.parametrize(
    ("lines", "intent"),
    [
        pytest.param(1, "chat", id="far below"),
        pytest.param(2, "chat", id="not at `over`"),
        pytest.param(3, "hit", id="just above `over`"),
        pytest.param(5, "hit", id="still at `under`"),
        pytest.param(6, "miss", id="where the next begins"),
        pytest.param(99, "miss", id="without end where no `under` is given"),
    ],
)
def test_a_fact_holds_within_its_bounds(lines: int, intent: str) -> None:
    few = {"fact": "ask_lines", "over": 2, "under": 5, "weight": 4}
    book = lexicon(
        {"hit": {"facts": [few]}, "miss": {"facts": [{"fact": "ask_lines", "over": 5, "weight": 4}]}}
    )
    assert top(book, "\n".join(["x"] * lines)) == intent


def test_the_same_evidence_is_weighed_once() -> None:
    book = Classifier(lexicon({"hit": {"patterns": [{"re": "code", "weight": 2}]}}))
    one, same = (book.classify(Features(ask=ask)) for ask in ("code, please", "some code"))
    other = book.classify(Features(ask="please"))
    assert one == same
    assert one != other


def test_evidence_weighs_as_much_as_where_it_stood() -> None:
    book = Classifier(lexicon({"hit": {"patterns": [{"re": "code", "weight": 2}]}}))
    bulk = [f"Sentence number {number} says nothing at all of any interest." for number in range(60)]
    first, inner = ["A code.", *bulk], [*bulk[:30], "A code.", *bulk[30:]]
    both = [*inner, "A code."]
    edge, middle, ends = (book.classify(Features(ask=" ".join(lines))) for lines in (first, inner, both))
    assert dict(edge.intents)["hit"] > dict(middle.intents)["hit"]
    assert edge == ends


def test_a_lexicon_that_was_just_checked_is_not_made_ready_again() -> None:
    built = classifier(lexicon({"a": {"patterns": ["fine"]}}))
    with pytest.raises(ConfigError):
        classifier(lexicon({"a": {"patterns": ["(wrong"]}}))
    assert classifier(lexicon({"a": {"patterns": ["fine"]}})) is built
    assert classifier(lexicon({"a": {"patterns": ["good"]}})) is not built


def test_every_problem_of_a_lexicon_is_named_at_once() -> None:
    book = lexicon(
        {
            "a": {"patterns": ["fine", r"(?=ahead)", {"re": "x", "near": "(y"}]},
            "b": {"patterns": ["<nowhere>", "from.*to"], "default": False},
        },
        follow_up=["[z"],
        difficulty={"patterns": ["a{2000}"]},
    )
    with pytest.raises(ConfigError) as caught:
        Classifier(book, "config/intents.yml")
    paths = [problem.split(": ")[1] for problem in caught.value.problems]
    assert paths == [
        "intents.a.patterns[1].re",
        "intents.a.patterns[2].near",
        "intents.b.patterns[0].re",
        "intents.b.patterns[1].re",
        "difficulty.patterns[0].re",
        "follow_up[0].re",
    ]
    assert all(problem.startswith("config/intents.yml: ") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param({"intents": {"a": {}}}, "exactly one needs `default: true`, not 0", id="no default"),
        pytest.param(
            {"intents": {"a": {"default": True}, "b": {"default": True}}}, "not 2", id="two defaults"
        ),
        pytest.param(
            {"intents": {"a": {"default": True, "facts": [{"fact": "mood"}]}}},
            "intents.a.facts[0]: 'mood' is none of",
            id="an unknown fact",
        ),
        pytest.param(
            {"intents": {"a": {"default": True, "difficulty": 3}}},
            "not within 0..1",
            id="an impossible difficulty",
        ),
        pytest.param(
            {"intents": {"difficulty": {"default": True}}}, "the name is taken", id="a reserved name"
        ),
    ],
)
def test_an_unusable_lexicon_is_refused(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("[", r"\[").replace("]", r"\]")):
        Classifier(msgspec.convert(raw, Lexicon))


def test_the_shipped_lexicon_describes_the_ten_intents() -> None:
    book = msgspec.convert(shipped(), Lexicon)
    assert set(book.intents) == INTENTS
    assert all(spec.description for spec in book.intents.values())


# --- its arithmetic


@pytest.mark.parametrize(
    ("weights", "total"),
    [
        pytest.param([], 0.0, id="nothing"),
        pytest.param([2.0], 2.0, id="one piece counts whole"),
        pytest.param([1.0, 2.0], 2.6, id="the weaker counts less"),
        pytest.param([-1.0, 2.0], 1.0, id="for and against are apart"),
        pytest.param([-1.0, -1.0, 0.0], -1.6, id="objections fade likewise"),
    ],
)
def test_combine(weights: list[float], total: float) -> None:
    assert combine(weights) == pytest.approx(total)


def test_shares_leave_out_what_hardly_counts() -> None:
    assert [name for name, _ in shares([(0.0, "a"), (4.0, "b"), (-9.0, "c")])] == ["b"]
    assert dict(shares([(1.0, "a"), (1.0, "b")])) == {"a": 0.5, "b": 0.5}


def test_passages_weigh_edges_more_than_the_bulk() -> None:
    text = "Do this. " + "Filler sentence number one. " * 200 + "Do that."
    weights = [weight for weight, _ in passages(fold(text))]
    assert weights[0] == weights[-1] == 1.0
    assert set(weights[1:-1]) == {0.3}
    assert len(weights) <= 30


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ÜBER Straße", b"uber strasse"),
        ("Żółć ılık", b"zolc ilik"),
        ("Ёж", "еж".encode()),
        ("Plain", b"plain"),
        ("Sí", b"si"),
        ("été", b"ete"),
        ("да", "да".encode()),
        ("はい", "はい".encode()),
        ("é" * 100, ("é" * 100).encode()),
        ("¿", b""),
    ],
)
def test_fold(text: str, folded: bytes) -> None:
    assert fold(text) == folded
