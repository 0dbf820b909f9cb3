"""The plain routes by table: models, status, and every refusal in OpenAI's shape."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from proxy.server.orders import Action, Disabled, Forced, Orders
from proxy.server.policy import AccessPolicy
from tests.server.conftest import KEY, MODELS, PAGE, World

Client = TestClient[Any]

# --- models --------------------------------------------------------------------------------------


def test_auto_and_its_profiles_come_first(client: Client) -> None:
    listed = client.get("/v1/models", headers=KEY).json()
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == [
        "auto",
        "auto:cheap",
        "auto:fast",
        *(model.id for model in MODELS),
    ]


def test_a_model_says_what_it_can_and_costs(client: Client) -> None:
    assert client.get("/v1/models/claude", headers=KEY).json() == {
        "id": "claude",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "anthropic",
        "context_window": 200_000,
        "supports": ["tools", "vision"],
        "reasoning_effort": ["low", "high"],
        "price": {"input": 3.0, "output": 15.0, "cached_input": 0.3},
    }


def test_an_unknown_price_is_null(client: Client) -> None:
    assert client.get("/v1/models/local", headers=KEY).json()["price"] is None


def test_auto_can_what_any_model_can(client: Client) -> None:
    auto = client.get("/v1/models/auto", headers=KEY).json()
    assert (auto["context_window"], auto["supports"], auto["owned_by"]) == (
        200_000,
        ["tools", "vision"],
        "kuro",
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/models/groq/llama-3.3-70b", "groq/llama-3.3-70b"),
        ("/v1/models/groq%2Fllama-3.3-70b", "groq/llama-3.3-70b"),
        ("/v1/models/groq/llama-3.3-70b/", "groq/llama-3.3-70b"),
        ("/v1/models/llama", "groq/llama-3.3-70b"),
        ("/v1/models/auto:cheap", "auto:cheap"),
    ],
    ids=["an id with a slash", "a percent-encoded id", "a trailing slash", "an alias", "a profile"],
)
def test_a_model_is_found(client: Client, path: str, found: str) -> None:
    assert client.get(path, headers=KEY).json()["id"] == found


@pytest.mark.parametrize("name", ["gpt-9", "groq", "groq/", "auto:best", "Claude", "claude/x"])
def test_a_model_that_is_not_there(client: Client, name: str) -> None:
    answer = client.get(f"/v1/models/{name}", headers=KEY)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


def test_no_ready_models_is_an_empty_list(client: Client, world: World) -> None:
    world.models = ()
    assert client.get("/v1/models", headers=KEY).json() == {"object": "list", "data": []}


def test_without_configured_keys_everybody_sees_the_models(client: Client, world: World) -> None:
    world.services.keyring = type(world.services.keyring)([])
    assert client.get("/v1/models").status_code == 200


# --- status --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics"])
def test_probes_need_no_key(client: Client, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
def test_probes_may_ask_for_the_head_only(client: Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_ready_says_how_many_models(client: Client) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "models": 3}


def test_draining_is_not_ready_but_alive(client: Client, world: World) -> None:
    world.is_draining = True
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "draining")
    assert client.head("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_no_model_is_not_ready(client: Client, world: World) -> None:
    world.models = ()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "no_ready_model")


OUT = Disabled(1.0)


@pytest.mark.parametrize(
    ("orders", "left"),
    [
        pytest.param(Orders({"claude": OUT}), 2, id="one is disabled"),
        pytest.param(Orders({model.id: OUT for model in MODELS}), 0, id="all are"),
        pytest.param(Orders({model.id: OUT for model in MODELS[1:]}), 1, id="all but one are"),
        pytest.param(Orders({"gone": OUT}), 3, id="one that the registry lacks is"),
        pytest.param(
            Orders({model.id: OUT for model in MODELS[1:]}, {MODELS[0].id: Forced(Action.OPEN, 1.0)}),
            0,
            id="all but one are, whose circuit is forced open",
        ),
        pytest.param(
            Orders({model.id: OUT for model in MODELS[1:]}, {MODELS[0].id: Forced(Action.CLOSE, 1.0)}),
            1,
            id="all but one are, whose circuit is forced closed",
        ),
    ],
)
def test_ready_is_who_has_a_model_in_service(client: Client, world: World, orders: Orders, left: int) -> None:
    world.orders = orders
    answer = client.get("/readyz")
    assert client.head("/readyz").status_code == answer.status_code
    if left:
        assert (answer.status_code, answer.json()["models"]) == (200, left)
    else:
        assert (answer.status_code, answer.json()["reason"]) == (503, "no_model_in_service")


def test_metrics_come_as_they_were_rendered(client: Client) -> None:
    answer = client.get("/metrics")
    assert answer.content == b"llm_requests_total 1.0\n"
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"


def test_metrics_need_a_key_if_wished(client: Client, world: World) -> None:
    world.services.access = AccessPolicy(metrics_need_key=True)
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=KEY).status_code == 200


# --- refusals ------------------------------------------------------------------------------------

REFUSALS = {
    "an unknown URL": ("GET", "/nope", 404, "unknown_url"),
    "litestar's own schema": ("GET", "/schema", 404, "unknown_url"),
    "an API that we don't have": ("POST", "/v1/embeddings", 404, "unknown_url"),
    "a path below a leaf": ("GET", "/healthz/x", 404, "unknown_url"),
    "dots": ("GET", "/v1/%2e%2e/admin", 404, "unknown_url"),
    "models by POST": ("POST", "/v1/models", 405, "method_not_allowed"),
    "a model by DELETE": ("DELETE", "/v1/models/claude", 405, "method_not_allowed"),
    "health by POST": ("POST", "/healthz", 405, "method_not_allowed"),
    "chat by GET": ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
    "chat by PUT": ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
    "models without a key": ("GET", "/v1/models", 401, "invalid_api_key"),
    "models with a trailing slash": ("GET", "/v1/models/", 401, "invalid_api_key"),
    "models with a double slash": ("GET", "/v1//models", 401, "invalid_api_key"),
    "models with an encoded letter": ("GET", "/v1/%6dodels", 401, "invalid_api_key"),
    "a model without a key": ("GET", "/v1/models/claude", 401, "invalid_api_key"),
    "a model that isn't there, without a key": ("GET", "/v1/models/nope", 401, "invalid_api_key"),
}


@pytest.mark.parametrize(("method", "path", "status", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(client: Client, method: str, path: str, status: int, code: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert answer.headers["x-request-id"]


def test_an_unknown_url_is_named(client: Client) -> None:
    assert client.get("/v2/chat").json()["error"]["message"] == "Unknown URL: GET /v2/chat."
    lost = client.post("/chat/completions", json={}).json()["error"]["message"]
    assert lost.startswith("Unknown URL: POST /chat/completions. Chat is at POST /v1/chat/completions")


def test_an_endless_url_is_not_said_back_whole(client: Client) -> None:
    assert len(client.get("/" + "x" * 5000).json()["error"]["message"]) < 300


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/models", {"GET", "OPTIONS"}),
        ("/v1/chat/completions", {"POST", "OPTIONS"}),
        ("/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: Client, path: str, methods: set[str]) -> None:
    assert set(client.delete(path).headers["allow"].split(", ")) == methods
    assert set(client.options(path).headers["allow"].split(", ")) <= methods


def test_a_crash_says_nothing_but_the_request_id(client: Client, world: World, caplog: Any) -> None:
    world.services.metrics = lambda: (_ for _ in ()).throw(RuntimeError("secret sk-123"))  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR, logger="proxy.server.errors"):
        answer = client.get("/metrics", headers={"x-request-id": "my-id"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (500, "server_error", "internal_error")
    assert "my-id" in error["message"] and "secret" not in answer.text and "Traceback" not in answer.text
    assert answer.headers["x-request-id"] == "my-id"
    (logged,) = caplog.records
    assert "my-id" in logged.getMessage() and logged.exc_info is not None


# --- what every answer carries -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/v1/models"], ids=["served", "unknown", "refused"])
def test_the_callers_request_id_comes_back(client: Client, path: str) -> None:
    assert client.get(path, headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/models/a/b"])
def test_a_preflight_needs_no_key(client: Client, path: str) -> None:
    answer = client.options(path, headers={"origin": PAGE, "access-control-request-method": "POST"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("path", ["/v1/models", "/nope"], ids=["refused", "unknown"])
def test_pages_can_read_refusals(client: Client, path: str) -> None:
    answer = client.get(path, headers={"origin": PAGE})
    assert answer.status_code in (401, 404)
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_other_pages_can_not(client: Client) -> None:
    answer = client.get("/healthz", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/admin/v1/models", "/admin//v1/models", "/%61dmin/v1/models", "/admin/nope"]
)
def test_no_page_may_call_the_admin_api(client: Client, path: str, method: str) -> None:
    asking = {"origin": PAGE, "access-control-request-method": "GET", "access-control-request-headers": "x"}
    answer = client.request(method, path, headers=asking)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_other_spellings_of_the_hot_path_reach_the_hot_route(client: Client, world: World) -> None:
    for path in ("/v1/chat/completions/", "/v1//chat/completions", "/v1/chat/complet%69ons"):
        answer = client.post(path, headers={"origin": PAGE})
        assert answer.status_code == 200
        assert answer.headers.get_list("x-request-id") == ["from-the-hot-route"]
        assert "access-control-allow-origin" not in answer.headers  # the hot route says that itself
    assert len(world.chats) == 3


def test_services_can_be_exchanged_while_serving(client: Client, world: World) -> None:
    world.services.access = msgspec.structs.replace(world.services.access, cors_origins=("*",))
    assert (
        client.get("/healthz", headers={"origin": "https://any"}).headers["access-control-allow-origin"]
        == "*"
    )
