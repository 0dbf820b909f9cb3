"""Which of a model's levels is the nearest to the one that is wanted."""

from __future__ import annotations

import pytest

from proxy.effort import Effort, nearest

LEVELS = {
    "gpt-oss": (Effort.LOW, Effort.MEDIUM, Effort.HIGH),
    "gpt-6": (Effort.NONE, Effort.LOW, Effort.MEDIUM, Effort.HIGH, Effort.XHIGH, Effort.MAX),
    "deepseek": (Effort.NONE, Effort.LOW, Effort.HIGH, Effort.MAX),
    "gemini": (Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH),
    "pro": (Effort.HIGH,),
    "none at all": (),
}


@pytest.mark.parametrize(
    ("wanted", "model", "level"),
    [
        pytest.param("medium", "gpt-oss", "medium", id="the very level"),
        pytest.param("none", "gpt-oss", "low", id="the lowest for as little as it can"),
        pytest.param("none", "gpt-6", "none", id="which may be no thought"),
        pytest.param("none", "gemini", "minimal", id="or nearly none"),
        pytest.param("medium", "deepseek", "high", id="of two as near the higher"),
        pytest.param("low", "pro", "high", id="the only one there is"),
        pytest.param("high", "gpt-6", "high", id="not the most there is"),
        pytest.param("max", "gemini", "high", id="the most it takes"),
        pytest.param("high", "none at all", None, id="nothing to choose from"),
    ],
)
def test_nearest(wanted: str, model: str, level: str | None) -> None:
    assert nearest(Effort(wanted), LEVELS[model]) == level


def test_levels_have_their_order() -> None:
    assert [effort.rank for effort in Effort] == list(range(7))
