"""A JSON body of a plain route says each thing once, and by its own type.

Of a member that is given twice the last would count, and litestar takes "1" for 1 and "true" for true: what
can be read in two ways is not done. Chat bodies have their own, quicker look (wire/chat.py).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec
from litestar import Request

from proxy.errors import ApiError
from proxy.wire.chat import top_level_keys
from proxy.wire.refusal import NAME_LIMIT, bad


class Once(Request[Any, Any, Any]):
    """litestar's request, but that it reads no body that leaves something open."""

    async def json(self) -> Any:
        """The decoded body. Raises ApiError 400."""
        found = await super().json()
        if isinstance(found, dict):
            _check_names(await self.body(), found)
            for kind in body_kinds(self.route_handler.parsed_data_field):
                _check_types(found, kind)
        return found


def body_kinds(body: Any) -> list[type[msgspec.Struct]]:
    """The structs that a route's body may be; `body` is litestar's word for its parameter, or None."""
    kinds = (body, *body.inner_types) if body is not None else ()
    found = [kind.annotation for kind in kinds]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]


def _check_names(body: bytes, found: dict[str, Any]) -> None:
    names = top_level_keys(body)
    if len(names) > len(found):
        name = next(name for name in names if names.count(name) > 1)[:NAME_LIMIT]
        raise bad(f"`{name}` is given more than once.", "duplicate_parameter", name)


def _check_types(found: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    try:
        msgspec.convert(found, kind, strict=True)
    except msgspec.ValidationError as error:
        said = _MISTAKE.fullmatch(str(error))
        if said is not None:  # what isn't about a member, litestar finds and tells, too
            raise _mistaken(said, kind) from None


_MISTAKE = re.compile(r"(.*) - at `\$\.(\w+)`")
"""How msgspec says what is wrong with a member."""


def _mistaken(said: re.Match[str], kind: type[msgspec.Struct]) -> ApiError:
    message, name = said.groups()
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    wanted = types.get(name)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        message += f": it is one of {', '.join(wanted)}"
    return bad(f"{message}.", "invalid_request", name)
