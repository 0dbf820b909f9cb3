"""What was learned: read, bounded, and made from the exemplars that lie here."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path

import pytest

from proxy.routing.semantic import SLOTS, WORDS, Kept, Semantic, shipped, slots, words
from tests.routing.test_vocabulary import vocabulary

EXEMPLARS = Path(__file__).parents[1] / "train" / "exemplars"
HELD_OUT = ("held_out.txt", "strangers.txt", "strangers_sealed.txt")
WROTE = Path(__file__).parents[1] / "train" / "exemplars.sha256"


def test_an_unseen_ask_is_understood() -> None:
    found = shipped().read("Compose a short ballad about a fisherman")
    assert max(found, key=found.__getitem__) == "writing"


@pytest.mark.parametrize(
    "ask", ["", "?", "\ud800", "\x00", "0" * 9000], ids=["empty", "mark", "half", "nul", "0s"]
)
def test_anything_is_read(ask: str) -> None:
    assert set(shipped().read(ask)) == set(shipped().intents)


def test_a_megabyte_is_looked_at_by_its_ends() -> None:
    began = time.process_time()
    assert len(words("word and more " * 80_000)) <= WORDS
    shipped().read("word and more " * 80_000)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "ask", ["", "Why?", "写一首诗，关于 rain", "one " * 90, "a b c d e f g h a b c d", "translate " * 3]
)
def test_what_is_kept_of_words_adds_up_to_the_slots_that_were_trained(ask: str) -> None:
    table = random.Random(1).randbytes(2 * SLOTS)
    model = Semantic(b"KSEM2\na b\n0 0 0.002\n" + table)
    for _ in ("worked out", "remembered"):
        found = model.read(ask)
        told = [table[2 * slot] - table[2 * slot + 1] for slot in slots(ask)]
        assert found["a"] - found["b"] == pytest.approx(0.002 * sum(told) / len(told) ** 0.5)


@pytest.mark.parametrize(
    ("ask", "means"),
    [
        pytest.param("tea", 180, id="a word"),
        pytest.param("tea, coffee, more tea", 180 - 255, id="each once"),
        pytest.param("teapots 7", 180 + 3, id="its pieces"),
        pytest.param("a " * 12 + "tea " + "b " * 8, 0, id="in the middle"),
        pytest.param("a " * 11 + "tea b b b coffee " + "b " * 7, 180 - 255, id="first and last"),
        pytest.param("tea " * 200, 180, id="often"),
    ],
)
def test_what_the_first_and_last_words_mean_adds_up_beside_the_slots(ask: str, means: int) -> None:
    known = vocabulary({"tea": (90, -90), "coffee": (-128, 127), "##pots": (3, 0)})
    model = Semantic(b"KSEM2\na b\n0 0 0.002\n" + b"\x80" * (2 * SLOTS), known)
    for _ in ("worked out", "remembered"):
        found = model.read(ask)
        assert found["a"] - found["b"] == pytest.approx(0.002 * means / len(slots(ask)) ** 0.5)


def test_what_is_kept_is_bounded() -> None:
    kept = Kept[int, int](lambda number: -number, most=3)
    assert [kept[number] for number in (1, 2, 3, 1, 4, 1)] == [-1, -2, -3, -1, -4, -1]
    assert len(kept) <= 3


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not of this version"):
        Semantic(b"KSEM1\na b\n0 0 1\n")


def test_the_exemplars_are_those_that_it_was_trained_on() -> None:
    told = b"".join(path.read_bytes() for path in sorted(EXEMPLARS.glob("*.txt")))
    assert hashlib.sha256(told).hexdigest() == WROTE.read_text("ascii").strip(), "make train"


@pytest.mark.parametrize("name", HELD_OUT)
def test_no_exemplar_says_what_a_held_out_ask_says(name: str) -> None:
    asks = _lines(Path(__file__).with_name(name), "\t")
    held = {run for line in asks for run in _runs(line.split("\t")[1])}
    shared = [line for path in sorted(EXEMPLARS.glob("*.txt")) for line in _lines(path) if _runs(line) & held]
    assert shared == []


def _lines(path: Path, holding: str = "") -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if holding in line and line and not line.startswith(("#", "== "))]


def _runs(line: str) -> set[tuple[str, ...]]:
    """Every run of seven words, or of twelve where each character is one."""
    found = [word for word in words(line.replace("\\n", " ")) if word.isalnum()]
    size = 12 if sum(len(word) == 1 for word in found) > len(found) / 2 else 7
    return {tuple(found[start : start + size]) for start in range(len(found) - size + 1)}
