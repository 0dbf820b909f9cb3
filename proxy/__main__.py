"""The command line: `kuro serve | check | explain | eval | tune | ...`, also `python -m proxy`.

Exit codes: 0 all is well, 1 some rows or the request were bad, 2 the configuration or the call is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from proxy import __version__

COMMANDS = {
    "serve": "serve until told to stop",
    "check": "validate the configuration and say what is ready",
    "explain": "say how a prompt would be routed",
    "eval": "measure how good decisions are",
    "tune": "look for better weights of a profile, and apply them if they are",
    "calls": "say what became of former calls",
    "replay": "say what another configuration would have decided",
    "init": "write a copy of the default configuration to edit",
}
"""Name, which is its room's, too -> what it does. Only the room of the one that is called is imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the process's exit code. Ctrl-C ends it without a word, also while it starts."""
    try:
        _open_closed_streams()
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int:
    options = _parser(argv, os.environ).parse_args(argv)
    from proxy.errors import ConfigError

    try:
        code: int = options.run(options)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has enough. Python would complain again when it flushes at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        return 1
    return code


def _open_closed_streams() -> None:
    """Whoever starts us with standard streams closed (`>&-`) wants to hear nothing; it is no error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


def _parser(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Of all commands, with the options of the one that `argv` calls."""
    parser = argparse.ArgumentParser(
        prog="kuro", description="An OpenAI-compatible proxy that routes each request."
    )
    parser.add_argument("--version", action="version", version=f"kuro-proxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    called = next((word for word in argv if not word.startswith("-")), "")
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name == called:
            import_module(f"proxy.commands.{name}").add(command, environ)
    return parser


if __name__ == "__main__":
    sys.exit(main())
