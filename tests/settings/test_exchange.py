"""A file is exchanged whole or not at all, for those whom it was for, where it really lies."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proxy.settings.exchange import exchange


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yml"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def alone(path: Path) -> bool:
    return list(path.parent.iterdir()) == [path]


def test_its_mode_stays_and_nothing_else_lies_beside_it(path: Path) -> None:
    exchange(path, b"new", before=b"old")
    assert (path.read_bytes(), mode(path), alone(path)) == (b"new", 0o640, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_its_owner_and_group_stay(path: Path) -> None:
    os.chown(path, 4711, 4712)
    exchange(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, mode(path)) == (4711, 4712, 0o640)


def test_a_mode_may_be_asked_for(path: Path) -> None:
    exchange(path, b"new", mode=0o600)
    assert mode(path) == 0o600


def test_one_that_was_not_there_is_its_owners_alone(tmp_path: Path) -> None:
    exchange(tmp_path / "orders.json", b"new")
    assert mode(tmp_path / "orders.json") == 0o600


def test_a_link_stays_one(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("elsewhere") / "routing.yml"
    link.symlink_to(path)
    exchange(link, b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
    assert alone(path) and len(list(link.parent.iterdir())) == 1


def test_what_somebody_else_wrote_meanwhile_stays(path: Path) -> None:
    with pytest.raises(ValueError, match="by somebody else"):
        exchange(path, b"new", before=b"older")
    assert path.read_bytes() == b"old" and alone(path)


def test_where_it_can_not_be_exchanged_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / "orders.json"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        exchange(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "none" / "orders.json", b"new")
