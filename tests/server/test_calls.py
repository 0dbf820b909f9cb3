"""/admin/v1/calls: what is asked of the call log, and what is refused before it is."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from proxy.record import Query
from proxy.server.headers import session_of
from tests.server.conftest import ADMIN, Shelf, World

Client = TestClient[Any]
CONVERSATION = "0123456789abcdef01234567"


def test_a_page_of_calls(client: Client, world: World) -> None:
    answer = client.get("/admin/v1/calls", headers=ADMIN)
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "list",
        "data": [{"request_id": "req-1"}],
        "next": 7,
        "source": "database",
    }
    assert ("flush", "") in world.commands


def test_filters_reach_the_call_log(client: Client, world: World) -> None:
    path = (
        "/admin/v1/calls?model=groq/llama&intent=math&outcome=error&failed=true&since=100&until=200.5"
        f"&request_id=req&session={CONVERSATION}&key=alice&before=9&after=2&limit=3"
    )
    assert client.get(path, headers=ADMIN).status_code == 200
    shelf: Shelf = world.services.history  # type: ignore[assignment]
    assert shelf.asked == [
        Query(
            "groq/llama",
            "math",
            "error",
            True,
            100.0,
            200.5,
            "req",
            "0123456789abcdef01234567",
            "alice",
            9,
            2,
            3,
        )
    ]


def test_a_conversation_is_found_by_what_its_caller_calls_it(client: Client, world: World) -> None:
    shelf: Shelf = world.services.history  # type: ignore[assignment]
    called = session_of({"x-session-id": "chat-7"}, {}, (), "alice")
    assert client.get("/admin/v1/calls?session=chat-7&key=alice", headers=ADMIN).status_code == 200
    assert shelf.asked[-1].session == called


@pytest.mark.parametrize(
    ("query", "param", "said"),
    [
        ("limit=0", "limit", "from 1 to 1000"),
        ("limit=many", "limit", "'many'"),
        ("limit=%D9%A1", "limit", "whole number"),
        ("before=-1", "before", "whole number"),
        ("before=99999999999999999999", "before", "whole number"),
        ("outcome=bad", "outcome", "one of ok, error"),
        ("model=", "model", "is empty"),
        ("since=2h&until=3h", "until", "lies before `since`"),
        ("failed=perhaps", "failed", "neither true nor false"),
        ("since=yesterday", "since", "no point in time"),
    ],
)
def test_a_bad_filter_is_named(client: Client, query: str, param: str, said: str) -> None:
    answer = client.get(f"/admin/v1/calls?{query}", headers=ADMIN)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, "invalid_parameter")
    assert said in error["message"]


def test_one_call(client: Client) -> None:
    assert client.get("/admin/v1/calls/req-1", headers=ADMIN).json() == {
        "request_id": "req-1",
        "key_id": "alice",
        "selected_model": "claude",
        "score": None,
        "decision": {"selected_model": "claude"},
    }
    answer = client.get("/admin/v1/calls/req-2", headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "call_not_found")


def test_trends(client: Client) -> None:
    answer = client.get("/admin/v1/trends?since=10m", headers=ADMIN).json()
    assert answer["step"] == pytest.approx(10.0) and answer["data"][0]["model"] == "claude"
    assert client.get("/admin/v1/trends", headers=ADMIN).json()["step"] == pytest.approx(60.0)
    (ever,) = client.get("/admin/v1/trends?since=0", headers=ADMIN).json()["data"]
    assert ever["points"][0]["at"] == 0.0
    assert client.get("/admin/v1/trends?since=soon", headers=ADMIN).json()["error"]["param"] == "since"


def test_spend(client: Client) -> None:
    answer = client.get("/admin/v1/spend?since=100&until=200", headers=ADMIN).json()
    assert answer["data"] == [{"day": "2026-11-26", "since": 100.0, "until": 200.0}]
    (month,) = client.get("/admin/v1/spend", headers=ADMIN).json()["data"]
    assert 30 * 86400 <= month["until"] - month["since"] <= 30 * 86400 + 2
    (ever,) = client.get("/admin/v1/spend?since=0", headers=ADMIN).json()["data"]
    assert ever["since"] == 0.0
    assert client.get("/admin/v1/spend?model=x", headers=ADMIN).json()["error"]["param"] == "model"


@pytest.mark.parametrize("path", ["calls", "calls/req-1", "spend", "trends"])
def test_the_admin_key_is_needed(client: Client, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer sk-alice"}):
        assert client.get(f"/admin/v1/{path}", headers=headers).status_code == 401
