"""A site with three models, two keys and a house of plain values behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from time import time
from typing import Any

import pytest
import uvloop
from litestar.testing import TestClient
from msgspec.structs import replace

from proxy.effort import Effort
from proxy.errors import ApiError
from proxy.record import Page, Query, Row, Trend
from proxy.server.audit import Audit
from proxy.server.auth import Keyring
from proxy.server.health import Health, Heard
from proxy.server.learned import Forget, Forgotten, Moves
from proxy.server.orders import KEPT, Command, Orders, Ruling, obey
from proxy.server.policy import AccessKey, AccessPolicy
from proxy.server.site import create_site
from proxy.server.state import Rated, Services
from proxy.types import Model, Need, Price

KEY = {"authorization": "Bearer sk-alice"}
ADMIN = {"x-admin-key": "sk-admin"}
PAGE = "https://chat.example"

MODELS = (
    Model(
        id="groq/llama-3.3-70b",
        provider="groq",
        upstream_model="llama-3.3-70b-versatile",
        aliases=("llama",),
        supports=frozenset({Need.TOOLS}),
        context_window=131072,
        price=Price(0.59, 0.79),
    ),
    Model(
        id="claude",
        provider="anthropic",
        upstream_model="claude-x",
        reasoning_effort=(Effort.LOW, Effort.HIGH),
        supports=frozenset({Need.VISION, Need.TOOLS}),
        context_window=200_000,
        price=Price(3, 15, cached_input=0.3),
    ),
    Model(id="local", provider="ollama", upstream_model="qwen", context_window=32768),
)


class Shelf:
    """Stands for the call log: it tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Query] = []
        self.calls: dict[str, dict[str, Any]] = {
            "req-1": {"request_id": "req-1", "key_id": "alice", "selected_model": "claude", "score": None},
            "req-refused": {
                "request_id": "req-refused",
                "key_id": "alice",
                "selected_model": None,
                "score": None,
            },
        }

    def find(self, query: Query) -> Page:
        self.asked.append(query)
        return Page([{"request_id": "req-1"}], 7, "database")

    def record(self, request_id: str, key: str | None = None) -> dict[str, Any] | None:
        found = self.calls.get(request_id)
        return found if found is not None and key in (None, found["key_id"]) else None

    def trends(self, since: float, step: float) -> list[Trend]:
        return [Trend("claude", [{"at": since, "step": step}])]

    def spend(self, since: float, until: float) -> list[Row]:
        return [{"day": "2026-11-26", "since": since, "until": until}]


def circuit(**fields: Any) -> dict[str, Any]:
    """A worker's view of a circuit; closed unless said otherwise."""
    return {"state": "closed", "reason": "start", "retry_after": 0.0, "throttled_for": 0.0} | fields


def observed(**fields: Any) -> dict[str, Any]:
    """What a worker has observed; nothing unless said otherwise."""
    return {"success": 1.0, "ttft": None, "speed": None, "evidence": 0.0, "p95": None} | fields


class World:
    """The parts that a test changes."""

    def __init__(self) -> None:
        self.models: tuple[Model, ...] = MODELS
        self.now = 1000.0
        self.heard = Heard({"1": {"claude": Health(circuit(), observed(success=0.75, evidence=4.0), 2)}})
        self.orders = Orders()
        self.kept = True
        self.moved: Moves = {"claude": {"success": -0.3}}
        self.changed: dict[str, Any] = {}
        self.shelf = Shelf()
        self.rated: list[tuple[Rated, bool]] = []
        self.is_draining = False
        self.commands: list[tuple[str, str]] = []
        self.chats: list[str] = []
        self.problem = ""
        self.services = Services(
            access=AccessPolicy(cors_origins=(PAGE,)),
            keyring=Keyring([AccessKey("alice", "sk-alice"), AccessKey("bob", "sk-bob")]),
            admin=Keyring([AccessKey("admin", "sk-admin"), AccessKey("eve", "sk-eve")]),
            models=lambda: self.models,
            profiles=lambda: ("cheap", "fast"),
            look=self.look,
            orders=lambda: self.orders,
            order=self.order,
            reload=self.reload,
            registry=lambda: {"object": "registry"},
            compare=self.compare,
            weights=lambda: {"object": "weights", "changed": self.changed},
            forget=self.forget,
            restore=self.restore,
            audit=Audit(lambda: self.now),
            metrics=lambda: (b"llm_requests_total 1.0\n", "text/plain; version=1.0.0; charset=utf-8"),
            flush=lambda: self.commands.append(("flush", "")),
            history=self.shelf,
            rate=self.rate,
            explain=self.explain,
            decided_again=lambda record: {"selected_model": "claude"},
            draining=lambda: self.is_draining,
            started=1_700_000_000,
        )

    def explain(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if row.get("model") == "gone":
            raise ApiError(404, "No model 'gone'.", code="model_not_found", param="model")
        return {"selected_model": "claude", "asked": row}

    async def rate(self, rated: Rated, first: bool) -> None:
        """Stands for the call log and the other workers."""
        self.rated.append((rated, first))
        self.shelf.calls[rated.request_id]["score"] = rated.score

    async def look(self) -> Heard:
        """Stands for the workers."""
        return self.heard

    async def order(self, command: Command) -> tuple[Ruling, tuple[str, ...]]:
        """Stands for the office."""
        self.commands.append((command.action.value, command.model))
        ruling = obey(self.orders, command, time())
        self.orders = ruling.orders
        return replace(ruling, kept=self.kept if command.action in KEPT else None), self.heard.silent

    async def forget(self, wanted: Forget) -> Forgotten:
        """Stands for the workers."""
        self.commands.append(("forget", wanted.model or "all"))
        return Forgotten({"1": self.moved, "2": {}}, self.heard.silent)

    async def restore(self, by: str) -> dict[str, Any]:
        """Stands for the office."""
        self.commands.append(("restore", by))
        if self.problem:
            raise ApiError(422, self.problem, code="invalid_config")
        return {"silent": self.heard.silent}

    async def compare(self, by: str) -> dict[str, Any]:
        """Stands for the keeper."""
        return {"object": "registry_diff", "by": by}

    async def reload(self, by: str, dry_run: bool) -> dict[str, Any]:
        """Likewise."""
        self.commands.append(("dry run" if dry_run else "reload", by))
        if self.problem:
            raise ApiError(422, self.problem, code="invalid_config")
        told = {"object": "reload", "result": "changed", "epoch": "e2", "epoch_before": "e1"}
        return {**told, "models": {"added": ["new"], "removed": [], "changed": {}}, "other": []}

    async def chat(self, scope: Any, receive: Any, send: Any) -> None:
        """Stands for the hot route."""
        self.chats.append(scope["path"])
        head = [(b"x-request-id", b"from-the-hot-route"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World) -> Iterator[TestClient[Any]]:
    with TestClient(create_site(world.services, world.chat)) as client:
        yield client


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What touches sockets runs on both loops: transports differ in when they call what."""
    if item.path.name in ("test_protocol.py", "test_cycle.py"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
