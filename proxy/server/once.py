"""A JSON body of a plain route says each thing once: of a member that is given twice the last would count.

Chat bodies have their own, quicker look at the members that matter (wire/chat.py).
"""

from __future__ import annotations

from typing import Any

from litestar import Request

from proxy.errors import ApiError
from proxy.wire.chat import top_level_keys
from proxy.wire.refusal import NAME_LIMIT


class Once(Request[Any, Any, Any]):
    """litestar's request, but that it reads no body that contradicts itself."""

    async def json(self) -> Any:
        """The decoded body. Raises ApiError 400."""
        found = await super().json()
        if isinstance(found, dict):
            _check(await self.body(), found)
        return found


def _check(body: bytes, found: dict[str, Any]) -> None:
    names = top_level_keys(body)
    if len(names) > len(found):
        name = next(name for name in names if names.count(name) > 1)[:NAME_LIMIT]
        raise ApiError(400, f"`{name}` is given more than once.", code="duplicate_parameter", param=name)
