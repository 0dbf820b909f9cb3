"""`kuro init`: writes a copy of the default configuration to edit."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

from proxy.commands.options import refuse
from proxy.settings import FILES, default_directory


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_init)
    parser.add_argument("directory", metavar="DIR", type=Path)


def _init(options: argparse.Namespace) -> int:
    directory: Path = options.directory
    there = [name for name in FILES if (directory / name).exists()]
    if there:
        return refuse(f"{directory} already holds {', '.join(there)}: nothing was written")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(default_directory() / name, directory / name)
            print(directory / name)
    except OSError as error:
        return refuse(f"{error.filename}: {error.strerror}")
    return 0
