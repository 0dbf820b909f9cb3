"""`kuro calls`: what became of former calls, from the call log of a proxy that runs or ran here."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from proxy.commands.columns import fitted, line, widths
from proxy.commands.options import ALL, config_option, point_in_time, refuse, since_option, within
from proxy.record import OUTCOMES, Query, Row
from proxy.server.headers import recorded_session
from proxy.settings import load
from proxy.telemetry.archive import ArchiveError, Reader

PAUSE = 0.5
"""Seconds between two looks for more."""


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_calls)
    config_option(parser, environ)
    parser.add_argument(
        "--file", metavar="FILE", type=Path, help="the database (default: the configuration's)"
    )
    since_option(parser)
    parser.add_argument("--until", metavar="WHEN", type=point_in_time, help="likewise")
    parser.add_argument("--failed", action="store_true", help="only those that failed")
    parser.add_argument("--outcome", choices=OUTCOMES, help="only those that ended so")
    for name, help in _FILTERS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), type=_sought, help=help)
    parser.add_argument("--limit", metavar="N", type=_limit, help="so many, latest first (default: 20)")
    parser.add_argument("--json", action="store_true", help="whole records, a JSON line each")
    parser.add_argument("--follow", action="store_true", help="go on with those that come, until Ctrl-C")


_FILTERS = {
    "model": "of this model, asked for or answering",
    "intent": "of this intent",
    "id": "whose request id begins like this",
    "session": "of this conversation: 24 hex digits; or, of one key, what its caller calls it",
    "key": "of the caller's key of this name",
}


def _sought(text: str) -> str:
    if not text:  # a variable that was not set would show everything
        raise argparse.ArgumentTypeError("is empty: leave it out, or say what is looked for")
    return text


def _limit(text: str) -> int:
    return within(text, 1, 10_000_000)


def _calls(options: argparse.Namespace) -> int:
    file: Path | None = options.file
    keys: list[str] = []
    if file is None:
        settings = load(options.config)
        if settings.calls.file is None:
            return refuse("no call is kept: telemetry.calls is switched off in proxy.yml")
        file = Path(settings.calls.file)
        keys = [key.name for key in settings.access.keys] or [""]
    if options.since is not None and options.until is not None and options.until <= options.since:
        return refuse("--until lies before --since: no call can be between them")
    try:
        query = _query(options, keys)
    except ValueError as error:
        return refuse(f"--session: {error}")
    show = _Records() if options.json else _Table()
    try:
        with Reader(file) as reader:
            last = reader.last()
            show.begin(reader, replace(query, before=last + 1), options.follow)
        if options.follow:
            _follow(file, replace(query, limit=ALL), last, show)
    except ArchiveError as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _query(options: argparse.Namespace, keys: list[str]) -> Query:
    """Raises ValueError where it isn't clear whose conversation is meant."""
    session = options.session
    if session is not None:
        session = recorded_session(session, keys if options.key is None else [options.key])
    return Query(
        model=options.model,
        intent=options.intent,
        outcome=options.outcome,
        failed=options.failed,
        since=options.since,
        until=options.until,
        request_id=options.id,
        session=session,
        key=options.key,
        limit=options.limit or 20,
    )


def _follow(file: Path, query: Query, last: int, show: _Records | _Table) -> None:
    """Shows what comes, until Ctrl-C. Opened anew each time, so that the file may be exchanged."""
    while True:
        time.sleep(PAUSE)
        with Reader(file) as reader:
            newest = reader.last()
            if newest != last:
                # Where they count from the start again, the file was exchanged, or emptied.
                show.more(reader, replace(query, after=last if newest > last else 0))
            last = newest


class _Records:
    """Whole records, a JSON line each."""

    def begin(self, reader: Reader, query: Query, follows: bool) -> None:
        self._print(reversed(list(reader.records(query))) if follows else reader.records(query))

    def more(self, reader: Reader, query: Query) -> None:
        self._print(reversed(list(reader.records(query))))

    def _print(self, records: Iterator[bytes]) -> None:
        for record in records:
            sys.stdout.buffer.write(record + b"\n")
        sys.stdout.flush()


class _Table:
    """A line for each call, in columns."""

    def begin(self, reader: Reader, query: Query, follows: bool) -> None:
        calls = reader.find(query)
        self._room = shutil.get_terminal_size((160, 0)).columns if sys.stdout.isatty() else sys.maxsize
        needed = widths([_HEADER, *map(_cells, calls), *([_LIKELY] if follows else [])])
        self._widths = fitted(needed, self._room, _GIVES)
        print(self._line(_HEADER))
        for found in reversed(calls) if follows else calls:
            print(self._call(found))
        if not follows:
            print(_total(reader.totals(query), len(calls)))
        sys.stdout.flush()

    def more(self, reader: Reader, query: Query) -> None:
        for found in reversed(reader.find(query)):
            print(self._call(found))
        sys.stdout.flush()

    def _call(self, found: Row) -> str:
        """A row, and why it failed where there is room for that."""
        row = self._line(_cells(found))
        told = f"{row}  {found['error_code']}"
        return told if found["error_code"] and len(told) <= self._room else row

    def _line(self, cells: Sequence[str]) -> str:
        return line(cells, self._widths, _RIGHT)


_HEADER = ("time", "id", "model", "intent", "route", "outcome", "tokens", "cost", "saved", "ms")
_RIGHT = (False, False, False, False, False, False, True, True, True, True)
_GIVES = {1: 8, 2: 12, 3: 8, 4: 6}
"""Column -> its least width, of those that give way where the terminal is narrow."""
_LIKELY = (
    "",
    "x" * 22,
    "x" * 30,
    "x" * 16,
    "x" * 8,
    "error 502",
    "00000+0000",
    "0.000000",
    "0.000000",
    "000000",
)
"""Room for what is to come, when rows are printed before all are known."""


def _cells(found: Row) -> tuple[str, ...]:
    outcome = found["outcome"] if found["outcome"] == "ok" else f"{found['outcome']} {found['status']}"
    tokens = (found["prompt_tokens"], found["completion_tokens"])
    return (
        datetime.fromtimestamp(found["time"]).strftime("%m-%d %H:%M:%S"),
        found["request_id"],
        (found["model"] or found["requested_model"] or "-") + ("*" if found["fallback"] else ""),
        found["intent"] or "-",
        found["route"] or "-",
        outcome,
        "-" if tokens[0] is None else f"{tokens[0]}+{tokens[1]}",
        _dollars(found["cost_usd"]),
        _dollars(found["saved_usd"]),
        f"{found['latency_ms']:.0f}",
    )


def _dollars(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:.6f}"


def _total(total: Mapping[str, Any], shown: int) -> str:
    """The last line: everything that the query asks for, shown or not."""
    judge = f"judge ${total['judge_usd']:.4f}, " if total["judge_usd"] else ""
    return (
        f"{shown:,} of {total['calls']:,} calls, {total['failed']:,} failed, cost ${total['cost_usd']:.4f}, "
        f"wasted ${total['wasted_usd']:.4f}, {judge}saved {_saved(total)}   (* a fallback answered)"
    )


def _saved(total: Mapping[str, Any]) -> str:
    """Unknown without a baseline at the time (telemetry.baseline), or where a price is."""
    saved, unknown = total["saved_usd"], total["saved_unknown"]
    if saved is None:
        return "unknown"
    return f"{'-' if saved < 0 else ''}${abs(saved):.4f}" + (f" (of {unknown:,} unknown)" if unknown else "")
