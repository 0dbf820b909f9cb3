"""The command line: `kuro serve | check | explain | eval | calls | replay | init`, also `python -m proxy`.

Exit codes: 0 all is well, 1 some rows or the request were bad, 2 the configuration or the call is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from proxy import __version__
from proxy.commands import calls, check, eval, explain, init, replay, serve
from proxy.commands.options import Run
from proxy.errors import ConfigError

COMMANDS = (serve, check, explain, eval, calls, replay, init)
"""In the order of the help. What a command alone needs is imported when it runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the process's exit code."""
    _open_closed_streams()
    options = _parser(os.environ).parse_args(argv)
    run: Run = options.run
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


def _open_closed_streams() -> None:
    """Whoever starts us with standard streams closed (`>&-`) wants to hear nothing; it is no error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kuro", description="An OpenAI-compatible proxy that routes each request."
    )
    parser.add_argument("--version", action="version", version=f"kuro-proxy {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands, environ)
    return parser


if __name__ == "__main__":
    sys.exit(main())
