"""Feedback on real calls, whichever worker is told, kept in the call log and learned from."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import PATIENCE, Kuro, model, write_config
from tests.stub import StubUpstream, ok

ALICE, BOB = "sk-alice-of-the-tests", "sk-bob-of-the-tests"
PROXY = {
    "admin_key": ADMIN,
    "keys": [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}],
    "reload": {"watch": False},
}


def give(kuro: Kuro, key: str, name: str, score: float) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    said = json.dumps({"request_id": name, "score": score})
    status, _, answer = kuro.request("POST", "/v1/feedback", said, headers)
    return status, json.loads(answer)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("database", [True, False], ids=["in the database", "in memory"])
def test_feedback_is_kept_with_the_call(
    tmp_path: Path, stub: StubUpstream, workers: str, database: bool
) -> None:
    if not database and workers != "1":
        pytest.skip("in memory each worker knows its own calls alone")
    stub.script("one", ok("Here."))
    telemetry = {} if database else {"telemetry": {"calls": {"enabled": False}}}
    config = write_config(tmp_path, stub.url, [model("one")], proxy={**PROXY, **telemetry})
    with Kuro(config, "--workers", workers) as kuro:
        asked = {"model": "one", "messages": [{"role": "user", "content": "Hello"}]}
        kuro.chat(asked, authorization=f"Bearer {ALICE}", x_request_id="mine")
        assert give(kuro, ALICE, "mine", 1)[1]["model"] == "one"
        assert give(kuro, ALICE, "mine", -1) == (
            200, {"object": "feedback", "request_id": "mine", "model": "one", "score": 0.0},
        )  # fmt: skip
        assert kuro.admin("/calls/mine")["score"] == 0.0
        assert give(kuro, BOB, "mine", 1)[0] == 404
        assert give(kuro, ALICE, "yours", 1)[0] == 404
        kuro.chat(asked, authorization=f"Bearer {BOB}", x_request_id="mine")
        assert give(kuro, BOB, "mine", 0.5)[0] == give(kuro, ALICE, "mine", 1)[0] == 200
        assert kuro.admin("/calls/mine")["score"] == 0.5, "the last call of this id is Bob's"
        if database:
            listed = kuro.admin("/calls?request_id=mine")["data"]
            assert [(row["key_id"], row["score"]) for row in listed] == [("bob", 0.5), ("alice", 1.0)]


def test_callers_feedback_moves_a_models_quality_in_every_worker(tmp_path: Path, stub: StubUpstream) -> None:
    for name in ("one", "two"):
        stub.script(name, ok("Here."))
    routing = {"adapt": {"enabled": True, "doubt": 0.01}}
    config = write_config(tmp_path, stub.url, [model("one"), model("two")], proxy={**PROXY}, routing=routing)
    with Kuro(config, "--workers", "2") as kuro:
        deadline = time.monotonic() + PATIENCE
        while len(kuro.admin("/models")["workers"]) < 2:  # who starts later didn't hear what was said before
            assert time.monotonic() < deadline, "the second worker doesn't serve"
        for number in range(40):
            name = "one" if number % 2 else "two"
            asked = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
            kuro.chat(asked, authorization=f"Bearer {ALICE}", x_request_id=f"call-{number}")
        for number in range(40):
            assert give(kuro, ALICE, f"call-{number}", number % 2)[0] == 200
        deadline = time.monotonic() + PATIENCE
        while not all(_liked(kuro) for _ in range(10)):  # whichever worker answers
            assert time.monotonic() < deadline, kuro.admin("/weights")["models"]
        os.kill(kuro.workers()[0], signal.SIGKILL)
        while (weights := kuro_weights(kuro)) is None or weights["worker"] != "3":
            assert time.monotonic() < deadline + PATIENCE, "the successor doesn't answer"
        assert better(weights), "whoever starts begins with what the others have learned"


def kuro_weights(kuro: Kuro) -> Any:
    """Those of whoever answers; None while a connection is lost with its worker."""
    with suppress(ConnectionError, HTTPException):
        return kuro.admin("/weights")
    return None


def _liked(kuro: Kuro) -> bool:
    """Feedback has put `one` above `two` in the worker that answers."""
    return better(kuro.admin("/weights"))


def better(weights: Any) -> bool:
    one, two = [weights["models"][name]["quality"] for name in ("one", "two")]
    return bool(one["value"] > two["value"] and one["from"] == "registry, adapt")
