"""What commands have in common: options that the environment gives too, files, refusals."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Literal

from proxy.wire.when import FORMS, moment

STDIO = "-"
"""As a file name: standard input or output."""
ALL = 2**62
"""The limit of a query that wants every call."""


def config_option(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """`--config`, of commands that read one."""
    option(parser, environ, "--config", Path, "DIR", "configuration (default: the one that comes with kuro)")


def option(
    parser: argparse.ArgumentParser,
    environ: Mapping[str, str],
    flag: str,
    type: Callable[[str], object] | None,
    metavar: str,
    help: str,
) -> None:
    """An option that KURO_… in the environment gives, too."""
    variable = "KURO_" + flag.strip("-").replace("-", "_").upper()
    default = environ.get(variable) or None
    parser.add_argument(flag, type=type or str, metavar=metavar, default=default, help=f"{help} [{variable}]")


def since_option(parser: argparse.ArgumentParser) -> None:
    """`--since`, as Unix time."""
    parser.add_argument("--since", metavar="WHEN", type=point_in_time, help=FORMS)


def point_in_time(text: str) -> float:
    """Unix time; raises argparse's error for what is no point in time."""
    try:
        return moment(text, time.time())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def within(text: str, low: int, high: int) -> int:
    """A whole number; raises argparse's error for anything else, or beyond the bounds."""
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return number


def open_file(name: str, mode: Literal["rb", "wb"], standard: BinaryIO, files: ExitStack) -> BinaryIO:
    """The named file, open as long as `files`; `-` is the standard stream. Raises OSError."""
    return standard if name == STDIO else files.enter_context(Path(name).open(mode))


def refuse(message: str) -> int:
    """Says what is wrong with the call; the exit code for it."""
    print(f"kuro: {message}", file=sys.stderr)
    return 2
