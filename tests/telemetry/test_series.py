"""Adding up what several processes have counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.series import Histogram, Series, add, decode, encode, fresh, merge

SONNET = ("or/sonnet", "openrouter")
LATENCY = "llm_request_latency_seconds"


def counted(*seconds: float) -> Series:
    series = fresh()
    for value in seconds:
        add(series.counters["llm_fallback_total"], SONNET)
        Histogram(LATENCY, series).observe(SONNET, value)
    series.gauges["llm_queue_in_flight"][()] = float(len(seconds))
    series.gauges["circuit_open_gauge"][SONNET] = float(len(seconds) > 1)
    return series


@given(st.lists(st.lists(st.integers(0, 700)), max_size=4))
def test_parts_make_the_whole(parts: list[list[int]]) -> None:
    total = fresh()
    for part in parts:
        merge(total, counted(*part))
    whole = counted(*(value for part in parts for value in part))
    assert total.counters == whole.counters
    assert total.histograms == whole.histograms


def test_gauges_are_added_up_but_for_the_circuits_whose_worst_is_shown() -> None:
    total = Series()
    for part in (counted(1, 2), counted(1), counted()):
        merge(total, part)
    assert total.gauges["llm_queue_in_flight"][()] == 3
    assert total.gauges["circuit_open_gauge"][SONNET] == 1


def test_merging_leaves_the_part_as_it_was() -> None:
    total, part = Series(), counted(1)
    merge(total, part)
    merge(total, counted(2))
    assert part == counted(1)


def test_they_survive_the_way_to_another_process() -> None:
    assert decode(encode(counted(1, 2, 300))) == counted(1, 2, 300)


def test_buckets_of_another_version_are_passed_over() -> None:
    total, other = counted(1), counted(1)
    other.histograms[LATENCY][SONNET] = [1.0, 2.0]
    other.gauges["of_tomorrow"] = {(): 1.0}
    merge(total, other)
    assert total.histograms == counted(1).histograms
