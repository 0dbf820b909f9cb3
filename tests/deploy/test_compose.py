"""What deploy/ says of the project is true: files that are copied, variables that the configuration reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.settings import load
from proxy.settings.state import state_folder

ROOT = Path(__file__).parents[2]
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


def test_what_is_to_outlive_a_container_is_in_a_volume_that_its_user_may_write(
    service: dict[str, Any],
) -> None:
    state = "/var/lib/kuro"
    home = dict(re.findall(r"(\w+)=(\S+)", "".join(re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE))))
    assert state_folder(home) == Path(state)
    assert f"install -d -m 700 -o kuro -g kuro {state}\n" in DOCKERFILE
    assert f"\nVOLUME {state}\n" in DOCKERFILE
    assert service["read_only"] is True
    assert service["volumes"] == [f"kuro-state:{state}"]


# --- Prometheus and Grafana beside it ------------------------------------------------------------

DEPLOY = ROOT / "deploy"
BESIDE = yaml.safe_load((DEPLOY / "compose.observability.yml").read_text("utf-8"))["services"]


def test_everything_that_is_mounted_is_there() -> None:
    mounted = [volume.split(":")[0] for entry in BESIDE.values() for volume in entry["volumes"]]
    paths = [source for source in mounted if source.startswith(".")]
    assert len(paths) == 3
    assert [source for source in paths if not any((DEPLOY / source).iterdir())] == []


def test_nobody_but_this_machine_reaches_them() -> None:
    ports = [port for entry in BESIDE.values() for port in entry["ports"]]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_each_finds_the_next_by_its_name(service: dict[str, Any]) -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == ["kuro:8080"]
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    sources = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    assert yaml.safe_load(sources.read_text("utf-8"))["datasources"][0]["url"] == "http://prometheus:9090"
    boards = DEPLOY / "grafana" / "provisioning" / "dashboards" / "kuro.yml"
    path = yaml.safe_load(boards.read_text("utf-8"))["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{path}:ro" in BESIDE["grafana"]["volumes"]
