"""A caller without an SDK: what it sends is what the test says, and it tells a clean end from a cut one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 20.0


@dataclass
class Heard:
    """What came back, and when."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    """The body's end was marked: by its length, or by the last chunk."""
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error's code, whole or as a stream's last event."""
        text = self.body.rpartition(b"data: ")[2] if self.body.startswith(b"data: ") else self.body
        error = json.loads(text).get("error") if text.strip() != b"[DONE]" else None
        return error["code"] if error else None


class Caller:
    """One connection, used again as long as it lasts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: kuro", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def chat(self, body: Mapping[str, Any], **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = json.dumps(body).encode()
        await self.send("POST", "/v1/chat/completions", raw, {"content-type": "application/json", **named})

    async def hear(self) -> Heard:
        """The whole response, or what there was of it when the connection ended."""
        heard, began = Heard(), time.monotonic()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.head(heard)
            if "content-length" in heard.headers:
                heard.body = await self.reader.readexactly(int(heard.headers["content-length"]))
            else:
                async for chunk in self._chunks():
                    heard.body += chunk
            heard.whole = True
        heard.seconds = time.monotonic() - began
        return heard

    async def head(self, heard: Heard) -> None:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        heard.status = int(lines[0].split(" ")[1])
        pairs = (line.partition(":") for line in lines[1:] if line)
        heard.headers = {name.lower(): value.strip() for name, _, value in pairs}

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def ended(self) -> bool:
        """Whether the other side closes, now that all has been heard."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True


@contextlib.asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    """A connection for the length of a `with`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, body: Mapping[str, Any], **headers: str) -> Heard:
    """One call on a connection of its own. `seconds` is from connecting to the end."""
    began = time.monotonic()
    async with asyncio.timeout(60), calling(port) as caller:
        await caller.chat(body, **headers)
        heard = await caller.hear()
    heard.seconds = time.monotonic() - began
    return heard


async def get(port: int, path: str, headers: Mapping[str, str] = {}) -> Heard:
    async with asyncio.timeout(PATIENCE), calling(port) as caller:
        await caller.send("GET", path, headers=headers)
        return await caller.hear()
