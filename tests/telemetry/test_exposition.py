"""The text that is scraped, read back by the parser of the Prometheus client."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.exposition import render
from proxy.telemetry.families import FAMILIES, LATENCY
from proxy.telemetry.series import Histogram, add, fresh


def read(data: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(data.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")), st.floats(0, 1e12))
def test_whatever_stands_in_a_label_is_read_back_as_it_was(text: str, value: float) -> None:
    series = fresh()
    add(series.counters["llm_fallback_total"], (text, "p"), value)
    assert read(render(series))["llm_fallback_total", (("model", text), ("provider", "p"))] == value


@given(st.lists(st.floats(0, 1000)))
def test_buckets_hold_all_that_is_not_above_their_bound(values: list[float]) -> None:
    series = fresh()
    for value in values:
        Histogram("llm_request_latency_seconds", series).observe(("m", "p"), value)
    found = read(render(series))
    labels = (("model", "m"), ("provider", "p"))
    for bound in LATENCY if values else ():
        expected = sum(value <= bound for value in values)
        assert found["llm_request_latency_seconds_bucket", (("le", str(bound)), *labels)] == expected
    assert found.get(("llm_request_latency_seconds_count", labels), 0) == len(values)


def test_every_family_is_introduced_once_and_what_has_no_labels_begins_at_0() -> None:
    text = render(fresh()).decode()
    assert [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")] == [*FAMILIES]
    found = read(text.encode())
    assert found["llm_wasted_cost_usd_total", ()] == 0
    assert found["llm_event_loop_lag_seconds_bucket", (("le", "+Inf"),)] == 0
    assert found["llm_event_loop_lag_seconds_sum", ()] == 0
