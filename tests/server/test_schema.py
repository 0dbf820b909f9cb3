"""The admin API is what its OpenAPI says: each route is described, answers, and stands anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient

from proxy.server.site import create_site
from tests.server.conftest import ADMIN, World

Client = TestClient[Any]

GOOD: dict[tuple[str, str], Any] = {
    ("get", "/admin/v1/models"): None,
    ("get", "/admin/v1/models/{model_id}"): None,
    ("post", "/admin/v1/models/{model_id}/circuit"): {"action": "reset"},
    ("post", "/admin/v1/models/{model_id}/disable"): {"for": "1h", "reason": "so"},
    ("post", "/admin/v1/models/{model_id}/enable"): {},
    ("get", "/admin/v1/registry"): None,
    ("get", "/admin/v1/registry/diff"): None,
    ("get", "/admin/v1/weights"): None,
    ("post", "/admin/v1/weights/reset"): {"model": "claude"},
    ("post", "/admin/v1/reload"): {},
    ("get", "/admin/v1/calls"): None,
    ("get", "/admin/v1/calls/{call_id}"): None,
    ("get", "/admin/v1/trends"): None,
    ("get", "/admin/v1/spend"): None,
    ("post", "/admin/v1/explain"): {"prompt": "Hello"},
}
"""Every route, with a body that it takes."""
FILLED = {"model_id": "groq/llama-3.3-70b", "call_id": "req-1"}
TAKES_BODY = [path for (_, path), body in GOOD.items() if body is not None]


def schema(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/admin/v1/openapi.json", headers=ADMIN).json()
    return found


def test_every_route_is_described_and_no_other(client: Client) -> None:
    paths = schema(client)["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == set(GOOD)
    for (method, path), body in GOOD.items():
        told = paths[path][method]
        assert told["summary"] and told["tags"], path
        assert {each["name"] for each in told.get("parameters", ()) if each["in"] == "path"} == {
            name for name in FILLED if f"{{{name}}}" in path
        }
        assert set(told["responses"]) == {"200", "401", "default"}
        assert ("requestBody" in told) == (body is not None), path


def test_what_the_schema_refers_to_is_in_it(client: Client) -> None:
    told = schema(client)
    named = {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    assert {*_references(told)} <= named
    assert told["security"] == [{"admin": []}, {"bearer": []}]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


@pytest.mark.parametrize(("route", "body"), GOOD.items(), ids=[" ".join(route) for route in GOOD])
def test_every_route_answers_with_the_key_alone(client: Client, route: tuple[str, str], body: Any) -> None:
    method, path = route
    path = path.format(**FILLED)
    assert client.request(method, path, json=body).status_code == 401
    answer = client.request(method, path, json=body, headers=ADMIN)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("path", ["/admin/v1/swagger", "/admin/v1/openapi.yaml", "/admin/v1/schema"])
def test_no_viewer_is_served(client: Client, path: str) -> None:
    answer = client.get(path, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


# --- anything at all -------------------------------------------------------------------------------

KNOWN = st.sampled_from(["action", "until", "for", "reason", "prompt", "messages", "model"])
FIELDS = KNOWN | st.text(max_size=8)
PLAIN = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=6,
)
BODIES = st.binary(max_size=200) | st.dictionaries(FIELDS, VALUES, max_size=4).map(
    lambda body: json.dumps(body).encode()
)
TYPES = st.sampled_from(
    ["application/json", "text/plain", "multipart/form-data", "application/x-msgpack", ""]
)


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[World, Client]]:
    """One for all examples: what was sent before must not matter."""
    world = World()
    with TestClient(create_site(world.services, world.chat)) as client:
        yield world, client


@given(path=st.sampled_from(TAKES_BODY), body=BODIES, kind=TYPES)
def test_any_body_is_taken_or_refused_in_the_one_shape(
    site: tuple[World, Client], path: str, body: bytes, kind: str
) -> None:
    world, client = site
    world.commands.clear()
    headers = {**ADMIN, **({"content-type": kind} if kind else {})}
    answer = client.post(path.format(**FILLED), content=body, headers=headers)
    _is_taken_or_refused(answer, world)
    assert client.get("/admin/v1/models", headers=ADMIN).status_code == 200


@given(name=st.text(min_size=1, max_size=40), verb=st.sampled_from(["", "/circuit", "/disable", "/enable"]))
def test_any_id_is_known_or_refused_in_the_one_shape(
    site: tuple[World, Client], name: str, verb: str
) -> None:
    world, client = site
    world.commands.clear()
    path = f"/admin/v1/models/{quote(name.encode('utf-8', 'surrogatepass'), safe='')}{verb}"
    answer = client.request("POST" if verb else "GET", path, json={"action": "open"}, headers=ADMIN)
    if name.strip("/.") and "/" not in name:
        assert answer.status_code in (400, 404), path
    _is_taken_or_refused(answer, world)


@given(
    path=st.sampled_from([path for method, path in GOOD if method == "get"] + ["/admin/v1/reload"]),
    query=st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
)
def test_any_query_is_taken_or_refused_in_the_one_shape(
    site: tuple[World, Client], path: str, query: dict[str, str]
) -> None:
    world, client = site
    world.commands.clear()
    method = "POST" if path.endswith("reload") else "GET"
    encoded = {quote(name, errors="replace"): value for name, value in query.items()}
    answer = client.request(method, path.format(**FILLED), params=encoded, headers=ADMIN)
    _is_taken_or_refused(answer, world)


def _is_taken_or_refused(answer: Any, world: World) -> None:
    if answer.status_code == 200:
        return
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] and 10 < len(error["message"]) <= 4000
    assert [done for done in world.commands if done[0] != "flush"] == []
