"""The project's own labelled asks as rows of `kuro eval --intents`: what `make scorecard` shows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proxy.routing.language import language

ASKS = Path(__file__).resolve().parent.parent / "routing"


def rows(name: str) -> Iterator[dict[str, Any]]:
    before: list[str] = []
    for line in (ASKS / f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("> "):
            before.append(line[2:])
        elif "\t" in line and not line.startswith("#"):
            intents, ask = line.split("\t")
            gold, *others = intents.split("|")
            turns = [*before, ask.replace("\\n", "\n")]
            messages = [{"role": "user", "content": turn} for turn in turns]
            labels = {"gold_intent": gold, "also_ok": others, "lang": language(turns[-1]), "source": name}
            yield {"messages": messages, **labels}
            before = []


if __name__ == "__main__":
    for name in sys.argv[1:] or ("asks", "conversations", "held_out", "strangers", "strangers_sealed"):
        for row in rows(name):
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
