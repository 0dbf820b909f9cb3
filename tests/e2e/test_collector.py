"""Spans and metrics at OpenTelemetry's own collector, a process that this project did not write."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.kuro import PATIENCE, ROOT, Kuro, model, write_config
from tests.e2e.raw import ask
from tests.stub import StubUpstream, fail, ok

BINARY = ROOT / ".cache" / "otelcol" / "otelcol"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="no collector here: `make collector` builds one")


class Collector:
    """It runs; `text` is what its debug exporter has written so far."""

    def __init__(self, directory: Path, log: Path, ports: dict[str, int]) -> None:
        self.directory = directory
        self.ports = ports
        self._log = log

    @property
    def text(self) -> str:
        return self._log.read_text("utf-8")

    async def until(self, *wanted: str) -> str:
        """Waits until all of these stand in the text."""
        async with asyncio.timeout(PATIENCE):
            while not all(each in self.text for each in wanted):  # noqa: ASYNC110  # another process's file
                await asyncio.sleep(0.02)
        return self.text


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Ports that nobody listened on a moment ago: the collector can't be asked which one it got."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


@contextmanager
def collecting(directory: Path) -> Iterator[Collector]:
    ports = free_ports(("http", "grpc"))
    pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
    config = {
        "receivers": {
            "otlp": {"protocols": {kind: {"endpoint": f"127.0.0.1:{port}"} for kind, port in ports.items()}}
        },
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline, "metrics": pipeline},
        },
    }
    path, log = directory / "collector.yml", directory / "collector.log"
    path.write_text(yaml.safe_dump(config))
    with log.open("wb") as out:
        process = subprocess.Popen([BINARY, "--config", path], stdout=out, stderr=out)
    try:
        yield Collector(directory, log, ports)
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collecting(tmp_path_factory.mktemp("collector")) as it:
        yield it


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_call_arrives_as_spans_and_in_the_metrics(
    collector: Collector, stub: StubUpstream, tmp_path: Path, protocol: str
) -> None:
    await collector.until("Everything is ready")
    begun = len(collector.text)
    stub.script("one", fail(500))
    stub.script("two", ok("Here."))
    url = f"http://127.0.0.1:{collector.ports[protocol]}"
    kinds = ("trace", "/v1/traces"), ("metrics", "/v1/metrics")
    telemetry: dict[str, dict[str, Any]] = {
        kind: {"endpoint": url + path * (protocol == "http"), "protocol": protocol} for kind, path in kinds
    }
    telemetry["trace"] |= {"ratio": 1.0, "service_name": f"kuro-{protocol}"}
    config = write_config(
        tmp_path, stub.url, [model("one", fallback=["two"]), model("two")], proxy={"telemetry": telemetry}
    )
    with Kuro(config) as proxy:
        prompt = {"role": "user", "content": "A secret about to be kept"}
        answer = await ask(
            proxy.port,
            {"model": "one", "messages": [prompt]},
            traceparent=f"00-{TRACE}-{SPAN}-01",
        )
        assert answer.status == 200
        # Its end sends what is still waiting.
    text = (await collector.until(f"service.name: Str(kuro-{protocol})", "llm_requests_total"))[begun:]
    assert re.search(rf"Trace ID +: {TRACE}\n +Parent ID +: {SPAN}\n +ID +: \w+\n +Name +: chat one", text)
    assert len(re.findall(rf"Trace ID +: {TRACE}\n", text)) >= 4  # the call, the decision, both models
    assert "-> gen_ai.request.model: Str(two)" in text and "-> error.type: Str(server_error)" in text
    assert "-> Unit: USD" in text and "AggregationTemporality: Cumulative" in text
    assert re.search(r"-> model: Str\(two\)\n +-> provider: Str\(stub\)", text)
    assert "A secret" not in text and "llm_metric_exports_lost_total" in text
