"""The office decides what concerns every process, and gives it to those that start later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.office import Asked, Keeper, Office, Verdict
from proxy.server.health import Look
from proxy.server.learned import Restore
from proxy.server.orders import Action, Command, Orders, Ruling
from proxy.settings import Settings, load
from proxy.settings.footprint import Footprint
from proxy.settings.orders import OrdersFile
from tests.settings.broken import MINIMAL

DISABLE = Command(Action.DISABLE, "a", "eve", 2000.0)
OPEN = Command(Action.OPEN, "a", "eve")


class World:
    """An office over a directory; `started` are the workers that it was asked to start."""

    def __init__(self, place: Path) -> None:
        self.now = 1000.0
        self.kept = place / "orders.json"
        self.started: list[Orders] = []
        (place / "model_registry.yml").write_text(MINIMAL)
        self.keeper = Keeper(load(place, {}), lambda: load(place, {}), Footprint(place), "127.0.0.1")

    def open(self) -> Office:
        return Office(self.keeper, OrdersFile(str(self.kept)), lambda: self.now, self._start)

    def _start(self, settings: Settings, orders: Orders) -> Callable[..., None]:
        self.started.append(orders)
        return lambda *_: None


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ruled(office: Office, command: Any) -> Ruling:
    ruling = office.decide(command)
    assert isinstance(ruling, Ruling)
    return ruling


def test_who_starts_later_is_given_what_was_ordered(world: World) -> None:
    office = world.open()
    office.work()
    ruled(office, DISABLE)
    ruled(office, OPEN)
    office.work()
    before, after = world.started
    assert before == Orders()
    assert (set(after.disabled), set(after.forced)) == ({"a"}, {"a"})


def test_who_is_disabled_is_kept_and_who_is_forced_is_not(world: World) -> None:
    office = world.open()
    assert ruled(office, DISABLE).kept is True
    assert ruled(office, OPEN).kept is None
    orders = world.open().orders
    assert (set(orders.disabled), orders.forced) == (set(), {})  # by the real time it ended long ago
    ruled(office, Command(Action.DISABLE, "a", "eve"))
    assert set(world.open().orders.disabled) == {"a"}


def test_what_the_disk_refused_is_written_by_the_same_order_again(world: World) -> None:
    office = world.open()
    world.kept.mkdir()
    assert ruled(office, DISABLE).kept is False
    world.kept.rmdir()
    again = ruled(office, DISABLE)
    assert (again.changed, again.kept) == (False, True)


ROUTING = """\
profiles:
  balanced: {quality: 2.0, success: 0.5, latency: 0.25, cost: 4}   # ours
worth: {balanced: {quality: 2.0, success: 0.5, latency: 0.25, cost: 1.0}}
"""


def test_weights_that_trials_have_changed_are_put_back(tmp_path: Path) -> None:
    (tmp_path / "routing.yml").write_text(ROUTING)
    world = World(tmp_path)
    office = Office(world.keeper, OrdersFile(None), lambda: world.now, world._start, tmp_path)
    verdict = office.decide(Restore("eve"))
    assert isinstance(verdict, Verdict) and verdict.report.result == "changed"
    assert verdict.report.by == "admin key eve"
    assert (tmp_path / "routing.yml").read_text() == ROUTING.replace("cost: 4}", "cost: 1}")
    again = office.decide(Restore("eve"))
    assert isinstance(again, Verdict) and again.report.result == "unchanged"


def test_weights_that_come_from_elsewhere_stay_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = ROUTING.replace("cost: 4}", "cost: ${PRICE:-4}}")
    (tmp_path / "routing.yml").write_text(written)
    world = World(tmp_path)
    office = Office(world.keeper, OrdersFile(None), lambda: world.now, world._start, tmp_path)
    verdict = office.decide(Restore("eve"))
    assert isinstance(verdict, Verdict) and verdict.report.result == "refused"
    assert "comes from the environment" in verdict.report.problems[0]
    assert (tmp_path / "routing.yml").read_text() == written


def test_everything_has_its_answer(world: World) -> None:
    office = world.open()
    assert isinstance(office.decide(Asked("watch")), Verdict)
    assert office.decide(Look()) == Look()
    assert office.hung_up() == Asked("signal")


def test_a_file_that_goes_while_it_is_read_opens_no_door(world: World, tmp_path: Path) -> None:
    """Why files are stamped once more after they were read: a missing file stands for the defaults."""
    (tmp_path / "proxy.yml").write_text("limits: {max_in_flight: 7}\n")
    world.keeper.decide(Asked("watch"))

    def read() -> Settings:
        (tmp_path / "proxy.yml").unlink()
        return load(tmp_path, {})

    keeper = Keeper(world.keeper.settings, read, world.keeper.footprint, "127.0.0.1")
    verdict = keeper.decide(Asked("watch"))
    assert verdict.report.result == "refused"
    assert verdict.report.problems == (
        "proxy.yml: is gone: put it back; an empty one stands for the defaults",
    )
    assert keeper.settings.limits.max_in_flight == 7


def test_a_file_that_changes_behind_the_reader_is_not_taken_for_read(world: World, tmp_path: Path) -> None:
    """Why files are stamped before they are read: whoever watches them has to ask once more."""

    def read() -> Settings:
        settings = load(tmp_path, {})
        (tmp_path / "proxy.yml").write_text("limits: {max_in_flight: 7}\n")
        return settings

    keeper = Keeper(world.keeper.settings, read, world.keeper.footprint, "127.0.0.1")
    keeper.decide(Asked("watch"))
    assert keeper.seen != keeper.footprint()
