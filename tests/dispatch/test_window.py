"""The coarse count, against counting one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.dispatch.window import BUCKETS, Window


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 400))
def test_it_counts_what_the_last_twelve_buckets_hold(gaps: list[int], wait: int) -> None:
    window, now, seen = Window(BUCKETS * 5.0), 1000.0, []
    for gap in gaps:
        now += gap
        seen.append(now)
        window.add(now)
    now += wait
    expected = sum(int(at // 5) > int(now // 5) - BUCKETS for at in seen)
    assert window.peek(now) == expected
    assert window.count(now) == expected
    assert window.peek(now) == expected


def test_clear_forgets_all() -> None:
    window = Window(60.0)
    window.add(7.0)
    window.clear()
    assert window.count(7.0) == 0
