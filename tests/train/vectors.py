"""Distils proxy/routing/vectors.bin from all-MiniLM-L6-v2: needs numpy, scipy and the model's package.

python -m tests.train.vectors      the same bytes for the same exemplars, versions and kind of processor

What the model makes of each word by itself is a beginning. A linear map, and then a step of each word's own,
are fitted so that the words of an ask add up to what the model makes of the whole, over the English
exemplars; the directions in which asks differ most are kept.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from scipy import sparse

from proxy.routing.semantic import words
from tests.train.invented import invented
from tests.train.minilm import MiniLM
from tests.train.train import exemplars

OUT = Path(__file__).resolve().parents[2] / "proxy" / "routing" / "vectors.bin"

WIDTH = 128
READ = 62
"""Pieces of an ask that the model is shown."""

RARE = 1e-3
"""Share of all words up to which a word counts whole (the SIF weighting of Arora et al. 2017)."""

HELD, HELD_WORD = 1.0, 0.03
"""How much the map, and each word's own step, are held near nothing."""

SPREAD = 5.0
"""Standard deviations that a byte reaches to."""

_PIECE = re.compile("(?:##)?[a-z]+")
Matrix = np.ndarray[Any, np.dtype[np.float64]]


def main() -> None:
    model = MiniLM()
    asks = english()
    listed = vocabulary(model, asks)
    place = {word: row for row, word in enumerate(listed)}
    alone = model.encode([pieces(model, word) for word in listed]).astype("f8")
    alone -= alone.mean(0)
    whole = model.encode([asked(model, ask) for ask in asks]).astype("f8")
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    counts = counted(asks, place, shares(model, listed))
    rows = fitted(alone, whole, counts)
    weighed = rows * shares(model, listed)[:, None]
    write(listed, weighed)


def english() -> list[str]:
    """The exemplars and invented asks that are English."""
    found = [ask for _, ask, file in exemplars() if file.startswith("en_")]
    return [*found, *[ask for _, asks, near in invented() for ask in (*asks, *near)]]


def vocabulary(model: MiniLM, asks: list[str]) -> list[str]:
    """The model's pieces, and the words of the asks."""
    known = [piece for piece in model.pieces if _PIECE.fullmatch(piece)]
    plain = {word for ask in asks for word in words(ask) if re.fullmatch("[a-z]+", word)}
    return known + sorted(word for word in plain - set(known) if model.split(word))


def pieces(model: MiniLM, word: str) -> list[int]:
    return [model.number[word]] if word in model.number else model.split(word)


def asked(model: MiniLM, ask: str) -> list[int]:
    """The pieces of an ask's beginning."""
    return [piece for word in re.findall("[a-z]+|[^a-z ]", ask.lower()) for piece in model.split(word)][:READ]


def shares(model: MiniLM, listed: list[str]) -> Matrix:
    """What each word counts: the model lists its words by frequency, and Zipf's law is held to be theirs."""
    first = model.number["the"]
    rank = np.array([max(0, model.number.get(word, len(model.pieces)) - first) for word in listed])
    often = 1 / (rank + 2.7) / np.log(len(model.pieces))
    return RARE / (RARE + often)


def counted(asks: list[str], place: dict[str, int], weights: Matrix) -> sparse.csr_matrix:
    rows, columns = [], []
    for row, ask in enumerate(asks):
        found = [place[word] for word in sorted(set(words(ask))) if word in place]
        rows += [row] * len(found)
        columns += found
    return sparse.csr_matrix((weights[columns], (rows, columns)), shape=(len(asks), len(place)))


def fitted(alone: Matrix, whole: Matrix, counts: sparse.csr_matrix) -> Matrix:
    """Each word's row."""
    sums = counts @ alone
    length = np.linalg.norm(sums, axis=1) + 1e-9
    counts = sparse.diags(1 / length) @ counts
    sums, middle, target = sums / length[:, None], (sums / length[:, None]).mean(0), whole - whole.mean(0)
    apart = sums - middle
    mapped = np.linalg.solve(apart.T @ apart + HELD * np.eye(apart.shape[1]), apart.T @ target)
    rows = alone @ mapped + steps(counts, target - apart @ mapped)
    told = counts @ rows
    _, _, directions = np.linalg.svd(told - told.mean(0), full_matrices=False)
    return rows @ directions[:WIDTH].T


def steps(counts: sparse.csr_matrix, missing: Matrix, rounds: int = 30) -> Matrix:
    """The words' own steps that make up for what is missing: ridge regression by conjugate gradients."""
    found = np.zeros((counts.shape[1], missing.shape[1]))
    rest = counts.T @ missing
    way, size = rest.copy(), (rest * rest).sum(0)
    for _ in range(rounds):
        bent = counts.T @ (counts @ way) + HELD_WORD * way
        stride = size / ((way * bent).sum(0) + 1e-12)
        found, rest = found + stride * way, rest - stride * bent
        before, size = size, (rest * rest).sum(0)
        way = rest + size / (before + 1e-12) * way
    return found


def write(listed: list[str], rows: Matrix) -> None:
    step = SPREAD * rows.std() / 127
    bytes_ = (np.clip(np.round(rows / step), -127, 127) + 128).astype("u1")
    keyed = {crc32(word.encode()): row for word, row in reversed(list(zip(listed, bytes_, strict=True)))}
    keys = sorted(keyed)
    told = np.array(keys, "<u4").tobytes() + b"".join(keyed[key].tobytes() for key in keys)
    OUT.write_bytes(b"KVEC1\n" + f"{WIDTH} {len(keys)}\n".encode() + told)
    print(f"{len(keys)} words, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
