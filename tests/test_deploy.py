"""What deploy/ says of the project is true: files that are copied, variables that the configuration reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import load

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yml").read_text("utf-8"))
    return dict(compose["services"]["kuro"])


def test_everything_that_the_image_copies_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert {"proxy", "config", "requirements.lock"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_image_starts_a_command_that_exists_and_listens_where_it_is_looked_for() -> None:
    assert 'ENTRYPOINT ["kuro"]' in DOCKERFILE
    assert '"--port", "8080"' in DOCKERFILE
    assert "127.0.0.1:8080/readyz" in DOCKERFILE
    assert "USER kuro" in DOCKERFILE


def test_every_variable_that_is_handed_on_is_one_that_the_configuration_reads(
    service: dict[str, Any],
) -> None:
    read = "".join(path.read_text("utf-8") for path in (ROOT / "config").glob("*.yml"))
    assert [name for name in service["environment"] if f"${{{name}" not in read] == []


def test_the_grace_of_a_stop_is_longer_than_the_drain(service: dict[str, Any]) -> None:
    drain = load(ROOT / "config", {}).server.drain_timeout
    assert float(service["stop_grace_period"].removesuffix("s")) > drain
