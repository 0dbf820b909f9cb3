"""What answers would have cost at one model's price: the measure of what routing saves.

Stands in front of the sinks, so that it completes records when they are flushed, not while calls wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.record import CallRecord
from proxy.types import Price, Usage


class Baseline:
    """A sink that passes nothing on: it writes `baseline_usd` into the records that the next ones get."""

    def __init__(self, price: Price | None, cost: Callable[[Usage, Price], float | None]) -> None:
        self.price = price
        """None: there is no baseline."""
        self._cost = cost

    def write(self, records: Sequence[CallRecord]) -> None:
        """Completes a batch. What was not answered would have cost nothing there either."""
        price = self.price
        if price is None:
            return
        for record in records:
            if record.usage is not None:
                record.baseline_usd = self._cost(record.usage, price)

    def close(self) -> None:
        """Nothing is held back."""
