"""An upstream that this project did not write: aimock, in front of it the proxy, before that the SDK."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.kuro import ROOT, Kuro, model, write_config

AIMOCK = ROOT / ".cache/aimock/node_modules/@copilotkit/aimock/dist/cli.js"

pytestmark = pytest.mark.skipif(
    not AIMOCK.exists() or shutil.which("node") is None,
    reason="aimock is not installed: `make .cache/aimock` needs npm",
)

FIXTURES = {
    "fixtures": [
        {
            "match": {"userMessage": "hello"},
            "response": {"content": "Hi there! What can I do for you today?"},
        },
        {
            "match": {"userMessage": "weather"},
            "response": {"toolCalls": [{"name": "weather", "arguments": '{"city": "Oslo"}'}]},
        },
    ]
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kuro]:
    directory = tmp_path_factory.mktemp("foreign")
    fixtures = directory / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES))
    with _aimock(fixtures) as url:
        config = write_config(
            directory / "config",
            f"{url}/v1",
            [model("gpt-4o"), model("claude-sonnet-4-5", provider="anthropic", max_output_tokens=4096)],
            providers={"anthropic": {"dialect": "anthropic", "base_url": f"{url}/v1", "api_key": "sk-ant"}},
        )
        with Kuro(config) as kuro:
            yield kuro


class _aimock:  # noqa: N801 - reads as a function
    def __init__(self, fixtures: Path) -> None:
        command = ["node", str(AIMOCK), "--port", "0", "--fixtures", str(fixtures)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> str:
        while True:
            line = self._lines.get(timeout=20)
            if "listening on " in line:
                return line.rpartition("listening on ")[2].strip()

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._reader.join(20)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


@pytest.mark.parametrize("name", ["gpt-4o", "claude-sonnet-4-5"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer(proxy: Kuro, name: str, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    with proxy.client() as client:
        if stream:
            chunks = list(client.chat.completions.create(model=name, messages=messages, stream=True))
            text = "".join(c.choices[0].delta.content or "" for c in chunks)
        else:
            answer = client.chat.completions.create(model=name, messages=messages)
            text = answer.choices[0].message.content or ""
    assert text == "Hi there! What can I do for you today?"


@pytest.mark.parametrize("name", ["gpt-4o", "claude-sonnet-4-5"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_tool_call(proxy: Kuro, name: str, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "weather"}]
    arguments = ""
    with proxy.client() as client:
        if stream:
            for chunk in client.chat.completions.create(
                model=name, messages=messages, tools=[TOOL], stream=True
            ):
                for call in chunk.choices[0].delta.tool_calls or ():
                    assert call.function is not None
                    arguments += call.function.arguments or ""
        else:
            answer = client.chat.completions.create(model=name, messages=messages, tools=[TOOL])
            calls: Any = answer.choices[0].message.tool_calls
            arguments = calls[0].function.arguments
    assert json.loads(arguments) == {"city": "Oslo"}
