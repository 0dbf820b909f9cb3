"""What of a decision was left to chance."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Lot(Struct, frozen=True, omit_defaults=True):
    """With what chance each model had to be asked first, and what was drawn."""

    chances: Mapping[str, float]
    """Model -> chance; that of the choice comes first. Their sum is 1."""
    draw: float | None = None
    """0..1. None: nothing was drawn, as where a decision is only explained."""
    instead_of: str = ""
    """The choice, where another model was drawn."""
