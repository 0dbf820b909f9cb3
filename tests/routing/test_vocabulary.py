"""What words mean by themselves: whole or by their pieces, alike in all languages."""

from __future__ import annotations

from zlib import crc32

import pytest

from proxy.routing.semantic import shipped as semantic
from proxy.routing.semantic import words as split
from proxy.routing.vocabulary import Vocabulary, empty, shipped


def vocabulary(rows: dict[str, tuple[int, ...]]) -> Vocabulary:
    """Of two intents: what a word says of each."""
    keyed = sorted((crc32(word.encode()), bytes(128 + one for one in row)) for word, row in rows.items())
    keys = b"".join(key.to_bytes(4, "little") for key, _ in keyed)
    return Vocabulary(b"KVOC1\n2 %d\n" % len(rows) + keys + b"".join(row for _, row in keyed))


def told(total: int, intents: int = 2) -> list[int]:
    lifted = total + sum(1 << 24 << 32 * lane for lane in range(intents))
    raw = lifted.to_bytes(4 * intents, "little")
    return [one - (1 << 24) for one in memoryview(raw).cast("I")]


TEA = {"tea": (5, -5), "##pots": (-128, 127), "茶": (4, 0)}


@pytest.mark.parametrize(
    ("word", "row"),
    [
        pytest.param("tea", [5, -5], id="as it stands"),
        pytest.param("teapots", [-123, 122], id="by its pieces"),
        pytest.param("tea00", [5, -5], id="digits aside"),
        pytest.param("茶", [4, 0], id="a character"),
        pytest.param("teaspoon", [0, 0], id="known in part: unknown"),
        pytest.param("pots", [0, 0], id="a piece by itself"),
        pytest.param("", [0, 0], id="empty"),
        pytest.param("\ud800", [0, 0], id="half a character"),
    ],
)
def test_rows_of_words(word: str, row: list[int]) -> None:
    assert told(vocabulary(TEA).row(word)) == row


def test_an_empty_one_knows_nothing() -> None:
    assert empty(10).row("tea") == 0


@pytest.mark.parametrize(
    ("intent", "listed"),
    [
        ("translation", ["translate", "übersetze", "traduis", "переведи", "çevir"]),
        ("writing", ["poem", "gedicht", "poème", "стихотворение", "şiir"]),
        ("long_context_summary", ["summarize", "zusammenfassung", "résume", "резюме", "özetle"]),
    ],
)
def test_a_word_says_alike_in_every_language(intent: str, listed: list[str]) -> None:
    place, count = semantic().intents.index(intent), len(semantic().intents)
    said = [told(shipped().row(folded), count)[place] for word in listed for folded in split(word)]
    assert min(said) > 0, said


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"KVOC0\n2 1\n" + b"x" * 8, "not of this version"), (b"KVOC1\n2 1\nxxxxx", "cut short")],
)
def test_another_file_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Vocabulary(data)
