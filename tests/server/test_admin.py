"""The admin API: its own key, what it shows, and a hand on the circuits."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from tests.server.conftest import ADMIN, KEY, World

Client = TestClient[Any]
CIRCUIT = "/admin/v1/models/groq/llama-3.3-70b/circuit"


def test_every_model_with_its_state(client: Client) -> None:
    data = client.get("/admin/v1/models", headers=ADMIN).json()["data"]
    assert [state["id"] for state in data] == ["groq/llama-3.3-70b", "claude", "local"]
    assert data[1] == {
        "id": "claude",
        "provider": "anthropic",
        "upstream_model": "claude-x",
        "aliases": [],
        "circuit": {"state": "closed"},
        "observed": {"success": 0.99},
    }


def test_a_model_without_calls_has_no_state(client: Client) -> None:
    state = client.get("/admin/v1/models/llama", headers=ADMIN).json()
    assert (state["id"], state["circuit"], state["observed"]) == ("groq/llama-3.3-70b", None, None)


@pytest.mark.parametrize("action", ["open", "close", "reset"])
def test_a_circuit_obeys(client: Client, world: World, action: str) -> None:
    answer = client.post(CIRCUIT, json={"action": action}, headers=ADMIN)
    assert (answer.status_code, answer.json()["id"]) == (200, "groq/llama-3.3-70b")
    assert world.commands == [(action, "groq/llama-3.3-70b")]


def test_the_answer_shows_the_state_afterwards(client: Client, world: World) -> None:
    world.services.open_circuit = lambda model: world.circuits.update({model: {"state": "open"}})
    answer = client.post("/admin/v1/models/claude/circuit", json={"action": "open"}, headers=ADMIN)
    assert answer.json()["circuit"] == {"state": "open"}


def test_an_alias_is_as_good_as_an_id(client: Client, world: World) -> None:
    client.post("/admin/v1/models/llama/circuit", json={"action": "open"}, headers=ADMIN)
    assert world.commands == [("open", "groq/llama-3.3-70b")]


BODIES = {
    "an unknown action": (b'{"action":"explode"}', "action", 400),
    "a number as action": (b'{"action":1}', "action", 400),
    "no action": (b"{}", None, 400),
    "another field": (b'{"action":"open","model":"x"}', None, 400),
    "an array": (b"[]", None, 400),
    "no JSON": (b"{", None, 400),
    "a form": (b"action=open", None, 400),
    "nothing": (b"", None, 400),
    "depth": (b"[" * 5000, None, 400),
    "depth in the action": (b'{"action":' + b"[" * 5000, None, 400),
    "bad UTF-8": (b'{"action":"\xff"}', None, 400),
    "too much": (b" " * 70_000, None, 413),
}


@pytest.mark.parametrize(("body", "param", "status"), BODIES.values(), ids=BODIES.keys())
def test_bad_commands_do_nothing(
    client: Client, world: World, body: bytes, param: str | None, status: int
) -> None:
    answer = client.post(CIRCUIT, content=body, headers=ADMIN)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["code"] and len(error["message"]) > 10
    assert world.commands == []


def test_the_least_of_circuits_is_not_a_model(client: Client, world: World) -> None:
    for path in ("/admin/v1/models/gpt-9/circuit", "/admin/v1/models/circuit"):
        assert client.post(path, json={"action": "open"}, headers=ADMIN).status_code == 404
    assert client.post("/admin/v1/models/claude", json={"action": "open"}, headers=ADMIN).status_code == 404
    assert world.commands == []


KEYS = {
    "no key": ({}, 401),
    "a caller's key": (KEY, 401),
    "a caller's key as admin key": ({"x-admin-key": "sk-alice"}, 401),
    "the admin key": (ADMIN, 200),
    "the admin key as bearer": ({"authorization": "Bearer sk-admin"}, 200),
}
PATHS = {
    "GET": [
        "/admin/v1/models",
        "/admin/v1/models/",
        "/admin//v1/models/claude",
        "/%61dmin/v1/models",
        "/admin/v1/schema",
    ],
    "POST": [CIRCUIT, CIRCUIT + "/"],
}


@pytest.mark.parametrize(("headers", "status"), KEYS.values(), ids=KEYS.keys())
@pytest.mark.parametrize(("method", "path"), [(m, path) for m, paths in PATHS.items() for path in paths])
def test_every_spelling_wants_the_admin_key(
    client: Client, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body = {"action": "reset"} if method == "POST" else None
    assert client.request(method, path, headers=headers, json=body).status_code == status


def test_the_admin_key_opens_nothing_else(client: Client) -> None:
    assert client.get("/v1/models", headers={"authorization": "Bearer sk-admin"}).status_code == 401


def test_the_schema_is_of_the_admin_routes_only(client: Client) -> None:
    schema = client.get("/admin/v1/schema", headers=ADMIN).json()
    assert set(schema["paths"]) == {
        "/admin/v1/models",
        "/admin/v1/models/{model_id}",
        "/admin/v1/models/{target}",
        "/admin/v1/reload",
        "/admin/v1/calls",
        "/admin/v1/calls/{call_id}",
        "/admin/v1/spend",
        "/admin/v1/trends",
        "/admin/v1/explain",
    }


def test_pages_beside_the_schema_are_unknown_urls(client: Client) -> None:
    answer = client.get("/admin/v1/schema/swagger", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


def test_a_reload_says_what_came_of_it(client: Client) -> None:
    assert client.post("/admin/v1/reload").status_code == 401
    answer = client.post("/admin/v1/reload", headers=ADMIN)
    assert (answer.status_code, answer.json()["result"]) == (200, "changed")


def test_a_reload_of_what_is_no_good_is_refused_with_the_reasons(client: Client, world: World) -> None:
    world.problem = "proxy.yml: limits: is missing"
    answer = client.post("/admin/v1/reload", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_config")
    assert answer.json()["error"]["message"] == world.problem
