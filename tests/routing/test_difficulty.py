"""How hard asks are: the arithmetic, an order that holds in thirteen languages, and what it saves."""

from __future__ import annotations

import json
from functools import lru_cache
from math import exp, log1p
from pathlib import Path

import msgspec
import pytest
import yaml

from proxy.evaluate.curve import area, levels, trace
from proxy.evaluate.field import STRONG, WEAK, gather
from proxy.evaluate.rows import Graded, graded
from proxy.routing.classify import Classifier, Lexicon
from proxy.routing.difficulty import MARKS, NOTHING, Learned, Lesson, Weight, share, shipped, usual
from proxy.routing.features import extract
from proxy.types import ChatRequest

ROOT = Path(__file__).resolve().parents[2]
LEXICON = msgspec.convert(yaml.safe_load((ROOT / "config" / "intents.yml").read_text("utf-8")), Lexicon)
OUTCOMES = ROOT.parent / "shared" / "data" / "outcomes_train.jsonl"
CLASSIFIER, LEXICON_ALONE = Classifier(LEXICON), Classifier(LEXICON, lesson=Lesson(NOTHING))


def hard(ask: str, classifier: Classifier = CLASSIFIER) -> float:
    messages = [{"role": "user", "content": ask}]
    return classifier.classify(extract(ChatRequest(b"", {}, "auto", messages))).difficulty


@pytest.mark.parametrize(
    ("ask", "counts"),
    [
        ("", (0, 0, 0)),
        ("12 apples cost 3.50", (3, 0, 0)),
        ("one\ntwo\n", (0, 2, 0)),
        ('the "first" and the "last"', (0, 0, 4)),
        ("\ud800 7", (1, 0, 0)),
    ],
    ids=["nothing", "numbers, a decimal's halves apart", "lines", "quotes", "half a character"],
)
def test_marks_are_counted(ask: str, counts: tuple[int, ...]) -> None:
    assert tuple(count(ask.encode("utf-8", "replace")) for count in MARKS.values()) == counts


def test_weights_add_up_and_a_mark_counts_up_to_its_most() -> None:
    lesson = Lesson(Learned(-0.5, {"numbers": Weight(0.2, 3), "lines": Weight(-1.0, 2)}))
    assert lesson.odds("nothing") == -0.5
    assert lesson.odds("1 2\n") == pytest.approx(-0.5 + 0.2 * log1p(2) - log1p(1))
    assert lesson.odds("1 2 3 4 5") == lesson.odds("1 2 3") == pytest.approx(-0.5 + 0.2 * log1p(3))


def test_a_mark_that_is_not_counted_is_refused() -> None:
    with pytest.raises(KeyError, match="verbs"):
        Lesson(Learned(0.0, {"verbs": Weight(1.0, 1)}))


@pytest.mark.parametrize(
    ("difficulties", "found"),
    [([(1.0, 0.5)], 0.5), ([(0.5, 0.2), (0.5, 0.4)], 0.3), ([(1.0, 0.0)], 0.02), ([(1.0, 1.0)], 0.98)],
    ids=["one intent's own", "several by their confidence", "never impossible", "never certain"],
)
def test_intents_give_what_is_usual(difficulties: list[tuple[float, float]], found: float) -> None:
    assert share(usual(difficulties)) == found


@pytest.mark.parametrize("odds", [-1e9, -800.0, -3.0, 0.0, 3.0, 800.0, 1e9])
def test_any_odds_are_a_share(odds: float) -> None:
    assert share(odds) == pytest.approx(
        1 / (1 + exp(-odds)) if abs(odds) < 700 else float(odds > 0), abs=5e-4
    )


def test_what_is_shipped_moves_no_ask_by_much() -> None:
    dump = "\n".join('"{}", 17, 3.5'.format("x" * 8) for _ in range(5_000))
    assert abs(shipped().odds(dump) - shipped().odds("")) < 1.5


# An easy and a hard ask of about the same kind and length, written for this test.
PAIRS = {
    "en": ("What is the capital of Peru?", "Prove that there are infinitely many primes of the form 4k+3."),
    "de": (
        "Wie heißt die Hauptstadt von Peru?",
        "Beweise, dass es unendlich viele Primzahlen der Form 4k+3 gibt.",
    ),
    "fr": (
        "Quelle est la capitale du Pérou ?",
        "Démontre qu'il existe une infinité de nombres premiers 4k+3.",
    ),
    "es": ("¿Cuál es la capital de Perú?", "Demuestra que hay infinitos números primos de la forma 4k+3."),
    "it": ("Qual è la capitale del Perù?", "Dimostra che esistono infiniti numeri primi della forma 4k+3."),
    "pt": (
        "Qual é a capital do Peru?",
        "Escreva uma função em Python que resolva sudoku de forma eficiente.",
    ),
    "ru": ("Какая столица Перу?", "Докажи, что простых чисел вида 4k+3 бесконечно много."),
    "tr": ("Merhaba, bugün nasılsın?", "Python'da sudoku çözen bir fonksiyon yaz ve karmaşıklığını açıkla."),
    "zh": ("秘鲁的首都是哪里？", "证明形如4k+3的素数有无穷多个。"),
    "ja": ("ペルーの首都はどこですか？", "4k+3の形の素数が無限に存在することを証明してください。"),
    "ko": ("안녕! 오늘 기분 어때?", "파이썬으로 스도쿠를 푸는 함수를 작성하고 시간 복잡도를 설명해 줘."),
    "ar": ("مرحبا، كيف حالك اليوم؟", "اكتب دالة بلغة بايثون تحل لعبة سودوكو بكفاءة."),
    "hi": ("नमस्ते, आप कैसे हैं?", "पायथन में एक फ़ंक्शन लिखो जो सुडोकू हल करे।"),
}


@pytest.mark.parametrize("language", PAIRS)
def test_the_order_holds_in_every_language(language: str) -> None:
    easier, harder = PAIRS[language]
    assert hard(easier) + 0.05 < hard(harder)


# The same in every language: prove it, step by step, and compare.
PROOFS = {
    "en": "Prove step by step that the square root of 2 is irrational, and compare two proofs.",
    "de": "Beweise Schritt für Schritt, dass die Wurzel aus 2 irrational ist, und vergleiche zwei Beweise.",
    "fr": "Démontrez étape par étape que la racine de 2 est irrationnelle et comparez deux preuves.",
    "es": "Demuestra paso a paso que la raíz de 2 es irracional y compara dos demostraciones.",
    "it": "Dimostra passo dopo passo che la radice di 2 è irrazionale e confronta due dimostrazioni.",
    "pt": "Demonstre passo a passo que a raiz de 2 é irracional e compare duas demonstrações.",
    "ru": "Докажи шаг за шагом, что корень из 2 иррационален, и сравни два доказательства.",
    "tr": "2'nin karekökünün irrasyonel olduğunu adım adım kanıtla ve iki kanıtı karşılaştır.",
    "zh": "一步一步证明2的平方根是无理数，并对比两种证法。",
    "ja": "2の平方根が無理数であることを順を追って証明し、二つの証明を比較してください。",
    "ko": "2의 제곱근이 무리수임을 단계별로 증명하고 두 증명을 비교해 줘.",
    "ar": "أثبت خطوة بخطوة أن جذر 2 عدد غير نسبي وقارن بين برهانين.",
    "hi": "चरण दर चरण सिद्ध करो कि 2 का वर्गमूल अपरिमेय है और दो प्रमाणों की तुलना करो।",
}


@pytest.mark.parametrize("language", PROOFS)
def test_what_makes_an_ask_hard_is_understood_in_every_language(language: str) -> None:
    messages = [{"role": "user", "content": PROOFS[language]}]
    seen = CLASSIFIER.classify(extract(ChatRequest(b"", {}, "auto", messages)))
    marks = {label.partition(":")[2] for label in seen.evidence if label.startswith("difficulty:")}
    assert {"proof", "steps", "analysis"} <= marks
    assert seen.difficulty > 0.6


def test_what_was_learned_keeps_the_lexicons_order_in_other_languages() -> None:
    """Of any two asks of PAIRS, whatever their languages: who was harder stays harder, nearly always."""
    asks = [ask for pair in PAIRS.values() for ask in pair]
    before, after = [hard(ask, LEXICON_ALONE) for ask in asks], [hard(ask) for ask in asks]
    places = range(len(asks))
    apart = [(a, b) for a in places for b in places if before[a] + 0.1 < before[b]]
    kept = sum(after[a] < after[b] for a, b in apart)
    assert kept / len(apart) > 0.97


@lru_cache
def outcomes() -> tuple[list[Graded], list[float]]:
    """The rows, and how hard each is."""
    with OUTCOMES.open("rb") as lines:
        rows = graded(lines, OUTCOMES.name)
    return rows, [hard(row.body["prompt"]) for row in rows]


@pytest.mark.skipif(
    not OUTCOMES.is_file(), reason="../shared/data/outcomes_train.jsonl is not beside this checkout"
)
@pytest.mark.parametrize(
    "weak",
    ["gemma-2-9b-it", "llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3"],
)
def test_difficulty_saves_more_than_prompt_length_does(weak: str) -> None:
    """Per call and per dollar. The weights were learned on these outcomes: the training leaves groups out
    (tests/train/difficulty.py), this only holds what came of it."""
    rows, asks = outcomes()
    field = gather(rows, {WEAK: weak, STRONG: "llama-3.1-nemotron-51b-instruct"})
    pair, everything = field.pair(), range(field.rows)
    mine, length = (trace(pair, levels(score), everything) for score in (asks, field.lengths))
    for along in ("calls", "dollars"):
        recovered = [area(getattr(curve, along), curve.recovered) for curve in (mine, length)]
        assert recovered[0] > max(recovered[1], 0.5), json.dumps({along: recovered})
