"""What commands that measure decisions have in common: the decisions, a bar, how the result is shown."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from proxy.commands.batch import Bar, Tally
from proxy.errors import ApiError, ConfigError
from proxy.settings import Settings


def first(plan: Iterable[str], ours: Mapping[str, str], otherwise: str) -> str:
    """The outcomes' name of the first that was graded; a model asked for by name may have no outcomes."""
    return next((ours[id] for id in plan if id in ours), otherwise)


def decisions(settings: Settings, model: str, bodies: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The router's decision on each request, without a call. Raises ConfigError with those it can't plan."""
    from proxy.routers import explainer

    decide = explainer(settings)
    problems = []
    with progress_bar("rows", len(bodies)) as progress:
        for number, body in enumerate(bodies, start=1):
            try:
                yield decide({**body, "model": model})
            except ApiError as error:
                problems.append(f"row {number}: {error.message}")
            progress(number)
    if problems:
        raise ConfigError(problems)


@contextmanager
def progress_bar(unit: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    bar = Bar(sys.stderr, total, time.monotonic, unit)
    try:
        yield lambda done: bar(Tally(rows=done, bytes=done))
    finally:
        bar.clear()


def show(options: argparse.Namespace, card: object, lines: Iterable[str]) -> None:
    """The lines, or, with --json, all that was measured."""
    if options.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(card), indent=2).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
