"""The raw floor: what a relay costs in Python when it only relays. Everything else is measured by it.

    UPSTREAM=http://127.0.0.1:9000 uvicorn --http httptools --no-access-log tests.bench.floor:app

POST any path: the body goes to the same path upstream; status, content-type and body come back, each read as
one send. No parsing, no logging, no limits.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from proxy.dispatch.pool import Pool
from proxy.dispatch.trouble import Waits

_UPSTREAM = urlsplit(os.environ.get("UPSTREAM", "http://127.0.0.1:9000"))
_POOL = Pool(_UPSTREAM.hostname or "127.0.0.1", _UPSTREAM.port or 80, limit=4096)
_WAITS = Waits(connect=5.0, write=30.0, head=30.0, read=30.0)
_HOST = _UPSTREAM.netloc.encode()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application."""
    if scope["type"] != "http":
        return
    body = await _body(receive)
    head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (
        scope["raw_path"], _HOST, len(body),
    )  # fmt: skip
    response = await _POOL.request(head, body, _WAITS)
    try:
        headers = [field for field in response.headers if field[0] == b"content-type"]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        more = True
        while more:
            data = await response.take()
            more = not response.ended
            await send({"type": "http.response.body", "body": data, "more_body": more})
    finally:
        response.abort()


async def _body(receive: Any) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)
