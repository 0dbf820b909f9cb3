"""Exploration at work: some calls go to another model, the answer and its record say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.kuro import ADMIN, Kuro, model, write_config
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
