"""What the tables of broken files share: a directory that is right, and a way to break it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.settings import REGISTRY, load

MINIMAL = """
providers:
  stub: {dialect: openai, base_url: http://127.0.0.1:9/v1}
models:
  - {id: a, provider: stub, upstream_model: m}
  - {id: b, provider: stub, upstream_model: m, aliases: [bee]}
"""
SECRET = "hunter2"
ENVIRON = {"WORD": SECRET, "NUMBER": "5"}

Case = tuple[str, str, list[str]]
"""What is broken, the text of the file, what is told (without the file's name)."""


def model(extra: str, id: str = "c") -> str:
    """The minimal registry with a third model."""
    return MINIMAL + f"  - {{id: {id}, provider: stub, upstream_model: m, {extra}}}\n"


def provider(extra: str) -> str:
    """The minimal registry with a second provider."""
    return MINIMAL.replace("models:", f"  other: {{{extra}}}\nmodels:")


def problems(directory: Path, files: Mapping[str, str]) -> list[str]:
    """What is wrong with the directory, without its name."""
    directory.mkdir(exist_ok=True)
    for name, text in ({REGISTRY: MINIMAL} | dict(files)).items():
        (directory / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(directory, ENVIRON)
    assert SECRET not in str(caught.value)
    return [problem.removeprefix(f"{directory}/") for problem in caught.value.problems]
