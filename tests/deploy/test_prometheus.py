"""A real Prometheus scrapes the real proxy, whose two workers are driven through good and bad days."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.deploy.dashboards import DASHBOARDS, PROMETHEUS, queries, rules
from tests.deploy.test_dashboards import needs_promtool, promtool
from tests.e2e.kuro import ADMIN, Kuro, model, write_config
from tests.stub import StubUpstream, cut_after, fail, ok

pytestmark = [
    needs_promtool,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is not installed (Debian: prometheus)"
    ),
]

PATIENCE = 40.0


class Prometheus:
    """One that runs, asked over its HTTP API."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **query: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(query)}")
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def ask(self, expression: str) -> list[Any]:
        return list(self.get("query", query=expression)["result"])


@pytest.fixture(scope="module")
def kuro(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    names = ("one", "shaky", "limited", "down", "free", "breaks")
    models = [model(name) for name in names]
    del models[names.index("free")]["price"]
    models[0]["capabilities"] = {"casual_chat": 1.0}
    dear = model("dear", provider="elsewhere", price={"input": 50, "output": 150})
    providers = {"elsewhere": {"dialect": "openai", "base_url": "http://x", "api_key": "${UNSET_KEY}"}}
    with StubUpstream() as stub:
        stub.script("one", ok("Here is a text of a few words.", pace=0.002))
        stub.script("shaky", fail(500))
        stub.script("limited", fail(429, retry_after=1))
        stub.script("down", fail(401))
        stub.script("free", ok("Nobody knows what this costs."))
        stub.script("breaks", cut_after(2))
        config = write_config(
            tmp_path_factory.mktemp("config"),
            stub.url,
            [*models, dear],
            providers=providers,
            proxy={"admin_key": ADMIN, "telemetry": {"baseline": "dear"}},
        )
        with Kuro(config, "--workers", "2") as proxy:
            yield proxy


@pytest.fixture(scope="module")
def prometheus(kuro: Kuro, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    place = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{kuro.port}"]}]
    (place / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    command = [
        "prometheus",
        f"--config.file={place / 'prometheus.yml'}",
        f"--storage.tsdb.path={place / 'data'}",
    ]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        found = Prometheus(port)
        until(lambda: up(found))
        yield found
    finally:
        process.terminate()
        process.wait(20)


def up(prometheus: Prometheus) -> bool:
    try:
        return bool(prometheus.ask("up == 1"))
    except (OSError, ValueError):  # it says so in words while it starts
        return False


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def drive(kuro: Kuro) -> None:
    """Good answers, whole and streamed, and every misfortune that a dashboard shows."""
    hello = [{"role": "user", "content": "Hello, how are you today?"}]
    for body in (
        {"model": "auto"},
        {"model": "auto"},
        {"model": "one", "stream": True},
        {"model": "free"},
        {"model": "shaky"},
        {"models": ["limited", "one"], "model": "limited"},
        {"models": ["down", "one"], "model": "down"},
        {"models": ["breaks", "one"], "model": "breaks", "stream": True},
        {"model": "nobody"},
    ):
        kuro.chat({"messages": hello, **body})


def filled(expression: str) -> str:
    """As Grafana fills in its variables."""
    for name, value in {"$__rate_interval": "15s", "$__range": "15s", "$model": ".*"}.items():
        expression = expression.replace(name, value)
    return expression


def test_every_query_of_the_dashboards_shows_something(kuro: Kuro, prometheus: Prometheus) -> None:
    waiting = [(path.stem, title, query) for path in DASHBOARDS for title, query in queries(path)]
    assert len(waiting) > 40
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline:
        drive(kuro)
        waiting = [row for row in waiting if not prometheus.ask(filled(row[2]))]
    assert not waiting


def test_the_rules_are_evaluated_without_an_error(kuro: Kuro, prometheus: Prometheus) -> None:
    def health() -> dict[str, str]:
        groups = prometheus.get("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    until(lambda: set(health().values()) == {"ok"})
    assert health().keys() == {name for name, _ in rules()}

    def spent() -> Any:
        drive(kuro)
        return prometheus.ask("kuro:spent_usd:rate5m > 0") and prometheus.ask("kuro:saved_usd:rate5m > 0")

    until(spent)


def test_a_key_that_is_refused_once_raises_an_alert(kuro: Kuro, prometheus: Prometheus) -> None:
    drive(kuro)
    fired = 'ALERTS{alertname="KuroKeyRefused", alertstate="firing", provider="stub", kind="auth"}'
    until(lambda: prometheus.ask(fired))


def test_promtool_finds_nothing_in_what_is_exposed(kuro: Kuro) -> None:
    drive(kuro)
    done = promtool("check", "metrics", stdin=kuro.request("GET", "/metrics")[2])
    found = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in found if not line.startswith("circuit_open_gauge ")] == []
