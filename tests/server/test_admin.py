"""The admin API: its own key, what it shows, and a hand on the circuits."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
from typing import Any

import pytest
from litestar.testing import TestClient

from proxy.server.health import Heard
from tests.server.conftest import ADMIN, KEY, World, circuit, observed

Client = TestClient[Any]
CIRCUIT = "/admin/v1/models/groq/llama-3.3-70b/circuit"


def test_every_model_with_its_state(client: Client) -> None:
    page = client.get("/admin/v1/models", headers=ADMIN).json()
    assert (page["object"], page["workers"], page["silent"]) == ("list", ["1"], [])
    assert [state["id"] for state in page["data"]] == ["groq/llama-3.3-70b", "claude", "local"]
    seen = {
        "circuit": circuit(),
        "observed": observed(success=0.75, evidence=4.0),
        "in_flight": 2,
        "moved": {},
    }
    assert page["data"][1] == {
        "id": "claude",
        "ready": True,
        "provider": "anthropic",
        "upstream_model": "claude-x",
        "aliases": [],
        "disabled": None,
        "forced": None,
        "circuit": circuit(workers={"closed": 1, "half_open": 0, "open": 0}),
        "observed": observed(success=0.75, evidence=4.0),
        "in_flight": 2,
        "workers": {"1": seen},
    }


def test_a_model_that_no_worker_knows_yet_has_no_state(client: Client) -> None:
    state = client.get("/admin/v1/models/llama", headers=ADMIN).json()
    assert (state["id"], state["circuit"], state["observed"]) == ("groq/llama-3.3-70b", None, None)


def test_workers_that_say_nothing_are_named(client: Client, world: World) -> None:
    world.heard = Heard({"1": {}}, ("2",))
    assert client.get("/admin/v1/models", headers=ADMIN).json()["silent"] == ["2"]
    assert client.post("/admin/v1/models/claude/enable", headers=ADMIN).json()["silent"] == ["2"]


@pytest.mark.parametrize("path", ["claude", "groq/llama-3.3-70b", "groq%2Fllama-3.3-70b", "llama", "llama/"])
def test_a_model_is_found_however_it_is_written(client: Client, path: str) -> None:
    assert client.get(f"/admin/v1/models/{path}", headers=ADMIN).status_code == 200


@pytest.mark.parametrize("action", ["open", "close", "reset"])
def test_a_circuit_obeys(client: Client, world: World, action: str) -> None:
    answer = client.post(CIRCUIT, json={"action": action}, headers=ADMIN)
    assert (answer.status_code, answer.json()["model"]["id"]) == (200, "groq/llama-3.3-70b")
    assert (answer.json()["result"], answer.json()["kept"]) == ("changed", None)
    assert world.commands == [(action, "groq/llama-3.3-70b")]


def test_what_a_circuit_was_forced_to_is_shown(client: Client) -> None:
    client.post("/admin/v1/models/claude/circuit", json={"action": "open"}, headers=ADMIN)
    forced = client.get("/admin/v1/models/claude", headers=ADMIN).json()["forced"]
    assert (forced["to"], forced["by"]) == ("open", "admin")


def test_an_alias_is_as_good_as_an_id(client: Client, world: World) -> None:
    client.post("/admin/v1/models/llama/circuit", json={"action": "open"}, headers=ADMIN)
    assert world.commands == [("open", "groq/llama-3.3-70b")]


@pytest.mark.parametrize(
    "said", [{}, {"for": "1h"}, {"for": 90}, {"for": "90"}, {"reason": "It is mended."}], ids=str
)
def test_a_model_is_taken_out_of_service_and_back(client: Client, world: World, said: dict[str, Any]) -> None:
    answer = client.post("/admin/v1/models/groq/llama-3.3-70b/disable", json=said, headers=ADMIN).json()
    assert (answer["result"], answer["kept"]) == ("changed", True)
    order = answer["model"]["disabled"]
    assert (order["by"], order["reason"]) == ("admin", said.get("reason", ""))
    assert (order["until"] is not None) == ("for" in said)
    assert order["until"] is None or 80 < order["until"] - time() <= 3600
    answer = client.post("/admin/v1/models/groq/llama-3.3-70b/enable", headers=ADMIN).json()
    assert (answer["result"], answer["model"]["disabled"]) == ("changed", None)
    assert [action for action, _ in world.commands] == ["disable", "enable"]


def test_without_a_body_it_is_until_further_notice(client: Client) -> None:
    order = client.post("/admin/v1/models/claude/disable", headers=ADMIN).json()["model"]["disabled"]
    assert (order["until"], order["reason"]) == (None, "")


@pytest.mark.parametrize("body", [b"reason=so", b"{", b'{"reason": "\\ud800"}', b"\x00"], ids=str)
def test_what_is_no_json_is_said_in_so_many_words(client: Client, world: World, body: bytes) -> None:
    error = client.post("/admin/v1/models/claude/disable", content=body, headers=ADMIN).json()["error"]
    assert error["code"] == "invalid_json" and "is not JSON that can be read" in error["message"]
    assert world.commands == []


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        pytest.param("circuit", '{"action": "open", "action": "close"}', "action", id="a circuit's action"),
        pytest.param("disable", '{"for": "1h", "reason": "x", "for": "1m"}', "for", id="how long"),
        pytest.param("disable", '{"for": "1h", "f\\u006fr": "1m"}', "for", id="once escaped"),
    ],
)
def test_what_is_said_twice_is_not_done_once(
    client: Client, world: World, path: str, body: str, name: str
) -> None:
    answer = client.post(f"/admin/v1/models/claude/{path}", content=body, headers=ADMIN)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "duplicate_parameter", name)
    assert world.commands == []


def test_an_action_that_is_none_is_answered_with_those_that_are(client: Client, world: World) -> None:
    answer = client.post("/admin/v1/models/claude/circuit", json={"action": "melt"}, headers=ADMIN)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "action")
    assert error["message"] == "Invalid enum value 'melt': it is one of open, close, reset."
    assert world.commands == []


def test_an_end_can_be_a_date(client: Client) -> None:
    tomorrow = datetime.fromtimestamp(time() + 86400, UTC).isoformat()
    answer = client.post("/admin/v1/models/claude/disable", json={"until": tomorrow}, headers=ADMIN).json()
    assert 86390 < answer["model"]["disabled"]["until"] - time() < 86410


def test_the_same_order_again_changes_nothing(client: Client) -> None:
    for result in ("changed", "unchanged"):
        answer = client.post("/admin/v1/models/claude/disable", json={"reason": "no"}, headers=ADMIN)
        assert answer.json()["result"] == result
    for result in ("changed", "unchanged"):
        assert client.post("/admin/v1/models/claude/enable", headers=ADMIN).json()["result"] == result


def test_it_is_said_when_a_restart_will_forget_it(client: Client, world: World) -> None:
    world.kept = False
    assert client.post("/admin/v1/models/claude/disable", json={}, headers=ADMIN).json()["kept"] is False


def test_a_disabled_model_that_has_left_the_registry_is_shown_and_can_be_enabled(
    client: Client, world: World
) -> None:
    client.post("/admin/v1/models/claude/disable", json={}, headers=ADMIN)
    world.models = tuple(model for model in world.models if model.id != "claude")
    gone = client.get("/admin/v1/models", headers=ADMIN).json()["data"][-1]
    assert (gone["id"], gone["ready"], gone["provider"]) == ("claude", False, None)
    assert client.post("/admin/v1/models/claude/enable", headers=ADMIN).json()["result"] == "changed"
    assert client.get("/admin/v1/models/claude", headers=ADMIN).status_code == 404


BAD_ENDS = {
    "both": ({"for": 5, "until": 5e9}, "for"),
    "nought": ({"for": 0}, "for"),
    "less than nought": ({"for": -5}, "for"),
    "an age": ({"for": "400d"}, "for"),
    "words": ({"for": "a while"}, "for"),
    "a list": ({"for": [1]}, "for"),
    "a truth": ({"for": True}, "for"),
    "the past": ({"until": 5}, "until"),
    "a past date": ({"until": "2020-01-01"}, "until"),
    "no date": ({"until": "tomorrow"}, "until"),
    "for ever": ({"until": 1e300}, "until"),
    "a long reason": ({"reason": "x" * 201}, "reason"),
    "a reason of lines": ({"reason": "a\nb"}, "reason"),
    "a number as reason": ({"reason": 5}, "reason"),
    "another field": ({"untill": 5e9}, "untill"),
}


@pytest.mark.parametrize(("said", "param"), BAD_ENDS.values(), ids=BAD_ENDS.keys())
def test_bad_orders_do_nothing(client: Client, world: World, said: dict[str, Any], param: str | None) -> None:
    answer = client.post("/admin/v1/models/claude/disable", json=said, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert len(answer.json()["error"]["message"]) > 10
    assert world.commands == []


def test_an_unknown_model_is_told_from_the_one_that_was_meant(client: Client, world: World) -> None:
    answer = client.post("/admin/v1/models/groq/lama-3.3-70b/disable", json={}, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "did you mean 'groq/llama-3.3-70b'?" in answer.json()["error"]["message"]
    assert world.commands == []


BODIES = {
    "an unknown action": (b'{"action":"explode"}', "action", 400),
    "a number as action": (b'{"action":1}', "action", 400),
    "no action": (b"{}", None, 400),
    "another field": (b'{"action":"open","model":"x"}', "model", 400),
    "an array": (b"[]", None, 400),
    "no JSON": (b"{", None, 400),
    "a form": (b"action=open", None, 400),
    "nothing": (b"", None, 400),
    "half of it": (b'{"action":"open', None, 400),
    "depth": (b"[" * 5000, None, 400),
    "depth in the action": (b'{"action":' + b"[" * 5000, None, 400),
    "bad UTF-8": (b'{"action":"\xff"}', None, 400),
    "too much": (b" " * 70_000, None, 413),
}


STRAYS = {
    "nearly a field": (
        "models/claude/disable",
        {"untill": 5},
        "'untill': there are until, for, reason; did",
    ),
    "a field of another order": ("models/claude/circuit", {"reason": "x"}, "'reason': there is action"),
    "one that nobody takes": ("models/claude/enable", {"for": "1h"}, "'for': none is taken."),
    "a dry run in the body": ("reload", {"dry_run": True}, "'dry_run': none is taken."),
}


@pytest.mark.parametrize(("path", "said", "told"), STRAYS.values(), ids=STRAYS.keys())
def test_a_field_that_nobody_reads_is_named_with_those_that_are(
    client: Client, world: World, path: str, said: dict[str, Any], told: str
) -> None:
    answer = client.post(f"/admin/v1/{path}", json=said, headers=ADMIN)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unknown_parameter", next(iter(said)))
    assert told in error["message"]
    assert world.commands == []


QUERIES = {
    "models?provider=groq": ("provider", "none is taken."),
    "models/claude?workers=1": ("workers", "none is taken."),
    "registry?model=claude": ("model", "none is taken."),
    "registry/diff?since=1h": ("since", "none is taken."),
    "weights?modle=claude": ("modle", "none is taken."),
    "trends?from=1h": ("from", "there is since."),
    "spend?model=claude": ("model", "there are since, until."),
    "calls?ids=req": ("ids", "there are model, intent, outcome,"),
    "calls?modle=claude": ("modle", "did you mean 'model'?"),
    "calls/req-1?full=true": ("full", "none is taken."),
    "openapi.json?pretty=1": ("pretty", "none is taken."),
}


@pytest.mark.parametrize("path", QUERIES)
def test_a_parameter_that_nobody_reads_is_named_with_those_that_are(client: Client, path: str) -> None:
    param, told = QUERIES[path]
    answer = client.get(f"/admin/v1/{path}", headers=ADMIN)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unknown_parameter", param)
    assert told in error["message"]


@pytest.mark.parametrize(
    "path", ["models/claude/disable?for=1h", "models/claude/enable?all=1", "weights/reset?all=1"]
)
def test_what_belongs_into_the_body_is_not_read_from_the_query(
    client: Client, world: World, path: str
) -> None:
    answer = client.post(f"/admin/v1/{path}", json={}, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_parameter")
    assert world.commands == []


def test_a_parameter_is_given_once(client: Client) -> None:
    answer = client.get("/admin/v1/calls?model=a&model=b", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "duplicate_parameter")


@pytest.mark.parametrize("verb", ["circuit", "disable", "enable"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_an_order_is_a_post(client: Client, verb: str, method: str) -> None:
    answer = client.request(method, f"/admin/v1/models/groq/llama-3.3-70b/{verb}", headers=ADMIN)
    assert answer.status_code == 405 and "POST" in answer.headers["allow"]
    assert "/admin/v1/models/groq/llama-3.3-70b/" in answer.json()["error"]["message"]


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
    paths = {
        "gpt-9/circuit": 404,
        "groq/gpt/circuit": 404,
        "circuit": 405,
        "claude": 405,
        "claude/other": 405,
    }
    for path, status in paths.items():
        answer = client.post(f"/admin/v1/models/{path}", json={"action": "open"}, headers=ADMIN)
        assert answer.status_code == status, path
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
        "/admin/v1/openapi.json",
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


def test_a_reload_says_what_came_of_it(client: Client, world: World) -> None:
    assert client.post("/admin/v1/reload").status_code == 401
    answer = client.post("/admin/v1/reload", headers=ADMIN)
    assert (answer.status_code, answer.json()["result"]) == (200, "changed")
    assert world.commands == [("reload", "admin")]


def test_a_reload_of_what_is_no_good_is_refused_with_the_reasons(client: Client, world: World) -> None:
    world.problem = "proxy.yml: limits: is missing"
    answer = client.post("/admin/v1/reload", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_config")
    assert answer.json()["error"]["message"] == world.problem


@pytest.mark.parametrize("said", ["true", "1", "TRUE"])
def test_a_dry_run_is_told_from_a_reload(client: Client, world: World, said: str) -> None:
    assert client.post(f"/admin/v1/reload?dry_run={said}", headers=ADMIN).status_code == 200
    assert world.commands == [("dry run", "admin")]


@pytest.mark.parametrize(
    ("query", "param"), [("dryrun=true", "dryrun"), ("dry_run=yes", "dry_run"), ("dry_run=", "dry_run")]
)
def test_a_slip_of_the_pen_reloads_nothing(client: Client, world: World, query: str, param: str) -> None:
    answer = client.post(f"/admin/v1/reload?{query}", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert world.commands == []
