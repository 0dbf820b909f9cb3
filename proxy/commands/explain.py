"""`kuro explain`: says how a prompt, or each row of a file, would be routed, without calling anybody."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from proxy.commands.batch import Bar, Explain, Render, Tally, explain_rows, json_line
from proxy.commands.options import STDIO, config_option, open_file, refuse
from proxy.commands.sheet import EIGHTHS, HASHES, sheet
from proxy.errors import ApiError
from proxy.settings import load


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_explain)
    config_option(parser, environ)
    parser.add_argument("prompt", nargs="?", help="a single prompt")
    parser.add_argument("--model", default="auto", help="auto, auto:PROFILE or a model (default: auto)")
    parser.add_argument(
        "--input", metavar="FILE", help="rows of {id, prompt} or {id, messages, ...}; - is stdin"
    )
    parser.add_argument("--output", metavar="FILE", default=STDIO, help="where rows go (default: -, stdout)")
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        help="default: text for one prompt on a terminal, else json",
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="--format json")


def _explain(options: argparse.Namespace) -> int:
    if (options.prompt is None) == (options.input is None):
        return refuse("give one prompt, or --input FILE")
    return _explain_one(options) if options.input is None else _explain_file(options)


def _explain_one(options: argparse.Namespace) -> int:
    from proxy.routers import explainer

    # What a terminal sent that is no UTF-8 (PEP 383) is no reason to give up.
    prompt = options.prompt.encode(errors="surrogateescape").decode(errors="replace")
    try:
        decision = explainer(load(options.config))({"model": options.model, "prompt": prompt})
    except ApiError as error:
        print(error.message, file=sys.stderr)
        return 1
    if options.format == "text" or (options.format is None and sys.stdout.isatty()):
        print(sheet(decision, shutil.get_terminal_size((100, 0)).columns, _marks()))
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(decision), indent=2).decode() + "\n")
    return 0


def _marks() -> str:
    """What standard output can draw bars with."""
    try:
        EIGHTHS.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return HASHES
    return EIGHTHS


def _explain_file(options: argparse.Namespace) -> int:
    from proxy.routers import explainer

    decide = explainer(load(options.config))
    with ExitStack() as files:
        try:
            _check_apart(options.input, options.output)
            source = open_file(options.input, "rb", sys.stdin.buffer, files)
            target = open_file(options.output, "wb", sys.stdout.buffer, files)
        except OSError as error:
            return refuse(f"{error.filename}: {error.strerror}")
        render = _sheet_of_row if options.format == "text" else json_line
        tally = _explain_rows(lambda row: decide({"model": options.model, **row}), source, target, render)
    if tally.bad:
        print(f"{tally.bad:,} of {tally.rows:,} rows were bad", file=sys.stderr)
    return 1 if tally.bad else 0


def _sheet_of_row(decision: dict[str, Any]) -> bytes:
    """UTF-8, whatever the terminal: it may be a file."""
    return f"{decision['id']}\n\n{sheet(decision)}\n\n\n".encode()


def _explain_rows(decide: Explain, source: BinaryIO, target: BinaryIO, render: Render) -> Tally:
    bar = Bar(sys.stderr, _size(source), time.monotonic) if sys.stderr.isatty() else None

    def write(line: bytes) -> None:
        target.write(line)
        if target is sys.stdout.buffer:
            target.flush()

    def complain(message: str) -> None:
        if bar:
            bar.clear()
        print(message, file=sys.stderr)

    try:
        return explain_rows(source, decide, write, complain, bar or (lambda _: None), render)
    finally:
        if bar:
            bar.clear()


def _check_apart(source: str, target: str) -> None:
    if STDIO not in (source, target) and Path(target).exists() and Path(source).samefile(target):
        raise OSError(0, "is input and output at once", target)


def _size(source: BinaryIO) -> int | None:
    """Bytes to read, or None for what has no end in sight: a pipe, a terminal."""
    return os.fstat(source.fileno()).st_size or None
