"""`kuro serve`: serves until told to stop."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial

from proxy.commands.options import config_option, option, within
from proxy.settings import load
from proxy.telemetry.policy import LogLevel


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_serve)
    config_option(parser, environ)
    option(parser, environ, "--host", None, "H", "address to listen on")
    option(parser, environ, "--port", _port, "P", "port to listen on; 0 is any free one")
    option(parser, environ, "--workers", _workers, "N", "processes")
    option(parser, environ, "--log-level", _level, "L", ", ".join(LogLevel))


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
        config=options.config,
    )


def _port(text: str) -> int:
    return within(text, 0, 65535)


def _workers(text: str) -> int:
    return within(text, 1, 1024)


def _level(text: str) -> str:
    if text.lower() not in list(LogLevel):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(LogLevel)}")
    return text.lower()
