"""The real proxy in a process of its own, as a user starts it, and what a test asks of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml
from openai import OpenAI

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds for a process to start or end on a busy machine."""

ADMIN = "sk-admin-of-the-tests"
Model = dict[str, Any]


def model(name: str, **fields: Any) -> Model:
    """A registry entry whose upstream name is its id; `stub` provider unless said otherwise."""
    entry: Model = {
        "id": name,
        "provider": "stub",
        "upstream_model": name,
        "capabilities": dict.fromkeys(("casual_chat", "code_generation", "writing", "factual_qa"), 0.5),
        "supports": ["tools", "json_schema", "vision", "logprobs"],
        "context_window": 100_000,
        "price": {"input": 1.0, "output": 2.0},
        "timeouts": {"connect": 2, "first_token": 5, "idle": 2, "total": 30},
    }
    return entry | fields


def write_config(
    directory: Path,
    stub_url: str,
    models: Sequence[Model],
    *,
    providers: Mapping[str, Any] | None = None,
    proxy: Mapping[str, Any] | None = None,
    routing: Mapping[str, Any] | None = None,
) -> Path:
    """A config directory; the intents are the project's own."""
    registry = {
        "providers": {
            "stub": {"dialect": "openai", "base_url": stub_url, "api_key": "sk-upstream"},
            **(providers or {}),
        },
        "models": list(models),
    }
    directory.mkdir(parents=True, exist_ok=True)
    _dump(directory / "model_registry.yml", registry)
    _dump(directory / "proxy.yml", _with_calls(directory, proxy or {}))
    _dump(directory / "routing.yml", routing or {})
    (directory / "intents.yml").write_bytes((ROOT / "config" / "intents.yml").read_bytes())
    return directory


def _with_calls(directory: Path, proxy: Mapping[str, Any]) -> dict[str, Any]:
    """Calls and orders are kept beside the configuration, unless the test says where."""
    telemetry = {"calls": {"file": str(directory / "calls.db")}, **proxy.get("telemetry", {})}
    return {"admin": {"file": str(directory / "orders.json")}, **proxy, "telemetry": telemetry}


def _dump(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(value)), "utf-8")


class Kuro:
    """One running proxy. Its log lines are collected as they are written."""

    def __init__(
        self,
        config: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        descriptors: int | None = None,
    ) -> None:
        """`descriptors` limits how many files and sockets it may hold."""
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        clean = {
            k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("KURO_")
        }
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", "0", *arguments]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._readers = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._readers.start()
        self.url = self.wait_line(lambda line: line.get("event") == "listening")["url"]
        self.port = int(self.url.rpartition(":")[2])

    def __enter__(self) -> Kuro:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ends it as a service manager does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._readers.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def client(self, **options: Any) -> OpenAI:
        """The OpenAI SDK, pointed here; it retries nothing by itself unless told so."""
        settings: dict[str, Any] = {"api_key": "sk-test", "max_retries": 0, "timeout": 20.0} | options
        return OpenAI(base_url=f"{self.url}/v1", **settings)

    def connect(self, timeout: float = PATIENCE) -> http.client.HTTPConnection:
        """A connection of its own, for who wants to read as he pleases."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request by the standard library: status, headers by lower-case name, body."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()
        finally:
            connection.close()

    def chat(self, body: Mapping[str, Any] | bytes, **headers: str) -> tuple[int, dict[str, str], Any]:
        """POST /v1/chat/completions; the body decoded when it is JSON. `x_session_id=...` is a header."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, found, answer = self.request(
            "POST", "/v1/chat/completions", raw, {"content-type": "application/json", **named}
        )
        if found.get("content-type", "").startswith("application/json"):
            return status, found, json.loads(answer)
        return status, found, answer

    def wait_line(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first log line, past or to come, that is wanted."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._find(wanted) or self._ended(), PATIENCE)
            line = self._find(wanted)
        if line is None:
            raise AssertionError(f"no such line ({found!r}) in:\n" + "\n".join(map(str, self._lines[-20:])))
        return line

    def log(self) -> str:
        """Everything that it has written so far, but for the line that says where it listens."""
        with self._changed:
            lines = [line for line in self._lines if line.get("event") != "listening"]
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)

    def record(self, request_id: str) -> dict[str, Any]:
        """The log line of one call."""
        return self.wait_line(lambda line: line.get("request_id") == request_id and "attempts" in line)

    def lines(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The wanted log lines so far."""
        with self._changed:
            return [line for line in self._lines if wanted(line)]

    def admin(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """GET from the admin API, or POST when there is a body; the answer decoded."""
        named = {"x-admin-key": ADMIN, "content-type": "application/json"}
        method, raw = ("GET", None) if body is None else ("POST", json.dumps(body))
        status, _, answer = self.request(method, f"/admin/v1{path}", raw, named)
        assert status == 200, answer
        return json.loads(answer)

    def workers(self) -> list[int]:
        """Pids of those that serve, or will; spawning needs a resource tracker, too, which doesn't."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split() if b"spawn_main" in _command(pid)]

    def circuit(self, name: str) -> dict[str, Any]:
        """The circuit of a model as the admin API shows it; one that was never asked has none."""
        found: dict[str, Any] = self.admin(f"/models/{name}")["circuit"] or {"state": "closed", "failures": 0}
        return found

    def reset(self, *names: str) -> None:
        """Closes the circuits and gates of these models, all when none is named."""
        for name in names or [entry["id"] for entry in self.admin("/models")["data"]]:
            self.admin(f"/models/{name}/circuit", {"action": "reset"})

    def records(self) -> list[dict[str, Any]]:
        """All calls' log lines, once the process has ended."""
        self._readers.join(PATIENCE)
        return [line for line in self._lines if line.get("event") == "call"]

    def _find(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        return next((line for line in self._lines if wanted(line)), None)

    def _ended(self) -> bool:
        return self.process.poll() is not None and not self._readers.is_alive()

    def _read(self, stream: TextIO) -> None:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"text": text.rstrip()}
            with self._changed:
                self._lines.append(line if isinstance(line, dict) else {"text": text})
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _command(pid: str) -> bytes:
    """A process's command line; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


@contextlib.contextmanager
def running(config: Path, *arguments: str, **options: Any) -> Iterator[Kuro]:
    """A proxy for the length of a `with`."""
    with Kuro(config, *arguments, **options) as kuro:
        yield kuro


@contextlib.contextmanager
def in_background(work: Callable[[], object]) -> Iterator[None]:
    """Something that another thread does for the length of a `with`, and to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
