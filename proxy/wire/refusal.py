"""How a body that can't be served is refused: 400s that name the member and what was expected."""

from __future__ import annotations

from types import NoneType

from proxy.errors import ApiError

_JSON_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    NoneType: "null",
}


def missing(param: str) -> ApiError:
    """A member that must be there isn't."""
    return bad(f"`{param}` is required.", "missing_required_parameter", param)


def wrong_type(param: str, expected: str, value: object) -> ApiError:
    """A member has another JSON type than `expected`, which reads as in `a string or null`."""
    return bad(f"`{param}` must be {expected}, not {name_of(value)}.", "invalid_type", param)


def bad(message: str, code: str, param: str | None = None) -> ApiError:
    """Anything else that is wrong."""
    return ApiError(400, message, code=code, param=param)


def name_of(value: object) -> str:
    """What JSON calls a value."""
    return _JSON_NAMES.get(type(value), "something else")
