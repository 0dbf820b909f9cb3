"""The file of disabled models: whole or not at all, for its owner only, and never fatal."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from proxy.server.orders import Disabled, Orders
from proxy.settings import load
from proxy.settings.orders import OrdersFile
from tests.settings.broken import MINIMAL

OUT = Orders(disabled={"groq/llama": Disabled(1.0, None, "so", "eve")})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "orders.json"
    assert OrdersFile(str(path)).write(OUT)
    assert OrdersFile(str(path)).read() == OUT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["orders.json"]


def test_one_that_others_could_read_is_replaced_by_one_that_they_can_not(tmp_path: Path) -> None:
    path = tmp_path / "orders.json"
    path.write_text("{}")
    path.chmod(0o644)
    OrdersFile(str(path)).write(OUT)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_file_nobody_is_disabled(tmp_path: Path) -> None:
    assert OrdersFile(str(tmp_path / "none.json")).read() == Orders()
    assert OrdersFile(None).read() == Orders()
    assert not OrdersFile(None).write(OUT)


def test_one_that_makes_no_sense_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "orders.json"
    path.write_bytes(b'{"disabled": ')
    assert OrdersFile(str(path)).read() == Orders()
    assert (tmp_path / "orders.json.broken").read_bytes() == b'{"disabled": '
    (said,) = caplog.records
    assert said.levelno == logging.ERROR and "orders.json.broken" in said.getMessage()
    assert OrdersFile(str(path)).write(OUT)


def test_a_folder_that_is_none_is_said_and_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file")
    assert not OrdersFile(str(tmp_path / "state" / "orders.json")).write(OUT)
    assert OrdersFile(str(tmp_path / "state" / "orders.json")).read() == Orders()
    assert len(caplog.records) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    ("proxy", "environ", "kept"),
    [
        pytest.param("", {"XDG_STATE_HOME": "/s"}, "/s/kuro/orders.json", id="in the state folder"),
        pytest.param("", {"HOME": "/h"}, "/h/.local/state/kuro/orders.json", id="in the home"),
        pytest.param("", {}, None, id="nowhere, where nobody is at home"),
        pytest.param("admin: {file: /f/o.json}", {"HOME": "/h"}, "/f/o.json", id="where it is said"),
        pytest.param("admin: {keep: false}", {"HOME": "/h"}, None, id="nowhere, where it is switched off"),
    ],
)
def test_where_it_is(tmp_path: Path, proxy: str, environ: dict[str, str], kept: str | None) -> None:
    (tmp_path / "model_registry.yml").write_text(MINIMAL)
    (tmp_path / "proxy.yml").write_text(proxy)
    assert load(tmp_path, environ).admin.file == kept
