"""`kuro eval`: how good decisions are, on labelled intents or on graded outcomes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from proxy.commands.measuring import decisions, first, progress_bar, show
from proxy.commands.options import config_option, open_file, refuse, within
from proxy.evaluate.calls import Call
from proxy.evaluate.others import DrawnCard
from proxy.record import Query, Row
from proxy.routing.router import AUTO, BALANCED
from proxy.settings import Settings, load
from proxy.telemetry.archive import ArchiveError, Reader
from proxy.wire.plugins import AUTO_ROUTER, CHEAPEST, DEAREST

LATEST = 50_000
"""Calls of a log that are looked at."""
LEAST_DRAWN = 100
"""Calls with feedback that were left to chance: of fewer nothing is told."""
SHOWN = 160
"""Characters of an ask that is shown."""

_ROWS = """\
Rows are JSON Lines. A row is a request (`prompt`, or `messages` and what belongs to them) and what is known
of it:

  --intents   {"prompt": "...", "gold_intent": "math", "also_ok": ["factual_qa"], "lang": "en", "source": "x"}
              also_ok, lang and source may be missing.
  --outcomes  {"prompt": "...", "q": {"MODEL": 0.0, ...}, "cost": {"MODEL": 0.00012, ...}}
              q is the graded answer, 0..1; cost is USD for the call. Every row has the same models, two or
              more. Where rows say of what kind they are ("group"), intervals by whole kinds are told, too,
              and both decide.
  --calls     a call log's database, as telemetry.calls keeps it: calls with feedback, a known cost and an
              intent, the latest 50,000. Nobody knows what another model would have made of a call: they are
              compared among calls of one intent and about the same difficulty. Of 100 or more that were left
              to chance (`explore` in routing.yml) it can be told, without bias; then that decides.

A model of the outcomes is one of the registry's when its name is the id, an alias, the upstream's name or the
last part of one of these; --models tells others: --models groq/llama-3.3-70b=l70,weak=gemma,strong=l70.
`weak` and `strong` are the two between which difficulty decides (if not given: the cheapest and the best).
When two or more are in the registry, the router's own choices among them are measured, too: by --model, by
every profile, and along the dial between cost and quality. Models without a key take no part.

Exit codes: 0; 1 when nothing shows that the router is better than chance which spends the same; 2 for bad
input.
"""


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_eval)
    config_option(parser, environ)
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _ROWS
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--intents", metavar="FILE", help="asks with their intent; - is stdin")
    source.add_argument(
        "--outcomes", metavar="FILE", help="asks with each model's graded outcome; - is stdin"
    )
    source.add_argument(
        "--calls", metavar="FILE", nargs="?", const="", help="a call log (default: the one that is kept)"
    )
    parser.add_argument(
        "--models", metavar="A=B,...", default="", help="what outcomes call a model, or a role"
    )
    parser.add_argument("--model", default="auto", help="how the router is asked (default: auto)")
    parser.add_argument("--plot", metavar="FILE", help="write the quality-cost curve as SVG")
    parser.add_argument("--json", action="store_true", help="all measures as JSON")
    parser.add_argument(
        "--mistakes",
        type=partial(within, low=0, high=1_000_000),
        default=0,
        metavar="N",
        help="with --intents: so many asks that were taken for something else, and what spoke for it",
    )
    parser.add_argument(
        "--resamples",
        type=partial(within, low=0, high=100_000),
        default=500,
        help="for intervals (default: 500); 0: none, and nothing is shown to be better than chance",
    )
    parser.add_argument("--seed", type=partial(within, low=0, high=2**31), default=1, help="of the resamples")


def _eval(options: argparse.Namespace) -> int:
    if options.outcomes is None and (options.plot or options.models):
        return refuse("--plot and --models go with --outcomes")
    if options.intents is None and options.mistakes:
        return refuse("--mistakes goes with --intents")
    settings = load(options.config)
    if options.calls is not None:
        return _eval_calls(options, settings, options.calls or settings.calls.file)
    try:
        with ExitStack() as files:
            source = open_file(options.intents or options.outcomes, "rb", sys.stdin.buffer, files)
            run = _eval_intents if options.intents is not None else _eval_outcomes
            return run(options, settings, source)
    except OSError as error:
        return refuse(f"{error.filename}: {error.strerror}")


def _eval_intents(options: argparse.Namespace, settings: Settings, source: BinaryIO) -> int:
    from proxy.evaluate import labels, rows, text

    data = rows.labelled(source, options.intents, settings.intents.intents)
    answers: list[labels.Said] = []
    mistakes: list[labels.Mistake] = []
    for row, decision in zip(
        data, decisions(settings, options.model, [row.body for row in data]), strict=True
    ):
        intent, sure = next(iter(decision["intents"].items()))
        answer = labels.said(row, intent, sure)
        answers.append(answer)
        if not answer.right and len(mistakes) < options.mistakes:
            said = decision["intents"], decision["evidence"]
            mistakes.append(labels.Mistake(_shown(row.body), row.gold_intent, *said))
    with progress_bar("resamples", options.resamples) as progress:
        card = labels.measure(answers, options.resamples, Random(options.seed).random, progress)
    card = msgspec.structs.replace(card, mistakes=mistakes)
    show(options, card, text.intents(card))
    return 0


def _shown(body: Mapping[str, Any]) -> str:
    """The beginning of what was asked."""
    asked = body.get("prompt") or body["messages"][-1].get("content")
    return str(asked)[:SHOWN]


def _eval_outcomes(options: argparse.Namespace, settings: Settings, source: BinaryIO) -> int:
    from proxy.evaluate import field, plot, rows, scorecard, text

    data = rows.graded(source, options.outcomes)
    names, models = data[0].q, settings.models
    given = field.named(options.models, names, models)
    asks = field.gather(data, given)
    ours = field.graded(names, given, models)
    bodies = [row.body for row in data]
    difficulty = [one["difficulty"] for one in decisions(settings, options.model, bodies)]
    routed = {}
    for name, fields in (_ways(settings, options.model, list(ours)) if len(ours) > 1 else {}).items():
        steered = [{**body, **fields} for body in bodies]
        decided = decisions(settings, fields["model"], steered)
        routed[name] = [first(one["plan"], ours, asks.strong) for one in decided]
    with progress_bar("resamples", options.resamples) as progress:
        chance = Random(options.seed).random
        groups = [row.group for row in data]
        card = scorecard.measure(asks, difficulty, routed, options.resamples, chance, progress, groups)
    if options.plot:
        Path(options.plot).write_text(plot.svg(card), "utf-8")
    show(options, card, text.outcomes(card))
    return 0 if card.better else 1


def _eval_calls(options: argparse.Namespace, settings: Settings, file: str | None) -> int:
    from proxy.evaluate import calls, text

    if file is None:
        return refuse("no call is kept: telemetry.calls is switched off in proxy.yml")
    try:
        with Reader(Path(file)) as reader:
            scored = list(_scored(reader))
    except ArchiveError as error:
        return refuse(str(error))
    if not scored:
        return refuse(f"{file}: no call has feedback, a known cost and an intent")
    with progress_bar("resamples", options.resamples) as progress:
        card = calls.measure(scored, options.resamples, Random(options.seed).random, progress)
    card = msgspec.structs.replace(card, drawn=_drawn(options, settings, file))
    show(options, card, text.calls(card))
    return 0 if card.better else 1


def _drawn(options: argparse.Namespace, settings: Settings, file: str) -> DrawnCard | None:
    """What the calls tell that were left to chance; None where too few were."""
    from proxy.commands import logged
    from proxy.evaluate import others

    log = logged.read(settings, file)
    if len(log.calls) < LEAST_DRAWN:
        return None
    with progress_bar("resamples", options.resamples) as progress:
        chance = Random(options.seed).random
        return others.measure(log.calls, options.resamples, chance, progress, log.amiss)


def _scored(reader: Reader) -> Iterator[Call]:
    """The latest calls that can be measured."""
    found = {row["request_id"]: row for row in reader.find(Query(limit=LATEST)) if _measurable(row)}
    for stored in reader.records(Query(limit=LATEST)):
        record = _decode(stored)
        row = found.pop(record.request_id, None)
        if row is not None and record.difficulty is not None:
            score = min(max(row["score"], 0.0), 1.0)
            yield Call(row["model"], score, row["cost_usd"], row["intent"], record.difficulty)


def _measurable(row: Row) -> bool:
    return all(row[name] is not None for name in ("score", "model", "cost_usd", "intent"))


class _Stored(Struct):
    """What is asked of a kept record."""

    request_id: str
    difficulty: float | None = None


_decode = msgspec.json.Decoder(_Stored).decode


def _ways(settings: Settings, asked: str, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Ways to ask the router for one of these models, the one asked for first: every profile, plain `auto`
    being the balanced one, and the dial between quality and cost from end to end."""
    from proxy.evaluate.scorecard import DIAL

    profiles = [AUTO if name == BALANCED else f"{AUTO}:{name}" for name in settings.routing.profiles]
    plugin = {"id": AUTO_ROUTER, "allowed_models": ids}
    ways = {
        f"router {name}": {"model": name, "plugins": [plugin]} for name in dict.fromkeys((asked, *profiles))
    }
    for tradeoff in range(CHEAPEST, DEAREST - 1, -1):
        dialled = {**plugin, "cost_quality_tradeoff": tradeoff}
        ways[f"{DIAL} {tradeoff}"] = {"model": AUTO, "plugins": [dialled]}
    return ways
