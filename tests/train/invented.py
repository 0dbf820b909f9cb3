"""Reads tests/train/own: invented intents, from which it is learned how much a likeness to examples says."""

from __future__ import annotations

from pathlib import Path

OWN = Path(__file__).resolve().parent / "own"


def invented() -> list[tuple[str, list[str], list[str]]]:
    """(name, asks of that kind, asks near to it that are of another)."""
    found: list[tuple[str, list[str], list[str]]] = []
    into: list[str] = []
    for path in sorted(OWN.glob("*.txt")):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("== "):
                found.append((line[3:], [], []))
                into = found[-1][1]
            elif line.startswith("-- "):
                into = found[-1][2]
            elif line and not line.startswith("#"):
                into.append(line)
    return found
