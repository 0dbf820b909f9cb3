"""What answers would have cost elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.dispatch.call import cost
from proxy.record import CallRecord
from proxy.telemetry.baseline import Baseline
from proxy.types import Price


def test_an_answer_is_weighed_at_the_baselines_price_and_nothing_else_is(
    make: Any, refused: CallRecord
) -> None:
    answered = make()
    Baseline(Price(10.0, 50.0), cost).write([answered, refused])
    assert answered.baseline_usd == pytest.approx((100 * 10 + 20 * 50) / 1e6)
    assert refused.baseline_usd is None


def test_what_the_provider_had_cached_costs_the_baselines_price_for_that(make: Any) -> None:
    answered = make()
    Baseline(Price(10.0, 50.0, cached_input=1.0), cost).write([answered])
    assert answered.baseline_usd == pytest.approx((60 * 10 + 40 * 1 + 20 * 50) / 1e6)
