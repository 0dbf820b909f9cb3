"""Counts of several workers: none is lost, none counts twice, whenever who ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.telemetry import board
from proxy.telemetry.board import DEATHS, ENDED, Board, open_board, settle
from proxy.telemetry.series import Series, add, fresh

MODEL = ("m", "p")


@pytest.fixture
def place() -> Iterator[Path]:
    with open_board() as opened:
        yield opened
    assert not opened.exists()


def counted(calls: int) -> Series:
    series = fresh()
    add(series.counters["llm_fallback_total"], MODEL, calls)
    series.gauges["llm_workers"][()] = 1.0
    return series


def calls(series: Series) -> float:
    return series.counters["llm_fallback_total"][MODEL]


def test_one_sees_what_the_others_have_posted(place: Path) -> None:
    one, two = Board(place, "1"), Board(place, "2")
    assert calls(one.total(counted(3))) == 3
    two.post(counted(4))
    total = one.total(counted(3))
    assert (calls(total), total.gauges["llm_workers"][()]) == (7, 2)
    assert calls(two.total(counted(5))) == 8


def test_what_was_shown_stays_when_its_worker_ends(place: Path) -> None:
    one, two = Board(place, "1"), Board(place, "2")
    one.post(counted(3))
    assert calls(two.total(counted(4))) == 7
    settle(place, "2", died=True)
    total = one.total(counted(3))
    assert calls(total) == 7
    assert total.gauges["llm_workers"][()] == 1
    assert total.counters[DEATHS][()] == 1
    settle(place, "1", died=False)
    assert calls(Board(place, "3").total(counted(1))) == 8
    assert [path.name for path in place.iterdir() if path.name != "3"] == [ENDED]


def test_a_worker_that_never_posted_leaves_its_death(place: Path) -> None:
    settle(place, "1", died=True)
    total = Board(place, "2").total(counted(1))
    assert (calls(total), total.counters[DEATHS][()]) == (1, 1)


def test_a_worker_that_is_added_to_the_ended_while_others_look_counts_once(place: Path) -> None:
    two = Board(place, "2")
    two.post(counted(4))
    kept = (place / "2").read_bytes()
    settle(place, "2", died=False)
    (place / "2").write_bytes(kept)  # as who looked at the directory before saw it
    assert calls(Board(place, "1").total(counted(3))) == 7


def test_the_file_of_a_version_that_counts_otherwise_is_passed_over(place: Path) -> None:
    (place / "2").write_bytes(b"\x93\x01\x02\x03")
    assert calls(Board(place, "1").total(counted(3))) == 3


def test_what_has_not_changed_is_not_written_again(place: Path) -> None:
    one = Board(place, "1")
    one.post(counted(3))
    before = (place / "1").stat().st_ino
    one.post(counted(3))
    assert (place / "1").stat().st_ino == before
    one.post(counted(4))
    assert (place / "1").stat().st_ino != before


def test_without_any_place_the_operator_is_told(tmp_path: Path) -> None:
    nowhere = (tmp_path / "a", tmp_path / "b")
    with pytest.raises(ConfigError) as caught:
        board.place(nowhere)
    assert str(tmp_path / "b") in caught.value.problems[0]


def test_settling_where_nothing_can_be_written_is_no_end_of_the_parent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settle(tmp_path / "gone", "1", died=True)
    assert "worker 1" in caplog.text
