"""`kuro replay`: what another configuration would have decided about former calls. Nobody is called."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from proxy.commands.batch import Bar, Tally
from proxy.commands.options import ALL, STDIO, config_option, open_file, refuse, since_option
from proxy.record import Query
from proxy.routing.replay import Again, Summary, described
from proxy.settings import load
from proxy.telemetry.archive import ArchiveError, Reader

NAMED = 5
"""Rows that are no records are named, the first of them; the others are counted."""
_EXITS = """\
Exit codes: 0; 1 when some row is no call record, and with --strict when a decision would be another one;
2 for a file or a configuration that can't be read.
"""


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_replay)
    config_option(parser, environ)
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="records as `kuro calls --json` prints them, or a call log's database; - is stdin "
        "(default: the call log of the configuration that serves)",
    )
    parser.epilog = _EXITS
    since_option(parser)
    parser.add_argument("--json", action="store_true", help="a line for each record; the last is the summary")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 when a decision would be another one"
    )


def _replay(options: argparse.Namespace) -> int:
    from proxy.routers import replayer

    settings = load(options.config)
    replay = replayer(settings)
    bad = 0
    with ExitStack() as files:
        try:
            rows, size = _rows(options, settings.calls.file, files)
        except (OSError, ArchiveError) as error:
            return refuse(str(error))
        bar = Bar(sys.stderr, size, time.monotonic) if sys.stderr.isatty() else None
        tally = Tally()
        for row in rows:
            tally.rows += 1
            tally.bytes += len(row)
            try:
                again = replay.take(row, options.since)
            except ValueError as error:
                bad += 1
                if bad <= NAMED:
                    print(f"row {tally.rows:,} {error}", file=sys.stderr)
                continue
            if options.json and again is not None:
                _print_row(again)
            if bar:
                bar(tally)
        if bar:
            bar.clear()
    if bad > NAMED:
        print(f"{bad - NAMED:,} more rows are no call records", file=sys.stderr)
    summary = replay.summary
    if options.json:
        sys.stdout.buffer.write(msgspec.json.encode({"summary": described(summary)}) + b"\n")
        sys.stdout.flush()
    else:
        _print_summary(summary)
    return 1 if bad or (options.strict and summary.changed) else 0


def _rows(
    options: argparse.Namespace, kept: str | None, files: ExitStack
) -> tuple[Iterator[bytes], int | None]:
    """The records, and how many bytes they are, where that is known. Raises OSError, ArchiveError."""
    name = options.file or kept
    if name is None:
        raise ArchiveError("no call is kept here: name a file")
    if name != STDIO and _is_database(Path(name)):
        reader = files.enter_context(Reader(Path(name)))
        return reader.records(Query(since=options.since, limit=ALL)), None
    source = open_file(name, "rb", sys.stdin.buffer, files)
    return (line for line in source if line.strip()), None if name == STDIO else Path(name).stat().st_size


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _print_row(again: Again) -> None:
    row = {name: getattr(again, name) for name in again.__struct_fields__}
    sys.stdout.buffer.write(msgspec.json.encode({**row, "changed": again.changed}) + b"\n")


def _print_summary(summary: Summary) -> None:
    share = summary.changed / summary.decided if summary.decided else 0.0
    decided, changed = f"{summary.decided:,} decided again", f"{summary.changed:,} otherwise ({share:.1%})"
    print(f"{summary.records:,} records, {decided}, {changed}")
    counts = [
        *((count, f"not decided: {reason}") for reason, count in summary.undecided.most_common()),
        (summary.refused, "would be refused"),
        *((count, f"{before} -> {after}") for (before, after), count in summary.moves.most_common()),
        *((count, f"because {reason}") for reason, count in summary.reasons.most_common()),
        (summary.reordered, "the same choice, with other fallbacks"),
        *((count, f"without {model}: {why}") for (model, why), count in summary.left_out.most_common()),
        *(
            (count, f"{model} skipped: its circuit was shut")
            for model, count in summary.skipped.most_common()
        ),
        (summary.reclassified, "classified anew, for their words were kept"),
        (summary.unread, "by their former intents, for their words were not kept"),
    ]
    for count, what in counts:
        if count:
            print(f"{count:>10,}  {what}")
    if summary.compared:
        before, after = summary.cost_before, summary.cost_after
        change = f"${before:.4f} -> ${after:.4f} ({after - before:+.4f})"
        print(f"cost of {summary.compared:,} calls, with as many tokens: {change}")
