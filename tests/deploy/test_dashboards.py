"""Every query of a dashboard and every rule reads series that exist, by labels that they have."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dashboards import (
    DASHBOARDS,
    PROMETHEUS,
    ROOT,
    board,
    exposed,
    labels_of,
    named,
    queries,
    rules,
)

QUERIES = [
    *(
        pytest.param(query, id=f"{path.stem}: {title}")
        for path in DASHBOARDS
        for title, query in queries(path)
    ),
    *(pytest.param(query, id=name) for name, query in rules()),
]


@pytest.mark.parametrize("query", QUERIES)
def test_it_reads_what_is_exposed(query: str) -> None:
    known = exposed()
    names = named(query)
    recorded = {name for name, _ in rules() if name.startswith("kuro:")}
    assert names or "up{" in query
    assert names <= known.keys() | recorded
    labels = set().union(*(known.get(name, {"model"}) for name in names), {"job"})
    assert labels_of(query) <= labels


def test_there_are_three_dashboards_and_no_panel_lies_on_another() -> None:
    assert {path.stem for path in DASHBOARDS} == {"kuro-overview", "kuro-routing", "kuro-health"}
    for path in DASHBOARDS:
        assert board(path)["uid"] == path.stem
        places = [panel["gridPos"] for panel in board(path)["panels"]]
        for a, b in combinations(places, 2):
            beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


# --- Grafana's schema ----------------------------------------------------------------------------

SCHEMA = ROOT / ".cache" / "dashboards" / "dashboards"
needs_schema = pytest.mark.skipif(not SCHEMA.exists(), reason="no schema here: `make dashboards` builds it")


def checked(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCHEMA, *map(str, paths)], capture_output=True, text=True, timeout=60)


@needs_schema
def test_grafana_knows_every_field() -> None:
    done = checked(*DASHBOARDS)
    assert (done.returncode, done.stdout) == (0, "")


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a field of the dashboard": (lambda board: board.update(refreshed="5s"), "refreshed"),
    "a field of a panel": (lambda board: board["panels"][1].update(titel="x"), "titel"),
    "an option of a panel": (lambda board: board["panels"][1]["options"].update(lines=1), "lines"),
    "a custom setting": (lambda board: custom(board).update(fillOpaqueness=1), "fillOpaqueness"),
    "a setting of a field": (lambda board: defaults(board).update(units="s"), "units"),
    "a field of a query": (lambda board: query(board).update(expression="up"), "expression"),
    "a word for a number": (lambda board: board["panels"][1].update(id="one"), "panels[1].id"),
    "a kind of panel": (
        lambda board: board["panels"][1].update(type="timesries"),
        "'timesries' is not known",
    ),
    "another data source": (
        lambda board: query(board).update(datasource={"type": "loki"}),
        "is not Prometheus",
    ),
}


def defaults(board: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = board["panels"][-1]["fieldConfig"]["defaults"]
    return found


def custom(board: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = defaults(board)["custom"]
    return found


def query(board: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = board["panels"][-1]["targets"][0]
    return found


@needs_schema
@pytest.mark.parametrize(("spoil", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_found(spoil: Callable[[dict[str, Any]], object], told: str, tmp_path: Path) -> None:
    spoilt = board(DASHBOARDS[0])
    spoil(spoilt)
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(spoilt))
    done = checked(path)
    assert done.returncode == 1 and told in done.stdout.replace('"', "'")


# --- Prometheus's own checks ---------------------------------------------------------------------


def promtool(*arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, input=stdin, capture_output=True, timeout=60
    )


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", str(Path("tests") / "rules_test.yml"))],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
