"""Who is measured: each is a process, with a config in a temporary directory, in front of the same stub.

kuro     python -m proxy serve    keys, 12 models, classification, scoring, circuits, logs, call log, metrics
silent   the same                 without log lines and call log: what telemetry costs
floor    tests/bench/floor.py     what a relay in Python costs when it does nothing else
nginx    one worker, access log   when it is installed
litellm  one worker, a key        when `make bench-peers` has installed it
portkey  its gateway, no plugin   likewise
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.bench.prompts import bodies

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / ".cache" / "peers"
LITELLM = PEERS / "bin" / "litellm"
PORTKEY = PEERS / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
KEY = "sk-bench"
PATIENCE = {"litellm": 120.0}
"""Seconds that a contender may take until its first answer; 20 for all others."""


@dataclass
class Process:
    """One child in a process group of its own, ended with all its descendants."""

    name: str
    command: list[str]
    port: int
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    head: str = ""
    """Header lines that it wants with each request."""
    streams: bool = True
    """Whether it can stream."""
    started_in: float = 0.0
    """Seconds from its start to its first good answer."""
    _child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits for its first good answer. Raises RuntimeError with its log."""
        with self.log.open("ab") as log:
            began = time.perf_counter()
            self._child = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**_clean_environ(), **self.environ},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._until_answer(began + PATIENCE.get(self.name, 20.0))
        self.started_in = time.perf_counter() - began

    def stop(self) -> None:
        """SIGTERM, and after five seconds SIGKILL for whoever is left of the group."""
        if self._child is None or self._child.poll() is not None:
            return
        os.killpg(self.pid, signal.SIGTERM)
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()

    @property
    def pid(self) -> int:
        assert self._child
        return self._child.pid

    def _until_answer(self, deadline: float) -> None:
        while not answers(self.port, self.head):
            if self._ended() or time.perf_counter() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} gave no answer:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.005)

    def _ended(self) -> bool:
        return self._child is not None and self._child.poll() is not None


def answers(port: int, head: str = "") -> bool:
    """Whether a chat with these header lines is answered with 200 there."""
    body = next(bodies("auto"))
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    headers |= dict(line.split(": ", 1) for line in head.splitlines())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return response.status == 200


def floor(upstream: int, place: Path) -> Process:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--http", "httptools", "--loop", "uvloop", "--no-access-log"]
    command += ["--log-level", "warning", "--backlog", "4096", "tests.bench.floor:app", "--port", str(port)]
    environ = {"UPSTREAM": f"http://127.0.0.1:{upstream}"}
    return Process("floor", command, port, place / "floor.log", environ)


def kuro(upstream: int, place: Path) -> Process:
    log, calls = {"file": str(place / "calls.log")}, {"file": str(place / "calls.db")}
    return _kuro("kuro", upstream, place, {"log": log, "calls": calls})


def silent(upstream: int, place: Path) -> Process:
    quiet = {"file": str(place / "silent-calls.log"), "calls": False, "level": "warning"}
    return _kuro("silent", upstream, place, {"log": quiet, "calls": {"enabled": False, "recent": 0}})


def _kuro(name: str, upstream: int, place: Path, telemetry: dict[str, object]) -> Process:
    port = free_port()
    config = place / name
    config.mkdir(exist_ok=True)
    _write_yaml(config / "model_registry.yml", _registry(upstream))
    _write_yaml(config / "routing.yml", {"cache": {"ttl": 300, "size": 10_000}})
    _write_yaml(
        config / "proxy.yml",
        {
            "keys": [{"name": "bench", "key": KEY}, {"name": "other", "key": "sk-other"}],
            "admin_key": "sk-admin",
            "limits": {"max_in_flight": 8192},
            "telemetry": telemetry,
        },
    )
    shutil.copy(ROOT / "config" / "intents.yml", config)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return Process(name, command, port, place / f"{name}.log")


def nginx(upstream: int, place: Path) -> Process | None:
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        return None
    port = free_port()
    config = place / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{kind}_temp_path {place}/{kind};" for kind in _NGINX_TEMPORARY)
    config.write_text(
        _NGINX.format(place=place, port=port, upstream=upstream, user=user, temporary=temporary), "utf-8"
    )
    command = [binary, "-p", str(place), "-c", str(config), "-e", str(place / "nginx-error.log")]
    return Process("nginx", command, port, place / "nginx.log")


def litellm(upstream: int, place: Path) -> Process | None:
    if not LITELLM.exists():
        return None
    port = free_port()
    config = place / "litellm.yaml"
    parameters = {"model": "openai/stub", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-up"}
    _write_yaml(
        config,
        {
            "model_list": [{"model_name": "auto", "litellm_params": parameters}],
            "general_settings": {"master_key": KEY},
        },
    )
    command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False"]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    return Process("litellm", command, port, place / "litellm.log", environ)


def portkey(upstream: int, place: Path) -> Process | None:
    node = shutil.which("node")
    if node is None or not PORTKEY.exists():
        return None
    port = free_port()
    head = f"x-portkey-provider: openai\r\nx-portkey-custom-host: http://127.0.0.1:{upstream}/v1\r\n"
    command = [node, str(PORTKEY), f"--port={port}", "--headless"]
    environ = {"NODE_ENV": "production"}
    # 1.15.2 as npm installs it answers every stream with 500 (`TypeError: immutable`).
    return Process("portkey", command, port, place / "portkey.log", environ, head, streams=False)


MAKERS: dict[str, Callable[[int, Path], Process | None]] = {
    "kuro": kuro,
    "silent": silent,
    "floor": floor,
    "nginx": nginx,
    "litellm": litellm,
    "portkey": portkey,
}


def stub() -> tuple[subprocess.Popen[str], int]:
    """The stub upstream in a process of its own, and its port."""
    command = [sys.executable, "-m", "tests.bench.upstream"]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


_INTENTS = ("casual_chat", "code_generation", "complex_reasoning", "writing", "translation", "factual_qa")


def _registry(upstream: int) -> dict[str, object]:
    """Twelve models that differ in everything that scoring weighs, behind two providers."""
    names = ("left", "right")
    provider = {"dialect": "openai", "base_url": f"http://127.0.0.1:{upstream}/v1", "max_connections": 4096}
    return {
        "providers": {name: {**provider, "api_key": f"sk-{name}"} for name in names},
        "models": [
            {
                "id": f"{names[number % 2]}/model-{number}",
                "provider": names[number % 2],
                "upstream_model": f"stub-model-{number}",
                "capabilities": {
                    intent: (number * 7 + at * 3) % 10 / 10 for at, intent in enumerate(_INTENTS)
                },
                "supports": ["tools", "json_schema"],
                "context_window": 32_768 << number % 3,
                "weights": {"quality": 0.4 + number * 0.05, "latency": 0.95 - number * 0.05},
                "price": {"input": 0.1 + number * 0.4, "output": 0.4 + number * 1.2},
            }
            for number in range(12)
        ],
    }


_NGINX_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_NGINX = """
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
{user}
events {{ worker_connections 8192; }}
http {{
  {temporary}
  access_log {place}/nginx-access.log;
  keepalive_requests 1000000;
  upstream stub {{ server 127.0.0.1:{upstream}; keepalive 4096; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://stub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def _write_yaml(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(yaml.safe_dump(dict(value), sort_keys=False), "utf-8")


def _clean_environ() -> dict[str, str]:
    """The environment without what would configure a contender from outside."""
    strays = ("KURO_", "LITELLM_", "OTEL_")
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(strays) and not name.endswith("_API_KEY") and name.lower() not in proxies
    }
