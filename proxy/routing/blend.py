"""How much the rules and what was learned count beside each other, and how sure that makes.

    log-odds of an intent = rules x what the lexicon's evidence says + learned x the learned log-probability

A logarithmic pool of two opinions. Its weights are data (blend.json): tests/train/blend.py fits them to asks
that the learned pass had not seen, so that of decisions with confidence p a share of p is right; but the
learned pass counts less than fits those best, for others' asks are farther away.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec
from msgspec import Struct


class Blend(Struct, frozen=True):
    """What one log-odd of each counts."""

    alone: float = 1.0
    """Of the rules, where nothing was learned of a lexicon's intents."""
    rules: float = 1.0
    """Of the rules, beside what was learned ..."""
    learned: float = 1.0
    """... and of that."""


@lru_cache(1)
def shipped() -> Blend:
    """The one that comes with the package."""
    return msgspec.json.decode(Path(__file__).with_name("blend.json").read_bytes(), type=Blend)
