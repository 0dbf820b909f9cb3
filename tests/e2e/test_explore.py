"""Exploration at work: some calls go to another model, the answer and its record say so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.__main__ import main
from tests.e2e.kuro import ADMIN, Kuro, model, write_config
from tests.e2e.test_orders import until
from tests.stub import StubUpstream, ok

MODELS = ("first", "second", "third")
CALLS = 150


def configured(stub: StubUpstream, place: Path) -> Path:
    for name in MODELS:
        stub.script(name, ok(f"From {name}."))
    models = [model(name, weights={"quality": 0.6 - place / 10}) for place, name in enumerate(MODELS)]
    return write_config(
        place, stub.url, models, proxy={"admin_key": ADMIN}, routing={"explore": {"share": 0.2}}
    )


def test_some_calls_are_drawn_and_their_records_hold_the_chance(tmp_path: Path, stub: StubUpstream) -> None:
    asked = {"model": "auto", "messages": [{"role": "user", "content": "Who wrote Faust?"}]}
    with Kuro(configured(stub, tmp_path)) as kuro:
        routes = []
        for number in range(CALLS):
            # Without a session of their own they would be one conversation.
            status, headers, _ = kuro.chat(asked, x_session_id=f"s-{number}", x_request_id=f"call-{number}")
            assert status == 200
            routes.append((headers["x-kuro-route"], headers["x-kuro-model"]))
        drawn = [model for route, model in routes if route == "explore"]
        assert {model for route, model in routes if route != "explore"} == {"first"}
        assert set(drawn) == {"second", "third"} and 10 < len(drawn) < 55
        for number, (route, model) in enumerate(routes):
            chance = 0.1 if route == "explore" else 0.8
            assert kuro.record(f"call-{number}")["propensity"] == pytest.approx(chance), model
        number = next(place for place, (route, _) in enumerate(routes) if route == "explore")
        told = kuro.admin(f"/calls/call-{number}")["decision"]
        assert told["explore"]["instead_of"] == "first" and told["selected_model"] == routes[number][1]
        asked["messages"].append({"role": "assistant", "content": "Goethe."})
        asked["messages"].append({"role": "user", "content": "And when?"})
        _, headers, _ = kuro.chat(asked, x_session_id=f"s-{number}")
        assert headers["x-kuro-model"] == "first", "whoever was drawn only stood in"
        assert kuro.admin("/explain", asked)["explore"] is None


BALANCED = {"quality": 2.0, "success": 0.5, "latency": 0.25, "cost": 1.0}
PROMPTS = 460
"""Chance gives 46 of the judged ones to the other model; fewer than the 20 that it takes once in 100,000."""


def liking_the_cheap_one(place: Path, stub: StubUpstream, **adapt: Any) -> Path:
    """The dear model is thought to be the better one, and callers like the cheap one's answers."""
    for name in ("dear", "cheap"):
        stub.script(name, ok(f"From {name}."))
    models = [
        model("dear", weights={"quality": 0.97}, price={"input": 1.0, "output": 5.0}),
        model("cheap", weights={"quality": 0.4}, price={"input": 0.1, "output": 0.1}),
    ]
    proxy = {"admin_key": ADMIN, "reload": {"interval": 0.05}}
    routing = {"explore": {"share": 0.2}, "profiles": {"balanced": BALANCED}, "adapt": adapt}
    return write_config(place, stub.url, models, proxy=proxy, routing=routing)


def call_and_judge(kuro: Kuro) -> None:
    with ThreadPoolExecutor(8) as callers:
        chosen = list(callers.map(partial(asked, kuro), range(PROMPTS)))
        said = [(number, float(name == "cheap")) for number, (_, name) in enumerate(chosen)]
        assert set(callers.map(partial(rated, kuro), said)) == {200}
    assert {name for route, name in chosen if route == "score"} == {"dear"}


def choice(kuro: Kuro, numbers: range) -> set[str]:
    """Whom scores send such asks to."""
    return {name for route, name in (asked(kuro, number) for number in numbers) if route == "score"}


def test_feedback_on_drawn_calls_moves_weights_and_the_running_proxy_takes_them(
    tmp_path: Path, stub: StubUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    config = liking_the_cheap_one(tmp_path, stub)
    with Kuro(config) as kuro:
        call_and_judge(kuro)
        tune = ["tune", "--config", str(config), "--calls", "--resamples", "200", "--write"]
        assert main(tune) == 0
        assert "written to routing.yml" in capsys.readouterr().out
        kuro.wait_line(lambda line: line.get("event") == "reload" and line["reload"]["result"] == "changed")
        assert choice(kuro, range(PROMPTS, PROMPTS + 40)) == {"cheap"}
        assert kuro.admin("/weights")["profiles"]["balanced"]["cost"] > BALANCED["cost"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_proxy_tries_other_weights_by_itself_and_an_operator_puts_them_back(
    tmp_path: Path, stub: StubUpstream, workers: str
) -> None:
    # `bound`: what models are taken for stays, so that it is the weights that change decisions.
    adapt = {"enabled": True, "bound": 0.0, "trials": 0.0002}
    config = liking_the_cheap_one(tmp_path, stub, **adapt, frozen=True)
    with Kuro(config, "--workers", workers) as kuro:
        call_and_judge(kuro)
        assert not kuro.lines(lambda line: line.get("event") in ("trial", "admin")), "it is frozen"
        routing = config / "routing.yml"
        routing.write_text(routing.read_text("utf-8").replace("frozen: true", "frozen: false"), "utf-8")
        told = eventually(kuro, lambda line: line.get("admin", {}).get("action") == "tune weights")["admin"]
        assert (told["by"], told["target"], told["result"]) == ("trial", "balanced", "changed")
        assert told["old"] == BALANCED and told["gain"]["low"] > 0.0
        new = told["new"]["cost"]
        until(lambda: {_cost(kuro) for _ in range(8)}, lambda found: found == {new})  # whoever answers
        assert choice(kuro, range(PROMPTS, PROMPTS + 20)) == {"cheap"}
        sides = {"written": BALANCED, "now": {**BALANCED, "cost": new}}
        assert kuro.admin("/weights")["changed"] == {"balanced": sides}

        put_back = kuro.admin("/weights/reset", {"profiles": True})
        assert (put_back["result"], put_back["profiles"]) == ("changed", {"balanced": sides["now"]})
        assert kuro.admin("/weights")["changed"] == {} and _cost(kuro) == BALANCED["cost"]
        assert choice(kuro, range(PROMPTS + 20, PROMPTS + 40)) == {"dear"}
        assert kuro.admin("/weights/reset", {"profiles": True})["result"] == "unchanged"
        # The next trial looks at calls since then alone, and there are too few.
        eventually(kuro, lambda line: line.get("event") == "trial" and "give at least 100" in line["message"])


def eventually(kuro: Kuro, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first such line. Trials have a low priority: on a busy machine they take their time."""
    latest = time.monotonic() + 240.0
    while not (found := kuro.lines(wanted)):
        assert time.monotonic() < latest, kuro.log()[-2000:]
        kuro.admin("/weights")
    return found[0]


def _cost(kuro: Kuro) -> float:
    found: float = kuro.admin("/weights")["profiles"]["balanced"]["cost"]
    return found


def asked(kuro: Kuro, number: int) -> tuple[str, str]:
    """The route and the model of an ask of its own."""
    prompt = f"Prove rigorously, step by step, that the distributed algorithm number {number} is optimal."
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    _, headers, _ = kuro.chat(body, x_request_id=f"call-{number}")
    return headers["x-kuro-route"], headers["x-kuro-model"]


def rated(kuro: Kuro, said: tuple[int, float]) -> int:
    """The status of the feedback on a call of this number."""
    words = json.dumps({"request_id": f"call-{said[0]}", "score": said[1]})
    status, _, _ = kuro.request("POST", "/v1/feedback", words, {"content-type": "application/json"})
    return status
