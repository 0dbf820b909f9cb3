"""Words as points: near where they mean alike, read from the file that comes along, and bounded."""

from __future__ import annotations

from math import sqrt
from zlib import crc32

import pytest

from proxy.routing.semantic import WORDS
from proxy.routing.vectors import Vectors, shipped


def cosine(left: str, right: str) -> float:
    one, other = (added.lanes for word in (left, right) if (added := shipped().add([word])))
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / sqrt(sum(a * a for a in one) * sum(b * b for b in other))


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [("contract", "agreement", "banana"), ("slow", "faster", "lawyer"), ("crash", "failure", "poem")],
)
def test_words_that_are_used_alike_are_near(word: str, near: str, far: str) -> None:
    assert cosine(word, near) > cosine(word, far) + 0.2


def small(**rows: bytes) -> Vectors:
    keyed = sorted((crc32(word.replace("__", "##").encode()), row) for word, row in rows.items())
    keys = b"".join(key.to_bytes(4, "little") for key, _ in keyed)
    return Vectors(b"KVEC1\n2 %d\n" % len(rows) + keys + b"".join(row for _, row in keyed))


TINY = {"slow": b"\x90\x80", "__er": b"\x80\x8a", "s": b"\x80\x80"}


@pytest.mark.parametrize(
    ("words", "sums", "familiar"),
    [
        pytest.param(["slow"], [16, 0], 1.0, id="a word"),
        pytest.param(["slow", "slow"], [32, 0], 1.0, id="each time"),
        pytest.param(["slower"], [16, 10], 0.0, id="its pieces"),
        pytest.param(["slow00"], [16, 0], 1.0, id="digits aside"),
        pytest.param(["slow", "unheard", "?"], [16, 0], 0.5, id="beside one that is unknown"),
        pytest.param(["slow"] * WORDS, [16 * WORDS, 0], 1.0, id="as many as are read"),
    ],
)
def test_words_are_added(words: list[str], sums: list[int], familiar: float) -> None:
    found = small(**TINY).add(words)
    assert found is not None
    assert (found.lanes, found.familiar) == (sums, familiar)


@pytest.mark.parametrize("words", [["unheard", "慢"], ["000", "?"], []])
def test_of_unknown_words_nothing_is_told(words: list[str]) -> None:
    assert small(**TINY).add(words) is None


def test_a_full_lane_does_not_run_over() -> None:
    found = small(a=b"\xff\x00").add(["a"] * WORDS)
    assert found is not None
    assert found.lanes == [127 * WORDS, -128 * WORDS]


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"KVEC0\n2 1\n" + b"x" * 6, "not of this version"), (b"KVEC1\n2 1\nxxxxx", "cut short")],
)
def test_another_file_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Vectors(data)
