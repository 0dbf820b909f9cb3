"""The proxy that is soaked: its configuration, with every bounded store small, and its process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import Any

from tests.bench.contenders import ROOT
from tests.e2e import raw
from tests.e2e.kuro import ADMIN, model, write_config
from tests.soak.upstream import JUDGE, STOCK

KEYS = ("sk-soak-of-alice", "sk-soak-of-bob", "sk-soak-of-carol")
EXTRA = "extra"
"""The model that every other reload brings, and takes away again."""
ASKED = 100
"""Questions to the call log at once. Python's pool has 4 threads more than there are cores, 32 at most."""
PATIENCE = 60.0
"""Seconds for the process to start or to end."""

_LIMITS = {"connect": 2, "first_token": 1, "idle": 1, "total": 8}


def _model(name: str, **fields: Any) -> dict[str, Any]:
    return model(name, **{"context_window": 2_000_000, "timeouts": _LIMITS, **fields})


MODELS = (
    _model("one"),
    _model("two", supports=["tools", "json_schema", "prefill"], fallback=["one"]),
    _model("three", weights={"quality": 0.8, "latency": 0.3}, price={"input": 9.0, "output": 20.0}),
    _model("claude", provider="claude", supports=["tools"]),
    _model(STOCK, provider="stock", fallback=["one", "two"]),
    _model(JUDGE, capabilities={}, weights={"quality": 0.0, "latency": 0.0}),
)
NAMES = tuple(entry["id"] for entry in MODELS if entry["id"] != JUDGE)


def write(directory: Path, upstream: int, number: int = 0) -> Path:
    """The configuration for the time after reload `number`: another price, and one model more or less."""
    url = f"http://127.0.0.1:{upstream}/v1"
    first = {**MODELS[0], "price": {"input": 1.0 + number % 7, "output": 2.0}}
    extra = [_model(EXTRA)] if number % 2 else []
    return write_config(
        directory,
        url,
        [first, *MODELS[1:], *extra],
        providers={
            "claude": {"dialect": "anthropic", "base_url": url, "api_key": "sk-ant-upstream"},
            "stock": {
                "dialect": "openai",
                "base_url": url,
                "api_key": "sk-stock",
                "transport": "httpx",
            },
        },
        proxy={
            "keys": [{"name": key.rpartition("-")[2], "key": key} for key in KEYS],
            "admin_key": ADMIN,
            "limits": {"max_in_flight": 30},
            "listen": {"drain_timeout": 5},
            "telemetry": {"log": {"file": str(directory / "kuro.log")}},
        },
        routing={
            "cache": {"size": 500},
            "sticky": {"size": 1000},
            "judge": {"enabled": True, "model": JUDGE, "cache_size": 500},
        },
    )


class Kuro:
    """The process. Ended by `stop`, or killed at the end of a `with`."""

    def __init__(self, process: Process, port: int, log: Path) -> None:
        self._process = process
        self.pid = process.pid
        self.port = port
        self.log = log

    @classmethod
    async def start(cls, config: Path) -> Kuro:
        """Starts it and waits until it listens. Raises TimeoutError."""
        strays = ("KURO_", "OTEL_")
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(strays) and not name.endswith("_API_KEY")
        }
        log = config / "kuro.log"
        log.unlink(missing_ok=True)
        command = ["-m", "proxy", "serve", "--config", str(config), "--port", "0"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, env=clean, stdin=DEVNULL
        )
        async with asyncio.timeout(PATIENCE):
            while (port := _listening(log)) is None:  # noqa: ASYNC110  # another process's file
                await asyncio.sleep(0.02)
        return cls(process, port, log)

    def reload(self) -> None:
        """Tells it to read its configuration again."""
        self._process.send_signal(signal.SIGHUP)

    async def fill_pool(self) -> None:
        """Asks for more at once than the event loop's pool has threads: they stay as long as the process.

        Left alone it gets one when a reload finds the last one still busy with what came before it, which may
        be after an hour. Raises TimeoutError.
        """
        async with asyncio.TaskGroup() as asking:
            for _ in range(ASKED):
                asking.create_task(raw.get(self.port, "/admin/v1/calls?limit=500", {"x-admin-key": ADMIN}))

    async def stop(self) -> int:
        """SIGTERM; its exit code. Raises TimeoutError."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    def kill(self) -> None:
        """For when something has gone wrong."""
        if self._process.returncode is None:
            self._process.kill()


def _listening(log: Path) -> int | None:
    if not log.exists():
        return None
    for text in log.read_text().splitlines(keepends=True):
        if text.endswith("\n") and (line := json.loads(text)).get("event") == "listening":
            return int(line["url"].rpartition(":")[2])
    return None
