"""Every query of a dashboard and every rule reads series that exist, by labels that they have."""

from __future__ import annotations

import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from tests.deploy.dashboards import DASHBOARDS, PROMETHEUS, board, exposed, labels_of, named, queries, rules

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
