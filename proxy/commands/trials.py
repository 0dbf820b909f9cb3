"""What `kuro tune` tries other weights on: graded asks, or former calls whose models were left to chance.

rows --split--> half to search --tune.search--> weights --the router's choices--> tune.compare --> Trial
                half unseen  ---------------------------------------------------/
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from proxy.commands import logged
from proxy.commands.measuring import decisions, first, progress_bar
from proxy.commands.options import open_file
from proxy.errors import ConfigError
from proxy.evaluate import drawn as chance
from proxy.evaluate import field, rows, tune
from proxy.evaluate.rows import Graded
from proxy.evaluate.tune import Ask, Support, Trial
from proxy.routing.policy import Weights
from proxy.routing.router import AUTO, BALANCED
from proxy.routing.scoring import felt
from proxy.settings import Settings
from proxy.wire.plugins import AUTO_ROUTER


def graded(
    options: argparse.Namespace, settings: Settings, weights: dict[str, float], price: dict[str, float]
) -> Trial:
    """On asks of which every model's outcome is known. Raises ConfigError."""
    data = _read(options.outcomes)
    search, judge = tune.halves([row.group for row in data], list(map(_key, data)), options.seed)
    if _too_few(search, judge, options.least):
        raise ConfigError([_told(options.outcomes, "rows", search, judge, options.least)])
    profile, ours = options.profile, _ours(options.models, data, settings)
    asks = list(_asks(settings, profile, data, ours))
    found = tune.search([asks[row] for row in search], weights, price)
    unseen = [data[row] for row in judge]
    decided = _decided(_with(settings, profile, found), profile, unseen, ours)
    choices = [first(decision["plan"], ours, "") for decision in decided]
    with progress_bar("resamples", options.resamples) as progress:
        return tune.compare(
            profile, len(search), [asks[row] for row in judge], (weights, found, price), choices,
            options.resamples, Random(options.seed).random, progress, level=options.sure / 100.0,
        )  # fmt: skip


def drawn(
    options: argparse.Namespace, settings: Settings, weights: dict[str, float], price: dict[str, float]
) -> Trial:
    """On calls with feedback whose models were left to chance. Raises ConfigError."""
    profile = options.profile
    log = logged.read(settings, options.calls, options.since, profile)
    search, judge = tune.halves(
        ["?"] * len(log.calls), [call.conversation.encode() for call in log.calls], options.seed
    )
    if _too_few(search, judge, options.least):
        raise ConfigError([f"{log.told}; {_told(log.file, 'such calls', search, judge, options.least)}"])
    seen, unseen = [log.calls[row] for row in search], [log.calls[row] for row in judge]
    found = tune.search(chance.asks(seen, chance.fitted(seen)), weights, price)
    choices = logged.choices(_with(settings, profile, found), [log.records[row] for row in judge])
    with progress_bar("resamples", options.resamples) as progress:
        return tune.compare(
            profile, len(seen), chance.asks(unseen, chance.guesser(seen)), (weights, found, price), choices,
            options.resamples, Random(options.seed).random, progress,
            [call.conversation for call in unseen],
            Support(*chance.support(unseen, choices), log.amiss), options.sure / 100.0,
        )  # fmt: skip


def _read(file: str) -> list[Graded]:
    try:
        with ExitStack() as files:
            return rows.graded(open_file(file, "rb", sys.stdin.buffer, files), file)
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}"]) from None


def _too_few(search: list[int], judge: list[int], least: int) -> bool:
    return len(search) + len(judge) < least or min(len(search), len(judge)) < tune.LEAST_ROWS // 2


def _told(where: str, what: str, search: list[int], judge: list[int], least: int) -> str:
    return (
        f"{where}: {len(search)} {what} to search and {len(judge)} to judge: give at least "
        f"{max(least, tune.LEAST_ROWS)}, half of them or so in either"
    )


def _with(settings: Settings, profile: str, weights: Mapping[str, float]) -> Settings:
    """The same with other weights."""
    routing = settings.routing
    profiles = {**routing.profiles, profile: Weights(**weights)}
    return replace(settings, routing=replace(routing, profiles=profiles))


def _key(row: Graded) -> bytes:
    return msgspec.json.encode(row.body, order="deterministic")


def _ours(given: str, data: list[Graded], settings: Settings) -> dict[str, str]:
    """Registry id -> its name in the outcomes."""
    names, models = data[0].q, settings.models
    ours = field.graded(names, field.named(given, names, models), models)
    if len(ours) < 2:
        raise ConfigError(
            [
                f"q: of {', '.join(sorted(names))} the registry has {len(ours)} ready, and two are needed: "
                "name others with --models ID=NAME,..., and see `kuro check`"
            ]
        )
    return ours


def _decided(
    settings: Settings, profile: str, data: list[Graded], ours: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    model = AUTO if profile == BALANCED else f"{AUTO}:{profile}"
    plugin = {"id": AUTO_ROUTER, "allowed_models": list(ours)}
    return decisions(settings, model, [{**row.body, "plugins": [plugin]} for row in data])


def _asks(settings: Settings, profile: str, data: list[Graded], ours: Mapping[str, str]) -> Iterator[Ask]:
    for row, decision in zip(data, _decided(settings, profile, data, ours), strict=True):
        yield Ask(
            terms={ours[id]: terms for id, terms in decision["scores"].items() if id in ours},
            quality=row.q,
            cost=row.cost,
            paid={name: felt(usd) for name, usd in row.cost.items()},
            choice=first(decision["plan"], ours, ""),
            scored=decision["step"] == logged.BY_SCORE,
            group=row.group,
        )
