"""What lasting evidence has moved in each process (`adapt`), and the wish that it be forgotten."""

from __future__ import annotations

from msgspec import Struct

Moves = dict[str, dict[str, float]]
"""Model -> term -> how far it is moved."""


class Forget(Struct, frozen=True):
    """Asks every worker to take a model for what the registry says of it; None: all models."""

    model: str | None = None


class Restore(Struct, frozen=True):
    """Asks for the weights that profiles had before trials changed them."""

    by: str
    """The name of an admin key."""


class Forgotten(Struct, frozen=True):
    """What the workers had moved until then."""

    workers: dict[str, Moves]
    silent: tuple[str, ...] = ()
    """Workers that have not said in time that they did it. They do it as soon as they can."""

    def by_worker(self) -> dict[str, Moves]:
        """Of those that had moved anything."""
        return {name: moves for name, moves in sorted(self.workers.items()) if moves}
