"""A tick that comes far too late says that nobody was there to listen; a late one says nothing."""

from __future__ import annotations

import pytest

from proxy.standstill import NOTICED, Tick


@pytest.mark.parametrize(
    ("passed", "worked", "lost"),
    [(0.05, 0.0, 0.0), (0.05 + NOTICED, 0.0, 0.0), (600.05, 0.0, 600.0), (9.05, 9.0, 0.0), (9.05, 2.0, 7.0)],
    ids=["in time", "a little late", "after a standstill", "after hard work", "after both"],
)
def test_what_was_lost(passed: float, worked: float, lost: float) -> None:
    now, cpu = 0.0, 40.0
    tick = Tick(lambda: now, lambda: cpu)
    assert tick.lost() == 0.0, "none is due"
    tick.due_in(0.05)
    now, cpu = passed, 40.0 + worked
    assert tick.lost() == pytest.approx(lost)
