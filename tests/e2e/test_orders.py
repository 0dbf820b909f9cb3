"""What an operator orders reaches every worker, under load and after a death, and outlasts what it should."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import Kuro, in_background, model, write_config
from tests.e2e.raw import ask
from tests.stub import StubUpstream, ok

WORKERS = pytest.mark.parametrize("workers", [1, 3], ids=["alone", "three workers"])
KEYS = [{"name": "eve", "key": "sk-eve-of-the-tests"}]


def body(name: str = "auto", **fields: Any) -> dict[str, Any]:
    return {"model": name, "messages": [{"role": "user", "content": "Hello"}], **fields}


class World:
    """A proxy for two models, of which `one` is the better, and a hand on its files."""

    def __init__(self, directory: Path, stub: StubUpstream) -> None:
        self.directory, self.stub = directory, stub
        self.running: list[Kuro] = []

    @property
    def kept(self) -> Path:
        return self.directory / "orders.json"

    def write(self, *names: str, **proxy: Any) -> Path:
        fitness = {"one": 0.9, "two": 0.1}
        models = [model(name, capabilities={"casual_chat": fitness[name]}) for name in names]
        settings = {"admin_key": ADMIN, "admin_keys": KEYS, "reload": {"watch": False}, **proxy}
        alone = {"quality": 1, "success": 0, "latency": 0, "cost": 0}
        routing = {"cache": {"size": 0}, "sticky": {"size": 0}, "profiles": {"balanced": alone}}
        return write_config(self.directory, self.stub.url, models, proxy=settings, routing=routing)

    def start(self, workers: int = 1, **proxy: Any) -> Kuro:
        kuro = Kuro(self.write("one", "two", **proxy), "--workers", str(workers))
        self.running.append(kuro)
        until(lambda: kuro.admin("/models")["workers"], lambda heard: len(heard) == workers)
        return kuro


@pytest.fixture
def world(stub: StubUpstream, tmp_path: Path) -> Iterator[World]:
    here = World(tmp_path, stub)
    for name in ("one", "two"):
        stub.script(name, ok("Here."))
    yield here
    for kuro in here.running:
        kuro.process.kill()
        kuro.stop()


def until(look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What is seen when it is good at last. Each look is a request, which takes its time."""
    latest = time.monotonic() + 30.0
    while not good(found := look()):
        assert time.monotonic() < latest, found
    return found


def order(kuro: Kuro, name: str, verb: str, **said: Any) -> Any:
    return kuro.admin(f"/models/{name}/{verb}", said)


def disabled_in(kuro: Kuro, name: str) -> list[bool]:
    """What each worker that answers says of it."""
    workers = kuro.admin(f"/models/{name}")["workers"]
    return [each["circuit"]["disabled"] for each in workers.values()]


def changes(kuro: Kuro) -> list[dict[str, Any]]:
    return [line["admin"] for line in kuro.lines(lambda line: line.get("event") == "admin")]


def served(kuro: Kuro, calls: int = 30) -> set[str]:
    """Who answers `auto`, asked often enough to meet every worker."""
    return {kuro.chat(body())[1]["x-kuro-model"] for _ in range(calls)}


@WORKERS
def test_a_disabled_model_is_asked_by_no_worker(world: World, workers: int) -> None:
    kuro = world.start(workers)
    assert served(kuro) == {"one"}
    said = order(kuro, "one", "disable", reason="being mended")
    assert (said["result"], said["kept"]) == ("changed", True)
    assert disabled_in(kuro, "one") == [True] * workers
    before = world.stub.hits("one")
    assert served(kuro) == {"two"}
    refused = [kuro.chat(body("one")) for _ in range(10)]
    assert {(status, told["error"]["code"]) for status, _, told in refused} == {(503, "model_disabled")}
    assert refused[0][1]["x-should-retry"] == "false"
    assert world.stub.hits("one") == before
    told = kuro.chat(body(), x_kuro_trace="1")[2]["kuro"]
    assert told["filtered"] == {"one": "disabled: being mended"}
    assert order(kuro, "one", "enable")["result"] == "changed"
    assert served(kuro) == {"one"}


@WORKERS
def test_it_comes_back_by_itself(world: World, workers: int) -> None:
    kuro = world.start(workers)
    until = order(kuro, "one", "disable", **{"for": 1.5})["model"]["disabled"]["until"]
    answer = kuro.chat(body("one"))
    assert answer[0] == 503 and 1 <= int(answer[1]["retry-after"]) <= 2
    while served(kuro, 5) == {"two"}:
        assert time.time() < until + 5.0
    assert time.time() >= until
    assert kuro.admin("/models/one")["disabled"] is None


@WORKERS
async def test_under_load_nobody_fails(world: World, workers: int) -> None:
    kuro = world.start(workers)
    statuses: list[int] = []
    over = asyncio.Event()

    async def call(stream: bool) -> None:
        while not over.is_set():
            heard = await ask(kuro.port, body(stream=stream))
            statuses.append(heard.status if heard.whole else 0)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(call(number % 2 == 0))
        for _ in range(6):
            for verb in ("disable", "enable"):
                await asyncio.to_thread(order, kuro, "one", verb)
                assert (await asyncio.to_thread(served, kuro, 10)) == {"two" if verb == "disable" else "one"}
        over.set()
    assert set(statuses) == {200}


def test_a_worker_that_is_replaced_knows_it_too(world: World) -> None:
    kuro = world.start(3)
    order(kuro, "one", "disable")
    order(kuro, "two", "circuit", action="close")
    os.kill(kuro.workers()[0], signal.SIGKILL)
    now = until(lambda: kuro.admin("/models"), lambda page: page["workers"][-1:] == ["4"])
    assert len(now["workers"]) == 3
    one, two = now["data"]
    assert [each["circuit"]["disabled"] for each in one["workers"].values()] == [True] * 3
    assert {each["circuit"]["override"] for each in two["workers"].values()} == {"forced_closed"}


def test_a_worker_that_hangs_is_named_and_obeys_when_it_can(world: World) -> None:
    kuro = world.start(2)
    hung = kuro.workers()[0]
    os.kill(hung, signal.SIGSTOP)
    try:
        page = kuro.admin("/models")
        assert (len(page["workers"]), len(page["silent"])) == (1, 1)
        with in_background(lambda: order(kuro, "one", "disable")):
            until(lambda: kuro.admin("/models/one")["disabled"], bool)
            os.kill(hung, signal.SIGCONT)
    finally:
        os.kill(hung, signal.SIGCONT)
    assert disabled_in(kuro, "one") == [True, True]


@WORKERS
def test_a_reload_and_a_restart_keep_it(world: World, workers: int) -> None:
    kuro = world.start(workers)
    order(kuro, "one", "disable", reason="being mended", **{"for": "1h"})
    order(kuro, "two", "circuit", action="close")
    assert stat.S_IMODE(world.kept.stat().st_mode) == 0o600
    world.write("two", limits={"max_queue": 7})
    assert kuro.admin("/reload", {})["models"]["removed"] == ["one"]
    gone = kuro.admin("/models")["data"][-1]
    assert (gone["id"], gone["ready"], gone["disabled"]["reason"]) == ("one", False, "being mended")
    world.write("one", "two")
    kuro.admin("/reload", {})
    assert disabled_in(kuro, "one") == [True] * workers
    assert kuro.admin("/models/two")["circuit"]["override"] == "forced_closed"
    assert kuro.stop() == 0
    again = world.start(workers)
    (line,) = again.lines(lambda line: line.get("message", "").startswith("one is disabled until "))
    assert line["message"].endswith("Z: being mended (by admin)")
    assert disabled_in(again, "one") == [True] * workers
    assert again.admin("/models/two")["forced"] is None  # a restart ends that
    assert served(again, 5) == {"two"}


def test_a_file_that_makes_no_sense_is_set_aside(world: World) -> None:
    world.kept.write_text('{"disabled": {"one": ')
    kuro = world.start()
    line = kuro.wait_line(lambda line: "makes no sense" in line.get("message", ""))
    assert line["level"] == "error"
    assert served(kuro, 3) == {"one"}
    assert world.kept.with_name("orders.json.broken").exists() and not world.kept.exists()


def test_nothing_is_kept_where_that_is_switched_off(world: World) -> None:
    kuro = world.start(admin={"keep": False, "file": str(world.kept)})
    assert order(kuro, "one", "disable")["kept"] is False
    assert not world.kept.exists()


def test_a_file_that_cannot_be_written_stops_nobody(world: World) -> None:
    kuro = world.start(admin={"file": "/proc/nowhere/orders.json"})
    assert order(kuro, "one", "disable")["kept"] is False
    assert served(kuro, 3) == {"two"}
    assert kuro.wait_line(lambda line: "cannot be written" in line.get("message", ""))


@WORKERS
def test_a_forced_circuit_is_forced_everywhere(world: World, workers: int) -> None:
    kuro = world.start(workers)
    state = order(kuro, "one", "circuit", action="open")["model"]
    assert state["circuit"]["workers"] == {"closed": 0, "half_open": 0, "open": workers}
    assert served(kuro) == {"two"}
    state = order(kuro, "one", "circuit", action="reset")["model"]
    assert (state["forced"], state["circuit"]["workers"]["closed"]) == (None, workers)
    assert served(kuro) == {"one"}


def test_who_changed_what_is_logged_and_who_was_refused(world: World) -> None:
    kuro = world.start()
    named = {"content-type": "application/json"}
    eve = {**named, "x-admin-key": KEYS[0]["key"]}
    kuro.request("POST", "/admin/v1/models/one/disable", b'{"reason": "so"}', eve)
    kuro.request("POST", "/admin/v1/models/uno/disable", b"{}", eve)
    kuro.request("POST", "/admin/v1/models/one/enable", b"", {**named, "x-admin-key": "sk-guessed"})
    kuro.request("POST", "/admin/v1/reload", b"", eve)
    kuro.stop()
    done, unknown, guessed, reloaded = changes(kuro)
    assert (done["by"], done["from"], done["action"], done["target"]) == (
        "eve",
        "127.0.0.1",
        "disable",
        "one",
    )
    assert (done["result"], done["old"], done["new"]["reason"]) == ("changed", None, "so")
    assert (unknown["by"], unknown["result"], unknown["code"]) == ("eve", "refused", "model_not_found")
    assert (guessed["by"], guessed["status"], guessed["code"]) == ("", 401, "invalid_api_key")
    assert (reloaded["by"], reloaded["action"], reloaded["result"]) == ("eve", "reload", "unchanged")
    assert kuro.lines(lambda line: line.get("event") == "reload")[0]["reload"]["by"] == "admin key eve"
    assert "sk-" not in kuro.log()


def test_the_page_of_metrics_shows_it(world: World) -> None:
    kuro = world.start(3)
    order(kuro, "one", "disable")
    page = kuro.request("GET", "/metrics")[2].decode()
    assert 'llm_model_disabled{model="one",provider="stub"} 1.0' in page
    assert 'llm_model_disabled{model="two",provider="stub"} 0.0' in page
