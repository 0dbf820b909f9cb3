"""The lines about who changed what: complete, without keys, and bounded where somebody only guesses."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from litestar.testing import TestClient

from proxy.server.audit import PERIOD, REFUSALS
from tests.server.conftest import ADMIN, World

Client = TestClient[Any]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Lines are asked for when the test is over with what it does."""
    caplog.set_level(logging.INFO, "kuro.admin")

    class Told(list[dict[str, Any]]):
        def __iter__(self) -> Any:
            return iter([record.admin for record in caplog.records if hasattr(record, "admin")])

    return Told()


def test_a_change_is_told_with_who_what_and_both_states(client: Client, told: list[dict[str, Any]]) -> None:
    client.post("/admin/v1/models/claude/disable", json={"reason": "so"}, headers={"x-admin-key": "sk-eve"})
    client.post("/admin/v1/models/claude/enable", headers=ADMIN)
    first, second = told
    assert (first["by"], first["action"], first["target"]) == ("eve", "disable", "claude")
    assert (first["old"], first["new"]["reason"], first["result"]) == (None, "so", "changed")
    assert (second["by"], second["old"]["by"], second["new"]) == ("admin", "eve", None)
    assert first["from"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "lines"),
    [
        pytest.param("POST", "/admin/v1/models/nobody/enable", ADMIN, 1, id="a change that was not made"),
        pytest.param("GET", "/admin/v1/models", {"x-admin-key": "sk-no"}, 1, id="a wrong key"),
        pytest.param("GET", "/admin/v1/calls", {}, 1, id="no key, anywhere below"),
        pytest.param("GET", "/admin/v1/models/nobody", ADMIN, 0, id="not a question in vain"),
        pytest.param("GET", "/v1/models", {}, 0, id="not what callers do"),
    ],
)
def test_a_refusal_is_told(
    client: Client, told: list[dict[str, Any]], method: str, path: str, headers: dict[str, str], lines: int
) -> None:
    client.request(method, path, headers=headers)
    assert [line["result"] for line in told] == ["refused"] * lines


def test_a_path_is_told_as_it_was_asked(client: Client, told: list[dict[str, Any]]) -> None:
    client.post("/admin/v1/models/groq/lama/disable", json={}, headers=ADMIN)
    assert [line["action"] for line in told] == ["POST /admin/v1/models/groq/lama/disable"]


def test_a_refusal_tells_what_the_admin_was_told(client: Client, told: list[dict[str, Any]]) -> None:
    heard = [
        client.post(f"/admin/v1/{path}", json=said, headers=ADMIN).json()["error"]
        for path, said in (("models/claude/circuit", {"action": "explode"}), ("weights/reset", {"al": True}))
    ]
    assert [(line["code"], line["why"]) for line in told] == [
        (error["code"], error["message"]) for error in heard
    ]


def test_a_reload_is_told_with_what_changed(client: Client, told: list[dict[str, Any]]) -> None:
    client.post("/admin/v1/reload", headers=ADMIN)
    (line,) = told
    assert (line["action"], line["old"], line["new"], line["models"]["added"]) == (
        "reload",
        "e1",
        "e2",
        ["new"],
    )


def test_guesses_fill_no_disk_and_are_counted(
    client: Client, world: World, told: list[dict[str, Any]]
) -> None:
    for number in range(REFUSALS + 30):
        client.get("/admin/v1/models", headers={"x-admin-key": f"sk-{number}"})
    assert len([*told]) == REFUSALS
    world.now += PERIOD
    client.get("/admin/v1/models", headers={"x-admin-key": "sk-again"})
    *_, last = told
    assert last["unlogged"] == 30
    assert not any("sk-" in str(line) for line in told)
