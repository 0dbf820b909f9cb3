"""Lasting evidence at work: a model that fails too often for long loses its calls, and the log says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kuro import ADMIN, Kuro, model, write_config
from tests.e2e.test_orders import until
from tests.stub import StubUpstream, fail, ok

PATIENT = {"consecutive_failures": 1000, "failure_ratio": 1.0, "min_results": 1000}
"""Circuits that stay closed: they would be quicker."""


def configured(stub: StubUpstream, place: Path) -> Path:
    return write_config(
        place,
        stub.url,
        [model("first", weights={"quality": 0.6}), model("second", weights={"quality": 0.5})],
        proxy={
            "admin_key": ADMIN,
            "breaker": PATIENT,
            "retries": {"budget_ratio": 1.0},
            # What was just observed counts by itself: here it is forgotten before the next call.
            "stats": {"half_life": 0.0001},
        },
        routing={
            "adapt": {"enabled": True, "explore": 0.0},
            "sticky": {"size": 0},
            "cache": {"size": 0},
            "profiles": {"balanced": {"quality": 1.0, "latency": 0.0, "cost": 0.0, "success": 0.6}},
        },
    )


@pytest.fixture
def adaptive(stub: StubUpstream, tmp_path: Path) -> Iterator[Kuro]:
    with Kuro(configured(stub, tmp_path)) as proxy:
        yield proxy


def call(proxy: Kuro) -> str:
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello there"}]}
    status, headers, answer = proxy.chat(body)
    assert status == 200, json.dumps(answer)
    return headers["x-kuro-model"]


def test_a_model_that_fails_often_is_put_behind_the_next_and_the_log_says_so(
    adaptive: Kuro, stub: StubUpstream
) -> None:
    stub.script("second", ok("Here."))
    stub.script("first", ok("Here."))
    assert {call(adaptive) for _ in range(25)} == {"first"}
    stub.script("first", fail(500))
    served = [call(adaptive) for _ in range(40)]
    assert set(served) == {"second"}
    asked = stub.hits("first")
    assert {call(adaptive) for _ in range(5)} == {"second"} and stub.hits("first") == asked
    line = adaptive.wait_line(lambda line: line.get("event") == "adapt")
    assert line["model"] == "first" and "success of first: moved by -0." in line["message"]


def moved(proxy: Kuro) -> list[dict[str, float]]:
    """What lasting evidence has moved of the first model, by worker."""
    return [each["moved"] for each in proxy.admin("/models/first")["workers"].values()]


def test_what_was_moved_is_forgotten_by_every_worker(stub: StubUpstream, tmp_path: Path) -> None:
    stub.script("second", ok("Here."))
    stub.script("first", ok("Here."))
    with Kuro(configured(stub, tmp_path), "--workers", "2") as proxy:
        until(lambda: moved(proxy), lambda workers: len(workers) == 2)
        stub.script("first", fail(500))
        until(lambda: (call(proxy), moved(proxy))[1], all)
        said = proxy.admin("/weights/reset", {"model": "first"})
        assert (said["result"], said["model"], said["silent"]) == ("changed", "first", [])
        assert len(said["workers"]) == 2
        assert all(-0.3 <= worker["first"]["success"] < -0.1 for worker in said["workers"].values())
        assert moved(proxy) == [{}, {}]
        assert proxy.admin("/weights")["worker"] in said["workers"]
        assert proxy.admin("/weights/reset", {"all": True})["result"] == "unchanged"
        proxy.stop()
        # Each worker writes its own lines: which comes first is chance.
        lines = [line["admin"] for line in proxy.lines(lambda line: line.get("event") == "admin")]
        told = {line["target"]: line for line in lines}
        assert {(line["action"], line["by"]) for line in lines} == {("reset weights", "admin")}
        assert (told["first"]["old"], told["all models"]["old"]) == (said["workers"], {})
        assert len(proxy.lines(lambda line: line.get("message", "").endswith(" no more"))) == 2
