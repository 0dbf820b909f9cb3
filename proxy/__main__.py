"""The command line: `kuro serve | check | explain | init`, also `python -m proxy`.

Exit codes: 0 all is well, 1 some rows or the request were bad, 2 the configuration or the call is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from proxy import __version__
from proxy.batch import Bar, Explain, Tally, explain_rows
from proxy.errors import ApiError, ConfigError
from proxy.settings import FILES, Settings, default_directory, load
from proxy.telemetry.policy import LogLevel
from proxy.types import Model

STDIO = "-"
"""As a file name: standard input or output."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the process's exit code."""
    options = _parser(os.environ).parse_args(argv)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain again when it flushes at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kuro", description="An OpenAI-compatible proxy that routes each request."
    )
    parser.add_argument("--version", action="version", version=f"kuro-proxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    serve = _command(commands, "serve", _serve, "serve until told to stop", environ)
    _option(serve, environ, "--host", None, "H", "address to listen on")
    _option(serve, environ, "--port", _port, "P", "port to listen on; 0 is any free one")
    _option(serve, environ, "--workers", _workers, "N", "processes")
    _option(serve, environ, "--log-level", _level, "L", ", ".join(LogLevel))

    _command(commands, "check", _check, "validate the configuration and say what is ready", environ)

    explain = _command(commands, "explain", _explain, "say how a prompt would be routed", environ)
    explain.add_argument("prompt", nargs="?", help="a single prompt")
    explain.add_argument("--model", default="auto", help="auto, auto:PROFILE or a model (default: auto)")
    explain.add_argument(
        "--input", metavar="FILE", help="rows of {id, prompt} or {id, messages, ...}; - is stdin"
    )
    explain.add_argument("--output", metavar="FILE", default=STDIO, help="where rows go (default: -, stdout)")

    init = commands.add_parser("init", help="write a copy of the default configuration to edit")
    init.add_argument("directory", metavar="DIR", type=Path)
    init.set_defaults(run=_init)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    environ: Mapping[str, str],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help)
    parser.set_defaults(run=run)
    _option(parser, environ, "--config", Path, "DIR", "configuration (default: the one that comes with kuro)")
    return parser


def _option(
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


def _port(text: str) -> int:
    return _within(text, 0, 65535)


def _workers(text: str) -> int:
    return _within(text, 1, 1024)


def _within(text: str, low: int, high: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return number


def _level(text: str) -> str:
    if text.lower() not in list(LogLevel):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(LogLevel)}")
    return text.lower()


# --- serve ---------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    from proxy.launch import serve
    from proxy.settings.footprint import Footprint

    return serve(
        partial(load, options.config),
        host=options.host,
        port=options.port,
        workers=options.workers,
        log_level=options.log_level,
        footprint=Footprint(options.config),
    )


# --- check ---------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    settings = load(options.config)
    width = max(len(id) for id in (*(model.id for model in settings.models), *dict(settings.left_out), ""))
    for model in settings.models:
        print(f"ready     {model.id:{width}}  {_described(model)}")
    for id, reason in settings.left_out:
        print(f"left out  {id:{width}}  {reason}")
    for warning in _warnings(settings):
        print(f"warning   {warning}")
    return 0


def _described(model: Model) -> str:
    price = f"${model.price.input:g} in, ${model.price.output:g} out" if model.price else "price unknown"
    return f"{model.provider:<12}{model.context_window:>9,} tokens  {price}"


def _warnings(settings: Settings) -> tuple[str, ...]:
    from proxy.server.auth import check_listen

    warnings = settings.warnings
    if settings.simulated:
        warnings = (*warnings, "no real model is ready: answers are simulated")
    try:
        check_listen(settings.server.host, settings.access)
    except ConfigError as error:
        warnings = (*warnings, *error.problems)
    return warnings


# --- explain -------------------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> int:
    if (options.prompt is None) == (options.input is None):
        return _refuse("give one prompt, or --input FILE")
    return _explain_one(options) if options.input is None else _explain_file(options)


def _explain_one(options: argparse.Namespace) -> int:
    from proxy.app import explainer

    try:
        decision = explainer(load(options.config))({"model": options.model, "prompt": options.prompt})
    except ApiError as error:
        print(error.message, file=sys.stderr)
        return 1
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(decision), indent=2).decode() + "\n")
    return 0


def _explain_file(options: argparse.Namespace) -> int:
    from proxy.app import explainer

    decide = explainer(load(options.config))
    with ExitStack() as files:
        try:
            _check_apart(options.input, options.output)
            source = _open(options.input, "rb", sys.stdin.buffer, files)
            target = _open(options.output, "wb", sys.stdout.buffer, files)
        except OSError as error:
            return _refuse(f"{error.filename}: {error.strerror}")
        tally = _explain_rows(lambda row: decide({"model": options.model, **row}), source, target)
    if tally.bad:
        print(f"{tally.bad:,} of {tally.rows:,} rows were bad", file=sys.stderr)
    return 1 if tally.bad else 0


def _explain_rows(decide: Explain, source: BinaryIO, target: BinaryIO) -> Tally:
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
        return explain_rows(source, decide, write, complain, bar or (lambda _: None))
    finally:
        if bar:
            bar.clear()


def _check_apart(source: str, target: str) -> None:
    if STDIO not in (source, target) and Path(target).exists() and Path(source).samefile(target):
        raise OSError(0, "is input and output at once", target)


def _open(name: str, mode: Literal["rb", "wb"], standard: BinaryIO, files: ExitStack) -> BinaryIO:
    return standard if name == STDIO else files.enter_context(Path(name).open(mode))


def _size(source: BinaryIO) -> int | None:
    """Bytes to read, or None for what has no end in sight: a pipe, a terminal."""
    return os.fstat(source.fileno()).st_size or None


# --- init ----------------------------------------------------------------------------------------


def _init(options: argparse.Namespace) -> int:
    directory: Path = options.directory
    there = [name for name in FILES if (directory / name).exists()]
    if there:
        return _refuse(f"{directory} already holds {', '.join(there)}: nothing was written")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(default_directory() / name, directory / name)
            print(directory / name)
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}")
    return 0


def _refuse(message: str) -> int:
    print(f"kuro: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
