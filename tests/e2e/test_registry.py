"""What the admin API tells of the configuration and of the models, by a real proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ADMIN
from tests.e2e.kuro import Kuro, model, write_config
from tests.e2e.raw import ask
from tests.e2e.test_orders import until
from tests.stub import Gate, StubUpstream, gated, ok


@pytest.fixture(params=["1", "2"], ids=["alone", "two workers"])
def here(request: pytest.FixtureRequest, tmp_path: Path, stub: StubUpstream) -> Iterator[Kuro]:
    stub.script("one", ok("Here."))
    with Kuro(write(tmp_path, stub), "--workers", request.param) as proxy:
        yield proxy


def write(place: Path, stub: StubUpstream, **proxy: Any) -> Path:
    settings = {"admin_key": ADMIN, "reload": {"watch": False}, **proxy}
    where = {"dialect": "openai", "base_url": stub.url}
    ready = {**where, "api_key": "sk-upstream", "headers": {"X-Team": "hush"}}
    providers = {"stub": ready, "unready": {**where, "api_key": "${NO_SUCH_KEY}"}}
    models = [model("one"), model("out", provider="unready")]
    return write_config(place, stub.url, models, providers=providers, proxy=settings)


def test_the_registry_in_force_shows_no_secret(here: Kuro) -> None:
    shown = here.admin("/registry")
    assert [each["id"] for each in shown["models"]] == ["one"]
    assert shown["left_out"] == [{"id": "out", "reason": "set NO_SUCH_KEY"}]
    assert shown["providers"]["stub"]["api_key"] == "(set)"
    assert not any(secret in json.dumps(shown) for secret in ("sk-", "hush"))


def test_the_files_are_compared_and_nothing_is_taken_until_it_is_wanted(
    here: Kuro, tmp_path: Path, stub: StubUpstream
) -> None:
    assert here.admin("/registry/diff")["result"] == "unchanged"
    write(tmp_path, stub, limits={"max_queue": 7}, keys=[{"name": "alice", "key": "sk-alice-of-the-tests"}])
    for _ in range(2):
        told = here.admin("/registry/diff")
        assert {each["path"]: (each["old"], each["new"]) for each in told["differences"]} == {
            "proxy.yml: limits.max_queue": (1024, 7),
            "proxy.yml: keys.alice": (None, "(set)"),
        }
        dry = here.admin("/reload?dry_run=true", {})
        assert (dry["dry_run"], dry["result"], sorted(dry["other"])) == (
            True, "changed", ["proxy.yml: keys.alice", "proxy.yml: limits.max_queue"],
        )  # fmt: skip
    assert "sk-" not in json.dumps(told)
    assert not here.lines(lambda line: line.get("event") == "reload")
    assert here.admin("/reload", {})["other"] == dry["other"]
    assert here.admin("/registry/diff")["result"] == "unchanged"


def test_files_that_are_no_good_are_told_of_without_harm(
    here: Kuro, tmp_path: Path, stub: StubUpstream
) -> None:
    write(tmp_path, stub, limits={"max_queue": -1})
    told = here.admin("/registry/diff")
    assert (told["result"], told["on_disk"], told["differences"]) == ("refused", None, [])
    assert "limits.max_queue" in told["problems"][0]
    named = {"x-admin-key": ADMIN, "content-type": "application/json"}
    assert here.request("POST", "/admin/v1/reload?dry_run=1", b"", named)[0] == 422
    assert here.request("POST", "/admin/v1/reload?dryrun=1", b"", named)[0] == 400


def test_an_explanation_goes_by_what_is_in_force_now(here: Kuro) -> None:
    assert here.admin("/explain", {"prompt": "Hello"})["filtered"] == {}
    here.admin("/models/one/disable", {"reason": "so"})
    for _ in range(5):  # whichever worker answers
        assert here.admin("/explain", {"prompt": "Hello"})["filtered"] == {"one": "disabled: so"}


async def test_calls_in_flight_are_counted_where_they_are(here: Kuro, stub: StubUpstream) -> None:
    gate, before = Gate(), stub.hits("one")
    stub.script("one", gated(gate, ok("All of these words."), at=2))
    said = {"model": "one", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    calls = [asyncio.create_task(ask(here.port, said)) for _ in range(3)]
    await stub.wait_hits("one", before + 3)
    # A worker that is slow to say something is missing from one look; an answer is read before it is closed.
    state = await in_flight(here, 3)
    assert state["in_flight"] == sum(each["in_flight"] for each in state["workers"].values())
    gate.release()
    assert [(await call).status for call in calls] == [200] * 3
    await in_flight(here, 0)


async def in_flight(kuro: Kuro, calls: int) -> Any:
    """The model's state, when it has so many calls."""
    look = partial(kuro.admin, "/models/one")
    return await asyncio.to_thread(until, look, lambda state: state["in_flight"] == calls)
