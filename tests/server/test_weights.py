"""Back to what the registry says: one model or all, never by a slip of the pen."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from proxy.server.health import Heard
from tests.server.conftest import ADMIN, KEY, World

Client = TestClient[Any]
RESET = "/admin/v1/weights/reset"


@pytest.mark.parametrize(
    ("said", "model"),
    [
        pytest.param({"model": "claude"}, "claude", id="one"),
        pytest.param({"model": "llama"}, "groq/llama-3.3-70b", id="one by its alias"),
        pytest.param({"all": True}, None, id="all"),
    ],
)
def test_what_was_moved_is_told_by_worker(
    client: Client, world: World, said: dict[str, Any], model: str | None
) -> None:
    assert client.post(RESET, json=said, headers=ADMIN).json() == {
        "object": "weights_reset",
        "result": "changed",
        "model": model,
        "workers": {"1": {"claude": {"success": -0.3}}},
        "silent": [],
        "profiles": {},
    }
    assert world.commands == [("forget", model or "all")]


def test_where_nothing_was_moved_nothing_changed(client: Client, world: World) -> None:
    world.moved, world.heard = {}, Heard({}, ("2",))
    told = client.post(RESET, json={"all": True}, headers=ADMIN).json()
    assert (told["result"], told["workers"], told["silent"]) == ("unchanged", {}, ["2"])


SIDES = {"written": {"cost": 1.0}, "now": {"cost": 4.0}}


def test_profiles_weights_are_put_back(client: Client, world: World) -> None:
    world.changed = {"balanced": SIDES}
    told = client.post(RESET, json={"profiles": True}, headers=ADMIN).json()
    assert (told["result"], told["profiles"]) == ("changed", {"balanced": {"cost": 4.0}})
    assert world.commands == [("restore", "admin")], "what was learned of models stays"
    world.changed = {}
    assert client.post(RESET, json={"profiles": True}, headers=ADMIN).json()["result"] == "unchanged"


def test_weights_that_can_not_be_put_back_are_told(client: Client, world: World) -> None:
    world.problem = "routing.yml: Read-only file system"
    answer = client.post(RESET, json={"profiles": True}, headers=ADMIN)
    assert answer.status_code == 422 and "Read-only" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("said", "status", "param"),
    [
        pytest.param({}, 400, "model", id="neither"),
        pytest.param({"all": False}, 400, "model", id="all, denied"),
        pytest.param({"model": "claude", "all": True}, 400, "model", id="both"),
        pytest.param({"profiles": True, "all": True}, 400, "model", id="models and profiles"),
        pytest.param({"profiles": False}, 400, "model", id="profiles, denied"),
        pytest.param({"model": "claudia"}, 404, "model", id="an unknown model"),
        pytest.param({"models": ["claude"]}, 400, "models", id="another field"),
        pytest.param({"model": 5}, 400, "model", id="a number"),
        pytest.param({"all": "yes"}, 400, "all", id="a word for a truth"),
        pytest.param({"all": "true"}, 400, "all", id="the very word"),
        pytest.param({"all": 1}, 400, "all", id="a number for a truth"),
    ],
)
def test_what_is_not_clear_changes_nothing(
    client: Client, world: World, said: dict[str, Any], status: int, param: str
) -> None:
    answer = client.post(RESET, json=said, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert world.commands == []


@pytest.mark.parametrize("headers", [{}, KEY], ids=["without a key", "with a caller's key"])
def test_the_admin_key_is_needed(client: Client, world: World, headers: dict[str, str]) -> None:
    assert client.post(RESET, json={"all": True}, headers=headers).status_code == 401
    assert world.commands == []
