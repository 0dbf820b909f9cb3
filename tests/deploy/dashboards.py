"""What the files in deploy/ ask of Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from proxy.telemetry.families import FAMILIES, Kind

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
PROMETHEUS = ROOT / "deploy" / "prometheus"


def board(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """(panel, expression) of a dashboard."""
    for panel in board(path)["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def rules() -> Iterator[tuple[str, str]]:
    """(name, expression) of every rule."""
    for name in ("rules.yml", "alerts.yml"):
        for group in yaml.safe_load((PROMETHEUS / name).read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                yield rule.get("record") or rule["alert"], rule["expr"]


def named(expression: str) -> set[str]:
    """The series that an expression reads."""
    return set(re.findall(r"\b(?:llm_\w+|circuit_\w+|process_\w+|kuro:[\w:]+)", expression))


def exposed() -> dict[str, set[str]]:
    """Every series that /metrics can show -> its labels, those of the scrape included."""
    found: dict[str, set[str]] = {}
    for family in FAMILIES.values():
        labels = {*family.labels, "instance", "job"}
        if family.kind is Kind.HISTOGRAM:
            found[f"{family.name}_bucket"] = labels | {"le"}
            found[f"{family.name}_sum"] = found[f"{family.name}_count"] = labels
        else:
            found[family.name] = labels
    return found


def labels_of(expression: str) -> set[str]:
    """The labels that an expression selects by, or adds up by."""
    grouped = re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression)
    selected = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    return {name.strip() for group in grouped for name in group.split(",")} | set(selected)
