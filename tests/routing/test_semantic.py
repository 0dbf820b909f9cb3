"""What was learned: read, bounded, and made from the exemplars that lie here."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from proxy.routing.semantic import TOKENS, Semantic, marks, shipped

EXEMPLARS = Path(__file__).parents[1] / "train" / "exemplars"
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
    assert len(marks("word and more " * 80_000)) < 4 * TOKENS
    shipped().read("word and more " * 80_000)
    assert time.process_time() - began < 0.5


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not of this version"):
        Semantic(b"KSEM0\na b\n0 0 1\n")


def test_the_exemplars_are_those_that_it_was_trained_on() -> None:
    told = b"".join(path.read_bytes() for path in sorted(EXEMPLARS.glob("*.txt")))
    assert hashlib.sha256(told).hexdigest() == WROTE.read_text("ascii").strip(), "make train"
