"""The configuration is read anew while calls go on."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import ROOT, Kuro, model, write_config
from tests.e2e.raw import ask
from tests.stub import Gate, StubUpstream, fail, gated, ok

ALICE = {"name": "alice", "key": "sk-alice-of-the-tests"}
BOB = {"name": "bob", "key": "sk-bob-of-the-tests"}
OFF = {"watch": False}


def body(name: str, stream: bool = False) -> dict[str, Any]:
    return {"model": name, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}


class World:
    """A proxy, and a hand on its files."""

    def __init__(self, directory: Path, stub: StubUpstream) -> None:
        self.directory, self.stub = directory, stub
        self.running: list[Kuro] = []

    def write(self, *models: Any, reload: dict[str, Any] = OFF, **options: Any) -> Path:
        proxy = {"admin_key": ADMIN, "reload": reload, **options.pop("proxy", {})}
        return write_config(self.directory, self.stub.url, models, proxy=proxy, **options)

    def start(self, *models: Any, arguments: tuple[str, ...] = (), **options: Any) -> Kuro:
        self.running.append(Kuro(self.write(*models, **options), *arguments))
        return self.running[-1]


@pytest.fixture
def world(stub: StubUpstream, tmp_path: Path) -> Iterator[World]:
    here = World(tmp_path, stub)
    for name in ("one", "two"):
        stub.script(name, ok("Here."))
    yield here
    for kuro in here.running:
        kuro.process.kill()
        kuro.stop()


def reload(kuro: Kuro) -> Any:
    return kuro.admin("/reload", {})


def reported(kuro: Kuro, by: str) -> dict[str, Any]:
    line = kuro.wait_line(lambda line: line.get("event") == "reload" and line["reload"]["by"] == by)
    found: dict[str, Any] = line["reload"]
    return found


def test_models_come_go_and_change(world: World) -> None:
    kuro = world.start(model("one"))
    assert kuro.chat(body("two"))[0] == 404
    world.write(model("two"), model("one", price={"input": 5, "output": 5}))
    said = reload(kuro)
    assert said["models"] == {"added": ["two"], "removed": [], "changed": {"one": ["price"]}}
    assert kuro.chat(body("two"))[0] == 200
    world.write(model("two"))
    assert reload(kuro)["models"]["removed"] == ["one"]
    assert kuro.chat(body("one"))[0] == 404
    assert reload(kuro)["result"] == "unchanged"
    _, _, page = kuro.request("GET", "/metrics")
    assert b'llm_config_reloads_total{result="changed"} 2.0' in page
    assert b'llm_config_reloads_total{result="unchanged"} 1.0' in page


async def test_a_stream_in_flight_ends_as_it_began(world: World) -> None:
    gate = Gate()
    kuro = world.start(model("one"))
    world.stub.script("one", gated(gate, ok("All of these words."), at=2))
    before = world.stub.hits("one")
    stream = asyncio.create_task(ask(kuro.port, body("one", stream=True)))
    await world.stub.wait_hits("one", before + 1)
    world.write(model("two"), providers={"other": {"dialect": "openai", "base_url": world.stub.url}})
    said = await asyncio.to_thread(reload, kuro)
    assert said["models"]["removed"] == ["one"]
    gate.release()
    heard = await stream
    assert heard.whole
    assert heard.body.endswith(b"data: [DONE]\n\n")


def test_circuits_of_models_that_stay_are_kept(world: World) -> None:
    world.stub.script("one", fail(503))
    kuro = world.start(model("one"), proxy={"breaker": {"open_for": 60, "open_cap": 60}})
    while kuro.circuit("one")["state"] == "closed":
        kuro.chat(body("one"))
    world.write(model("one", price=None), model("two"), proxy={"breaker": {"open_for": 50, "open_cap": 60}})
    assert reload(kuro)["models"]["added"] == ["two"]
    assert kuro.circuit("one")["state"] == "open"


def test_one_with_problems_changes_nothing_and_says_them_all(world: World) -> None:
    kuro = world.start(model("one"))
    world.write(model("two", provider="nobody"), proxy={"limits": {"max_queue": -1}})
    headers = {"x-admin-key": ADMIN, "content-type": "application/json"}
    status, _, raw = kuro.request("POST", "/admin/v1/reload", b"{}", headers)
    assert status == 422
    assert b"models[0].provider" in raw
    assert b"limits.max_queue" in raw
    assert reported(kuro, "admin key admin")["result"] == "refused"
    assert kuro.chat(body("one"))[0] == 200
    assert kuro.chat(body("two"))[0] == 404


def test_what_needs_a_restart_is_said_by_name_and_a_secret_never(world: World) -> None:
    kuro = world.start(model("one"), proxy={"keys": [ALICE]})
    world.write(model("one"), proxy={"keys": [BOB], "listen": {"port": 1}})
    said = reload(kuro)
    assert said["needs_restart"] == ["proxy.yml: listen.port"]
    assert said["other"] == ["proxy.yml: listen.port", "proxy.yml: keys.alice", "proxy.yml: keys.bob"]
    assert kuro.chat(body("one"), authorization=f"Bearer {ALICE['key']}")[0] == 401
    assert kuro.chat(body("one"), authorization=f"Bearer {BOB['key']}")[0] == 200
    assert "sk-" not in kuro.log()


def test_a_key_that_is_taken_away_opens_no_kept_connection_either(world: World) -> None:
    kuro = world.start(model("one"), proxy={"keys": [ALICE]})
    headers = {"content-type": "application/json", "authorization": f"Bearer {ALICE['key']}"}
    connection, seen = kuro.connect(), []
    for turn in range(4):
        if turn == 2:
            world.write(model("one"), proxy={"keys": [BOB]})
            reload(kuro)
        connection.request("POST", "/v1/chat/completions", json.dumps(body("one")), headers)
        response = connection.getresponse()
        seen.append((response.status, response.read() and connection.sock is not None))
    connection.close()
    assert seen == [(200, True), (200, True), (401, True), (401, True)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_reaches_every_process(world: World, workers: str) -> None:
    kuro = world.start(model("one"), arguments=("--workers", workers))
    assert kuro.chat(body("one"))[0] == 200
    world.write(model("two"))
    kuro.process.send_signal(signal.SIGHUP)
    assert reported(kuro, "signal")["changes"]["added"] == ["two"]
    # Asked next, all have done what was asked before.
    assert reload(kuro)["result"] == "unchanged"
    assert {kuro.chat(body("two"))[0] for _ in range(30)} == {200}
    assert kuro.stop() == 0


def test_one_worker_asks_for_all(world: World) -> None:
    kuro = world.start(model("one"), arguments=("--workers", "2"))
    world.write(model("two"))
    assert reload(kuro)["models"] == {"added": ["two"], "removed": ["one"], "changed": {}}
    assert {kuro.chat(body("two"))[0] for _ in range(30)} == {200}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_changed_file_is_taken_by_itself(world: World, workers: str) -> None:
    quick = {"interval": 0.05}
    kuro = world.start(model("one"), reload=quick, arguments=("--workers", workers))
    assert kuro.chat(body("one"))[0] == 200
    world.write(model("one"), model("two"), reload=quick)
    assert reported(kuro, "watch")["changes"]["added"] == ["two"]


async def test_under_load_nothing_is_lost(world: World) -> None:
    kuro = world.start(model("one"), model("two"))
    asked = 0
    over = asyncio.Event()

    async def call() -> None:
        nonlocal asked
        while not over.is_set():
            asked += 1
            assert (await ask(kuro.port, body("one", stream=asked % 2 == 0))).status == 200

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(call())
        for turn in range(10):
            limits = {"limits": {"max_in_flight": 2 + turn % 2}}
            provider = {"max_connections": 100 + turn}
            where = {"dialect": "openai", "base_url": world.stub.url, "api_key": "sk-upstream"}
            world.write(model("one"), model("two"), providers={"stub": where | provider}, proxy=limits)
            assert (await asyncio.to_thread(reload, kuro))["result"] == "changed"
        over.set()
    assert kuro.stop() == 0
    assert len([line for line in kuro.records() if line["outcome"] == "ok"]) == asked == len(kuro.records())


def test_fifty_reloads_leave_nothing_behind(world: World) -> None:
    kuro = world.start(model("one"), model("two"))

    def turn(number: int) -> None:
        where = {"dialect": "openai", "base_url": world.stub.url, "api_key": f"sk-{number}"}
        world.write(model("one"), model("two"), providers={"stub": where})
        assert reload(kuro)["result"] == "changed"
        assert kuro.chat(body("one"))[0] == 200

    for number in range(10):
        turn(number)
    before = _held(kuro.process.pid)
    for number in range(10, 60):
        turn(number)
    after = _held(kuro.process.pid)
    assert after[0] <= before[0] + 5  # the pool of `asyncio.to_thread` may not have been full
    assert after[1] <= before[1] + 2  # callers' last connections are closed a moment later
    assert after[2] - before[2] < 12_000, "kilobytes"


def _held(pid: int) -> tuple[int, int, int]:
    """Threads, descriptors, and kilobytes of memory."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["Threads"]), len([*Path(f"/proc/{pid}/fd").iterdir()]), int(status["VmRSS"].split()[0])


SQL_TUNING = {
    "description": "Making database queries faster.",
    "examples": [
        "This Postgres query takes 40 seconds, how can I speed it up?",
        "Which index should I add for WHERE customer_id = ? ORDER BY created_at DESC",
        "EXPLAIN ANALYZE shows a sequential scan over 12 million rows, why isn't the index used?",
        "our MySQL dashboard report got really slow since the orders table grew",
        "Can this join be rewritten so that it does not time out?",
    ],
}


def test_an_intent_given_by_examples_is_there_after_a_reload(world: World) -> None:
    asked = {
        "role": "user",
        "content": "The planner reads the whole table although there is an index, it crawls",
    }
    slow = {"model": "auto", "messages": [asked]}
    kuro = world.start(model("one"))
    assert kuro.chat(slow)[1]["x-kuro-intent"] != "sql_tuning"
    intents = yaml.safe_load((ROOT / "config" / "intents.yml").read_text("utf-8"))
    intents["intents"]["sql_tuning"] = SQL_TUNING
    world.write(model("one"), model("two", capabilities={"sql_tuning": 1.0}))
    (world.directory / "intents.yml").write_text(yaml.safe_dump(intents, allow_unicode=True), "utf-8")
    assert reload(kuro)["models"]["added"] == ["two"]
    _, headers, _ = kuro.chat(slow)
    assert (headers["x-kuro-intent"], headers["x-kuro-model"]) == ("sql_tuning", "two")
