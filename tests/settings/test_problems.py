"""A directory as a whole: files missing, unreadable, misnamed, and broken together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.settings import PROXY, REGISTRY, ROUTING, load
from tests.settings.broken import MINIMAL, model, problems


def test_problems_of_all_files_are_told_together(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        {
            REGISTRY: model("weights: {quality: 2}, fallback: [x]").replace(
                "provider: stub", "provider: stbu", 1
            ),
            ROUTING: "ladder: [rules]\ndefault_model: nobody\n",
            PROXY: "listen: {port: -1}\nlimts: {}\n",
        },
    )
    assert found == [
        "proxy.yml: limts: unknown key (did you mean 'limits'?)",
        "proxy.yml: listen.port: -1 is out of range: must be between 0 and 65535",
        "model_registry.yml: models[2].weights.quality: 2 is out of range: must be between 0 and 1",
        "model_registry.yml: models[0].provider: 'stbu' is not a provider (did you mean 'stub'?)",
        "model_registry.yml: models[2].fallback[0]: 'x' is not a model (known: a, b, c, bee)",
        "routing.yml: ladder: can end without an answer: add 'scoring' or 'default'",
        "routing.yml: default_model: 'nobody' is not a model (known: a, b, c, bee)",
    ]


def test_a_missing_registry_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "nowhere", {})
    assert caught.value.problems == (
        f"{tmp_path}/nowhere/model_registry.yml: is missing: "
        f"`kuro init {tmp_path}/nowhere` writes one to start from",
    )


def test_a_file_that_is_no_text_is_told_by_its_byte(tmp_path: Path) -> None:
    (tmp_path / REGISTRY).write_bytes(b"models: \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {})
    assert caught.value.problems == (f"{tmp_path}/{REGISTRY}: is not UTF-8 at byte 8: save it as UTF-8",)


@pytest.mark.parametrize("name", [REGISTRY, PROXY])
@pytest.mark.parametrize(
    ("make", "thing"),
    [
        (lambda path: path.mkdir(), "a directory"),
        (os.mkfifo, "a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
    ids=["a directory", "a pipe that nobody writes to", "a link to a device without end"],
)
def test_what_is_no_file_is_refused_unread(
    tmp_path: Path, name: str, make: Callable[[Path], None], thing: str
) -> None:
    (tmp_path / REGISTRY).write_text(MINIMAL)
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {})
    assert caught.value.problems == (f"{tmp_path}/{name}: is {thing}: put a file there",)


def test_a_misspelt_file_is_warned_of_and_other_files_are_left_in_peace(tmp_path: Path) -> None:
    for name, text in ((REGISTRY, MINIMAL), ("routng.yml", ""), ("compose.yaml", "")):
        (tmp_path / name).write_text(text)
    assert load(tmp_path, {}).warnings == (
        f"{tmp_path}/routng.yml is not read (did you mean 'routing.yml'?)",
    )
