"""What several workers see of a model, made one view of; and who is missing from it is said."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.server.health import Health, Heard, circuit, observed, states
from proxy.server.orders import Disabled, Orders
from proxy.types import Model
from tests.server import conftest as seen


def health(state: str = "closed", wait: float | None = 0.0, **observations: Any) -> Health:
    return Health(seen.circuit(state=state, retry_after=wait), seen.observed(**observations))


@pytest.mark.parametrize(
    ("circuits", "state", "wait"),
    [
        pytest.param([("closed", 0.0), ("closed", 0.0)], "closed", 0.0, id="all are well"),
        pytest.param(
            [("closed", 0.0), ("half_open", 0.0)], "half_open", 0.0, id="half open is worse than closed"
        ),
        pytest.param([("open", 3.0), ("half_open", 0.0)], "open", 3.0, id="open is worse than half open"),
        pytest.param([("open", 3.0), ("open", 5.0)], "open", 5.0, id="of two that are open the longer"),
        pytest.param(
            [("closed", None), ("closed", 5.0)], "closed", None, id="until further notice is longest"
        ),
    ],
)
def test_the_worst_circuit_speaks_for_all(
    circuits: list[tuple[str, float | None]], state: str, wait: float | None
) -> None:
    summary = circuit([health(*each) for each in circuits])
    assert summary is not None
    assert (summary["state"], summary["retry_after"]) == (state, wait)
    assert sum(summary["workers"].values()) == 2


def test_who_has_seen_more_weighs_more() -> None:
    summary = observed(
        [
            health(success=1.0, evidence=30.0, ttft=1.0, p95=2.0),
            health(success=0.6, evidence=10.0, speed=50.0, p95=4.0),
            health(success=1.0, evidence=0.0),
        ]
    )
    assert summary == {"success": 0.9, "ttft": 1.0, "speed": 50.0, "evidence": 40.0, "p95": 4.0}


def test_where_nothing_was_seen_nothing_is_said() -> None:
    assert observed([health(), health()]) is None
    assert circuit([]) is None


def test_a_worker_without_the_model_is_left_out_and_a_silent_one_named() -> None:
    heard = Heard({"2": {"a": health("open", 4.0)}, "1": {}}, ("3",))
    orders = Orders(disabled={"gone": Disabled(1.0)})
    page = states([Model("a", "p", "u")], orders, heard)
    assert (page.workers, page.silent) == (("1", "2"), ("3",))
    here, gone = page.data
    assert (here.ready, list(here.workers), gone.id, gone.ready, gone.circuit) == (
        True,
        ["2"],
        "gone",
        False,
        None,
    )
