"""ASGI's shapes (https://asgi.readthedocs.io/en/latest/specs/www.html), as the hot route uses them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Head = list[tuple[bytes, bytes]]
"""Response headers, names in lower case."""
