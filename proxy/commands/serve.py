"""`kuro serve`: serves until told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial

from proxy.commands.options import Commands, command, option, within
from proxy.settings import load
from proxy.telemetry.policy import LogLevel


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Adds the command."""
    serve = command(commands, "serve", _serve, "serve until told to stop", environ)
    option(serve, environ, "--host", None, "H", "address to listen on")
    option(serve, environ, "--port", _port, "P", "port to listen on; 0 is any free one")
    option(serve, environ, "--workers", _workers, "N", "processes")
    option(serve, environ, "--log-level", _level, "L", ", ".join(LogLevel))


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


def _port(text: str) -> int:
    return within(text, 0, 65535)


def _workers(text: str) -> int:
    return within(text, 1, 1024)


def _level(text: str) -> str:
    if text.lower() not in list(LogLevel):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(LogLevel)}")
    return text.lower()
