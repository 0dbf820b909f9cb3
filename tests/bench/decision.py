"""One routing decision, timed in-process: features, classification and scoring of 500 characters.

python -m tests.bench.decision CONFIG_DIRECTORY      prints the median of microseconds per decision
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median

from proxy import settings
from proxy.routing.classify import Classifier
from proxy.routing.router import Router, new_memory
from proxy.wire.chat import parse
from tests.bench.prompts import PROMPTS, bodies

ROUNDS = 25


def microseconds(config: Path) -> float:
    """The median over rounds of the mean over prompts that no cache has seen."""
    router = _router(config)
    requests = [parse(body) for body in islice(bodies("auto"), len(PROMPTS))]
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for request in requests:
            router.plan(request, {}, "")
        took.append((time.perf_counter() - began) / len(requests) * 1e6)
    return median(took)


def _router(config: Path) -> Router:
    """The router of a configuration, healthy, and without a memory: every decision is made."""
    loaded = settings.load(config, {})
    lexicon = loaded.intents
    return Router(
        loaded.routing,
        loaded.models,
        [(name, spec.description) for name, spec in lexicon.intents.items()],
        Classifier(lexicon).classify,
        new_memory(loaded.routing, time.monotonic),
        lambda _: frozenset(),
        lambda _: None,
        {name: spec.needs for name, spec in lexicon.intents.items()},
        lengths={name: spec.completion_tokens for name, spec in lexicon.intents.items()},
    ).apart()


if __name__ == "__main__":
    print(microseconds(Path(sys.argv[1])))
