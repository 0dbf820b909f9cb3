"""POST /admin/v1/explain: what it takes, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from tests.server.conftest import ADMIN

Client = TestClient[Any]
PATH = "/admin/v1/explain"


@pytest.mark.parametrize(
    "body", [{"prompt": "Hello"}, {"model": "auto:fast", "messages": [{"role": "user", "content": "Hi"}]}]
)
def test_a_decision_without_a_call(client: Client, body: dict[str, Any]) -> None:
    answer = client.post(PATH, json=body, headers=ADMIN)
    assert (answer.status_code, answer.json()) == (200, {"selected_model": "claude", "asked": body})


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{}", 400, "prompt"),
        (b'{"prompt": 7}', 400, "prompt"),
        (b'{"prompt": "x", "prompt": "y"}', 400, "prompt"),
        (b'{"prompt": "x", "model": "gone"}', 404, "model"),
        (b"[]", 400, None),
        (b"no JSON", 400, None),
        (b'"text"', 400, None),
        (b"[" * 30_000, 400, None),
        (b'{"prompt": "\xff"}', 400, None),
        (b'{"prompt": "' + b"x" * 5_000_000 + b'"}', 413, None),
    ],
)  # fmt: skip
def test_what_is_refused(client: Client, body: bytes, status: int, param: str | None) -> None:
    answer = client.post(PATH, content=body, headers={**ADMIN, "content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert client.post(PATH, json={"prompt": "Hello"}, headers=ADMIN).status_code == 200


def test_the_admin_key_is_needed(client: Client) -> None:
    assert (
        client.post(PATH, json={"prompt": "x"}, headers={"authorization": "Bearer sk-alice"}).status_code
        == 401
    )
