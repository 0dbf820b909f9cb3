"""Feedback: on own calls only, the last word is kept, the first one counts."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from proxy.server.auth import Keyring
from tests.server.conftest import KEY, World

Client = TestClient[Any]
BOB = {"authorization": "Bearer sk-bob"}


def give(client: Client, headers: dict[str, str] = KEY, **said: Any) -> Any:
    return client.post("/v1/feedback", json={"request_id": "req-1", "score": 1, **said}, headers=headers)


@pytest.mark.parametrize(
    ("said", "kept"), [(1, 1.0), (0, 0.0), (0.25, 0.25), (-1, 0.0)], ids=["up", "useless", "so-so", "down"]
)
def test_a_score_is_kept_with_the_call_and_its_model(
    client: Client, world: World, said: float, kept: float
) -> None:
    answer = give(client, score=said)
    assert (answer.status_code, answer.json()) == (
        200, {"object": "feedback", "request_id": "req-1", "model": "claude", "score": kept},
    )  # fmt: skip
    ((rated, first),) = world.rated
    assert (rated.key, rated.model, rated.score, first) == ("alice", "claude", kept, True)


def test_the_last_word_is_kept_and_only_the_first_is_learned_from(client: Client, world: World) -> None:
    give(client, score=1)
    give(client, score=0)
    assert [(rated.score, first) for rated, first in world.rated] == [(1.0, True), (0.0, False)]
    assert world.shelf.calls["req-1"]["score"] == 0.0


@pytest.mark.parametrize(
    ("headers", "said", "status", "param"),
    [
        pytest.param({}, {}, 401, None, id="without a key"),
        pytest.param(KEY, {"request_id": "req-9"}, 404, "request_id", id="on a call that nobody knows"),
        pytest.param(BOB, {}, 404, "request_id", id="on another key's call"),
        pytest.param(KEY, {"request_id": "req-refused"}, 400, "request_id", id="on a call without an answer"),
        pytest.param(KEY, {"score": 2}, 400, "score", id="above one"),
        pytest.param(KEY, {"score": -0.5}, 400, "score", id="between thumbs"),
        pytest.param(KEY, {"score": "good"}, 400, "score", id="in words"),
        pytest.param(KEY, {"score": None}, 400, "score", id="without a score"),
        pytest.param(KEY, {"score": "1"}, 400, "score", id="in digits"),
        pytest.param(KEY, {"request_id": 5}, 400, "request_id", id="on a number"),
        pytest.param(KEY, {"comment": "x"}, 400, "comment", id="with another field"),
    ],
)
def test_what_is_refused(
    client: Client, world: World, headers: dict[str, str],
    said: dict[str, Any], status: int, param: str | None,
) -> None:  # fmt: skip
    answer = give(client, headers, **said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert world.rated == []


def test_no_page_from_elsewhere_gives_feedback_where_nobody_has_a_key(client: Client, world: World) -> None:
    world.services.keyring = Keyring([])
    answer = give(client, {"origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert world.rated == []
