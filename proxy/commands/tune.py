"""`kuro tune`: looks for better weights of a profile, and applies those that are shown to be."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict, replace

from proxy.commands.measuring import decisions, first, progress_bar, show
from proxy.commands.options import config_option, open_file, refuse, within
from proxy.routing.policy import Weights
from proxy.routing.router import AUTO, BALANCED
from proxy.settings import ROUTING, Settings, load
from proxy.wire.plugins import AUTO_ROUTER

if TYPE_CHECKING:
    from proxy.evaluate.rows import Graded
    from proxy.evaluate.tune import Ask

BY_SCORE = "score"
"""The route of a choice that weights decide."""

_ABOUT = """\
The rows are those of `kuro eval --outcomes`. Half of them are searched (whole groups, where there are four
or more; else by what was asked); the weights that were found are judged on the other half by a paired
bootstrap.

  worth   quality + (success x its weight + latency x its weight - cost x its weight) / weight of quality
          with the row's graded quality and cost; success and latency as the registry expects them

The weights in it are the profile's own as you wrote them, so money and time keep your price. When --write
has changed a profile, they stand in `worth` of routing.yml, and later trials are judged by them, too: when
you want something else of a profile, write it there and here. Weights of cost and latency are varied, from
an eighth to eight times; what you gave no weight gets none.

Exit codes: 0 when the whole interval of the gain is above zero; 1 when it isn't, and nothing is changed; 2
for bad input. Try the same rows with one seed: of forty seeds one finds gains in noise.
"""


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_tune)
    config_option(parser, environ)
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _ABOUT
    parser.add_argument(
        "--outcomes", metavar="FILE", required=True, help="asks with each model's graded outcome; - is stdin"
    )
    parser.add_argument("--models", metavar="A=B,...", default="", help="what outcomes call a model")
    parser.add_argument(
        "--profile", default=BALANCED, metavar="NAME", help=f"whose weights (default: {BALANCED})"
    )
    parser.add_argument("--write", action="store_true", help="change routing.yml, if they are better")
    parser.add_argument("--json", action="store_true", help="all measures as JSON")
    parser.add_argument(
        "--resamples", type=partial(within, low=0, high=100_000), default=1000, help="default: 1000"
    )
    parser.add_argument(
        "--seed", type=partial(within, low=0, high=2**31), default=1, help="of the halves and the resamples"
    )


def _tune(options: argparse.Namespace) -> int:
    from proxy.evaluate import rows, text, tune

    if options.write and options.config is None:
        return refuse("--write needs --config: the configuration that comes with kuro stays as it is")
    settings = load(options.config)
    profile, routing = options.profile, settings.routing
    if profile not in routing.profiles:
        return refuse(f"--profile: {profile!r} is none of {', '.join(routing.profiles)}")
    weights = asdict(routing.profiles[profile])
    price = asdict(routing.worth.get(profile, routing.profiles[profile]))
    if not weights["quality"] or not price["quality"]:
        return refuse(f"--profile: {profile!r} gives quality no weight, and outcomes tell of little else")
    try:
        with ExitStack() as files:
            source = open_file(options.outcomes, "rb", sys.stdin.buffer, files)
            data = rows.graded(source, options.outcomes)
    except OSError as error:
        return refuse(f"{error.filename}: {error.strerror}")
    search, judge = tune.halves([row.group for row in data], list(map(_key, data)), options.seed)
    if min(len(search), len(judge)) < tune.LEAST_ROWS // 2:
        return refuse(
            f"{options.outcomes}: {len(search)} rows to search and {len(judge)} to judge: give at least "
            f"{tune.LEAST_ROWS}, half of them or so in either"
        )
    ours = _ours(options.models, data, settings)
    asks = list(_asks(settings, profile, data, ours))
    found = tune.search([asks[row] for row in search], weights, price)
    unseen = [data[row] for row in judge]
    tried = replace(routing, profiles={**routing.profiles, profile: Weights(**found)})
    choices = [
        first(decision["plan"], ours, "")
        for decision in _decided(replace(settings, routing=tried), profile, unseen, ours)
    ]
    with progress_bar("resamples", options.resamples) as progress:
        trial = tune.compare(
            profile, len(search), [asks[row] for row in judge], (weights, found, price), choices,
            options.resamples, Random(options.seed).random, progress,
        )  # fmt: skip
    if options.write and trial.better:
        try:
            _write(options.config / ROUTING, profile, weights, found)
        except (OSError, ValueError) as error:
            return refuse(f"{options.config / ROUTING}: {getattr(error, 'strerror', None) or error}")
    show(options, trial, text.trial(trial, written=options.write and trial.better))
    return 0 if trial.better else 1


def _key(row: Graded) -> bytes:
    return msgspec.json.encode(row.body, order="deterministic")


def _ours(given: str, data: list[Graded], settings: Settings) -> dict[str, str]:
    """Registry id -> its name in the outcomes."""
    from proxy.errors import ConfigError
    from proxy.evaluate import field

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
    from proxy.evaluate.tune import Ask
    from proxy.routing.scoring import felt

    for row, decision in zip(data, _decided(settings, profile, data, ours), strict=True):
        yield Ask(
            terms={ours[id]: terms for id, terms in decision["scores"].items() if id in ours},
            quality=row.q,
            cost=row.cost,
            paid={name: felt(usd) for name, usd in row.cost.items()},
            choice=first(decision["plan"], ours, ""),
            scored=decision["step"] == BY_SCORE,
            group=row.group,
        )


def _write(path: Path, profile: str, old: Mapping[str, float], new: Mapping[str, float]) -> None:
    """Exchanges the profile's weights, in one step. Raises OSError, and ValueError where it can't be done."""
    from proxy.settings.edit import put

    path = path.resolve()
    before = path.read_bytes()
    text = before.decode()
    bom, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
    for term, weight in new.items():
        if weight != old[term]:
            text = put(text, ("profiles", profile, term), f"{weight:g}")
    if not _told(text, profile):
        written = ", ".join(f"{term}: {weight:g}" for term, weight in old.items())
        text = put(text, ("worth", profile), f"{{{written}}}")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes((bom + text).encode())
        shutil.copymode(path, beside)
        if path.read_bytes() != before:
            raise ValueError("was changed by somebody else meanwhile: run it again")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _told(text: str, profile: str) -> bool:
    from proxy.settings.document import parse

    values = parse(text, lambda *_: None)
    return profile in (values.get("worth") or {})
