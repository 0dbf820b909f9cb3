"""`kuro check`: validates the configuration and says what is ready."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from proxy.commands.options import config_option
from proxy.errors import ConfigError
from proxy.settings import Settings, load
from proxy.types import Model


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_check)
    config_option(parser, environ)


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
