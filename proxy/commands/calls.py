"""`kuro calls`: what became of former calls, from the call log of a proxy that runs or ran here."""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from proxy.commands.options import Commands, command, point_in_time, refuse, since_option, within
from proxy.commands.sheet import table
from proxy.record import Query, Row
from proxy.settings import load
from proxy.telemetry.archive import ArchiveError, Reader


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Adds the command."""
    calls = command(commands, "calls", _calls, "say what became of former calls", environ)
    calls.add_argument(
        "--file", metavar="FILE", type=Path, help="the database (default: the configuration's)"
    )
    since_option(calls)
    calls.add_argument("--until", metavar="WHEN", type=point_in_time, help="likewise")
    calls.add_argument("--failed", action="store_true", help="only those that failed")
    for name, help in _FILTERS.items():
        calls.add_argument(f"--{name}", metavar=name.upper(), help=help)
    calls.add_argument("--limit", metavar="N", type=_limit, help="so many, latest first (default: 20)")
    calls.add_argument("--json", action="store_true", help="whole records, a JSON line each")


_FILTERS = {
    "model": "of this model, asked for or answering",
    "intent": "of this intent",
    "outcome": "ok, error, refused, caller_left or aborted",
    "id": "whose request id begins like this",
    "session": "of this conversation",
    "key": "of the caller's key of this name",
}


def _limit(text: str) -> int:
    return within(text, 1, 10_000_000)


def _calls(options: argparse.Namespace) -> int:
    file: Path | None = options.file
    if file is None:
        kept = load(options.config).calls.file
        if kept is None:
            return refuse("no call is kept: telemetry.calls is switched off in proxy.yml")
        file = Path(kept)
    query = Query(
        model=options.model,
        intent=options.intent,
        outcome=options.outcome,
        failed=options.failed,
        since=options.since,
        until=options.until,
        request_id=options.id,
        session=options.session,
        key=options.key,
        limit=options.limit or 20,
    )
    try:
        with Reader(file) as reader:
            return _print_records(reader, query) if options.json else _print_table(reader, query)
    except ArchiveError as error:
        return refuse(str(error))
    except sqlite3.Error as error:
        return refuse(f"{file}: {error}")


def _print_records(reader: Reader, query: Query) -> int:
    for record in reader.records(query):
        sys.stdout.buffer.write(record + b"\n")
    sys.stdout.flush()
    return 0


def _print_table(reader: Reader, query: Query) -> int:
    rows = [_cells(found) for found in reader.find(query)]
    room = shutil.get_terminal_size((160, 0)).columns if sys.stdout.isatty() else sys.maxsize
    for line in table([_HEADER, *rows], _RIGHT):
        print(line[:room].rstrip())
    print(_total(reader.totals(query), len(rows)))
    return 0


_HEADER = ("time", "id", "model", "intent", "route", "outcome", "tokens", "cost", "saved", "ms")
_RIGHT = (False, False, False, False, False, False, True, True, True, True)


def _cells(found: Row) -> tuple[str, ...]:
    outcome = found["outcome"] if found["outcome"] == "ok" else f"{found['outcome']} {found['status']}"
    tokens = (found["prompt_tokens"], found["completion_tokens"])
    cost, baseline = found["cost_usd"], found["baseline_usd"]
    return (
        datetime.fromtimestamp(found["time"]).strftime("%m-%d %H:%M:%S"),
        found["request_id"],
        (found["model"] or found["requested_model"] or "-") + ("*" if found["fallback"] else ""),
        found["intent"] or "-",
        found["route"] or "-",
        outcome,
        "-" if tokens[0] is None else f"{tokens[0]}+{tokens[1]}",
        _dollars(cost),
        _dollars(None if cost is None or baseline is None else baseline - cost),
        f"{found['latency_ms']:.0f}",
    )


def _dollars(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:.6f}"


def _total(total: Mapping[str, Any], shown: int) -> str:
    """The last line: everything that the query asks for, shown or not."""
    return (
        f"{shown:,} of {total['calls']:,} calls, {total['failed']:,} failed, cost ${total['cost_usd']:.4f}, "
        f"wasted ${total['wasted_usd']:.4f}, saved ${total['saved_usd']:.4f}   (* a fallback answered)"
    )
