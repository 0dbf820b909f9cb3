"""How a body that can't be served is refused: 400s that name the member and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from types import NoneType

from proxy.errors import ApiError

NAME_LIMIT = 100
"""Characters of a name that are said back: callers send what they like."""

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


def unknown(what: str, name: str, known: Iterable[str], param: str | None = None) -> ApiError:
    """A name that nobody reads, as in `parameter`: with those that are read, and the nearest of them."""
    known = list(known)
    near = get_close_matches(name[:NAME_LIMIT], known, n=1, cutoff=0.5)
    there = f"there {'is' if len(known) == 1 else 'are'} {', '.join(known)}" if known else "none is taken"
    hint = f"; did you mean {near[0]!r}?" if near else "."
    message = f"Unknown {what} {name[:NAME_LIMIT]!r}: {there}{hint}"
    return bad(message, "unknown_parameter", (param or name)[:NAME_LIMIT])


def bad(message: str, code: str, param: str | None = None) -> ApiError:
    """Anything else that is wrong."""
    return ApiError(400, message, code=code, param=param)


def name_of(value: object) -> str:
    """What JSON calls a value."""
    return _JSON_NAMES.get(type(value), "something else")
