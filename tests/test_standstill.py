"""A tick that comes far too late says that nobody was there to listen; a late one says nothing."""

from __future__ import annotations

import pytest

from proxy.standstill import NOTICED, Tick


@pytest.mark.parametrize(
    ("passed", "lost"),
    [(0.05, 0.0), (0.05 + NOTICED, 0.0), (600.05, 600.0)],
    ids=["in time", "on a busy loop", "after a standstill"],
)
def test_what_was_lost(passed: float, lost: float) -> None:
    now = 0.0
    tick = Tick(lambda: now)
    assert tick.lost() == 0.0, "none is due"
    tick.due_in(0.05)
    now = passed
    assert tick.lost() == pytest.approx(lost)
