"""ASGI's shapes (https://asgi.readthedocs.io/en/latest/specs/www.html), as the plain routes use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Pair = tuple[bytes, bytes]
"""A header: its name in lower case, and its value."""
