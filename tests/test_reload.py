"""The keeper decides on all or nothing; the watch asks once, when files have come to rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.desk import compared, shown
from proxy.errors import ApiError
from proxy.office import Asked, Keeper
from proxy.reload import Watch
from proxy.settings import PROXY, REGISTRY, ROUTING, Settings, load
from proxy.settings.footprint import Footprint
from tests.settings.broken import MINIMAL

WATCH = Asked("watch")


class World:
    """A directory, and a keeper of what stands in it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.write(REGISTRY, MINIMAL)
        self.write(PROXY, "")
        self.reads = 0
        settings = load(place, {})
        self.keeper = Keeper(settings, self._read, Footprint(place), "127.0.0.1")

    def write(self, name: str, text: str) -> None:
        (self.place / name).write_text(text, "utf-8")

    def _read(self) -> Settings:
        self.reads += 1
        return load(self.place, {})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_the_same_is_not_taken_again(world: World) -> None:
    verdict = world.keeper.decide(WATCH)
    assert (verdict.report.result, verdict.settings) == ("unchanged", None)
    assert shown(verdict)["models"] == {"added": (), "removed": (), "changed": {}}


def test_a_change_is_in_force_from_then_on(world: World) -> None:
    world.write(PROXY, "limits: {max_queue: 3}\n")
    verdict = world.keeper.decide(WATCH)
    assert verdict.report.result == "changed"
    assert verdict.settings is world.keeper.settings
    assert world.keeper.settings.limits.max_queue == 3


def test_a_bad_configuration_changes_nothing_and_says_all_that_is_wrong(world: World) -> None:
    before = world.keeper.settings
    world.write(PROXY, "limits: {max_qeue: 3}\nretries: {max_models: none}\n")
    verdict = world.keeper.decide(WATCH)
    assert (verdict.settings, world.keeper.settings) == (None, before)
    assert len(verdict.report.problems) == 2
    with pytest.raises(ApiError) as refused:
        shown(verdict)
    assert (refused.value.status, refused.value.code) == (422, "invalid_config")
    assert "max_qeue" in refused.value.message and "retries.max_models" in refused.value.message


def test_keys_may_not_go_where_others_can_reach_the_port(tmp_path: Path) -> None:
    (tmp_path / REGISTRY).write_text(MINIMAL, "utf-8")
    keyed = "keys: [{name: alice, key: sk-alice}]\n"
    (tmp_path / PROXY).write_text(keyed, "utf-8")
    keeper = Keeper(load(tmp_path, {}), lambda: load(tmp_path, {}), Footprint(tmp_path), "0.0.0.0")
    (tmp_path / PROXY).write_text("", "utf-8")
    assert keeper.decide(WATCH).report.result == "refused"
    assert keeper.settings.access.keys


KEYED = "keys: [{name: alice, key: sk-alice}]\n"


def test_the_last_key_goes_with_a_restart_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write(PROXY, KEYED)
    world.keeper.decide(WATCH)
    world.write(PROXY, "")
    (problem,) = world.keeper.decide(WATCH).report.problems
    assert problem.startswith("proxy.yml: keys: none is left")
    assert world.keeper.settings.access.keys
    world.write(PROXY, KEYED.replace("alice", "bob"))
    assert world.keeper.decide(WATCH).report.result == "changed"


def test_a_file_that_is_gone_changes_nothing_however_often_it_is_asked_for(world: World) -> None:
    world.write(PROXY, "limits: {max_queue: 3}\n")
    world.write(ROUTING, "cache: {size: 5}\n")
    world.keeper.decide(WATCH)
    for name in (PROXY, ROUTING):
        (world.place / name).unlink()
    for asked in (WATCH, DRY, Asked("signal")):
        problems = world.keeper.decide(asked).report.problems
        assert [problem.partition(": ")[0] for problem in problems] == [ROUTING, PROXY]
    assert world.keeper.settings.limits.max_queue == 3
    for name in (PROXY, ROUTING):
        world.write(name, "")
    assert world.keeper.decide(WATCH).report.result == "changed"
    assert world.keeper.settings.limits.max_queue == 1024


def test_a_way_that_cannot_be_made_is_refused_before_anybody_takes_it(world: World) -> None:
    before = world.keeper.settings
    (world.place / "empty.pem").write_bytes(b"")
    trusting = f"https://127.0.0.1:9/v1, verify: {world.place}/empty.pem"
    world.write(REGISTRY, MINIMAL.replace("http://127.0.0.1:9/v1", trusting))
    report = world.keeper.decide(WATCH).report
    assert (report.result, world.keeper.settings) == ("refused", before)
    assert report.problems[0].startswith("model_registry.yml: providers.stub")


def test_the_watch_asks_once_for_files_that_have_come_to_rest(world: World) -> None:
    asked: list[Any] = []
    watch = Watch(world.keeper, asked.append)
    watch.look()
    world.write(PROXY, "limits: {max_queue:")  # half of it
    watch.look()
    world.write(PROXY, "limits: {max_queue: 3}\n")
    watch.look()
    assert asked == []
    watch.look()
    watch.look()
    assert asked == [WATCH]
    world.keeper.decide(WATCH)
    watch.look()
    assert asked == [WATCH]


def test_what_somebody_else_had_read_is_not_asked_for(world: World) -> None:
    asked: list[Any] = []
    watch = Watch(world.keeper, asked.append)
    world.write(PROXY, "limits: {max_queue: 3}\n")
    watch.look()
    world.keeper.decide(Asked("signal"))
    watch.look()
    watch.look()
    assert asked == []


DRY = Asked("admin key eve", dry_run=True)


def test_a_dry_run_says_what_would_change_and_changes_nothing(world: World) -> None:
    before = world.keeper.settings
    key = "keys: [{name: alice, key: sk-alice}]\n"
    world.write(PROXY, f"limits: {{max_queue: 3}}\nlisten: {{port: 1}}\n{key}")
    verdict = world.keeper.decide(DRY)
    assert (verdict.settings, world.keeper.settings) == (None, before)
    told = compared(verdict, before.epoch)
    assert (told["result"], told["problems"], told["in_force"]) == ("changed", (), before.epoch)
    assert told["needs_restart"] == ("proxy.yml: listen.port",)
    assert {each.path: (each.old, each.new) for each in told["differences"]} == {
        "proxy.yml: listen.port": (8080, 1),
        "proxy.yml: keys.alice": (None, "(set)"),
        "proxy.yml: limits.max_queue": (1024, 3),
    }
    assert shown(verdict, dry_run=True)["dry_run"]
    # The watch hasn't seen it, and a reload finds the same.
    assert world.keeper.decide(WATCH).report.changes == verdict.report.changes


def test_a_dry_run_of_what_is_no_good_says_why(world: World) -> None:
    world.write(PROXY, "limits: {max_qeue: 3}\n")
    verdict = world.keeper.decide(DRY)
    told = compared(verdict, "e")
    assert (told["result"], told["on_disk"], told["differences"]) == ("refused", None, ())
    assert "max_qeue" in told["problems"][0]
    with pytest.raises(ApiError):
        shown(verdict, dry_run=True)
