"""Forty asks of every kind, from trivial to very hard, and who answers them: the table in the README.

python -m tests.routing.forty [--readme]      asks `kuro explain` for each profile, all providers' keys set
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.contenders import ROOT
from tests.bench.run import put_into

FILE = Path(__file__).with_name("forty.jsonl")
"""A row is an ask, and how hard a person finds it: 1 trivial, 2 easy, 3 demanding, 4 hard."""
KEYS = dict.fromkeys(
    ("GROQ_API_KEY", "OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"), "sk-of-nobody"
)
"""With these the shipped registry's models are ready, but for the local servers'. Nobody is called."""
PROFILES = ("cheap", "balanced", "fast", "best")
LEVELS = ("", "trivial", "easy", "demanding", "hard")
HEADINGS = ("ask", "meant", "difficulty", "intent", *PROFILES)

_SHOWN = 46


def asks() -> list[dict[str, Any]]:
    """The rows of the file."""
    return [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]


def table(decided: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: a line for each ask, the easiest first; `decided` has each profile's decisions."""
    rows = sorted(zip(asks(), *(decided[name] for name in PROFILES), strict=True), key=_difficulty)
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_line(ask, decisions) for ask, *decisions in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _difficulty(row: tuple[dict[str, Any], ...]) -> float:
    difficulty: float = row[1]["difficulty"]
    return difficulty


def _line(ask: dict[str, Any], decisions: Iterable[dict[str, Any]]) -> Iterator[str]:
    first, *_ = decisions = list(decisions)
    yield _shortened(ask["prompt"])
    yield LEVELS[ask["level"]]
    yield f"{first['difficulty']:.2f}"
    yield first["intent"]
    yield from (decision["selected_model"].partition("/")[2] for decision in decisions)


def _shortened(prompt: str) -> str:
    """In one line, without what Markdown would take for its own."""
    line = " ".join(prompt.replace("|", "/").replace("*", "\\*").split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1].rstrip() + "…"


def _explained(profile: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "proxy", "explain", "--config", str(ROOT / "config")]
    command += ["--model", f"auto:{profile}", "--input", str(FILE)]
    done = subprocess.run(command, env={**os.environ, **KEYS}, capture_output=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    made = table({profile: _explained(profile) for profile in PROFILES})
    if "--readme" in sys.argv:
        put_into(ROOT / "README.md", "forty", made)
    print(made, end="")
