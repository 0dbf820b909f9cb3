"""`${NAME}` and `${NAME:-default}` in strings: what they name, and what becomes of them.

A variable that is set to nothing counts as unset, as in a shell's `:-`; `$${` stands for a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from msgspec import Struct


class Reference(Struct, frozen=True):
    """A string that may come from the environment. A field of this type takes unset variables as they
    come, for whoever reads it to decide; in any other field an unset variable is a problem."""

    text: str = ""
    names: tuple[str, ...] = ()
    """Every variable that the string names."""
    missing: tuple[str, ...] = ()
    """Those that are unset and have no default."""

    def __repr__(self) -> str:
        return f"Reference(names={self.names!r})"


REMEDY = "write ${NAME} or ${NAME:-default}, or $${ for a plain ${"


def holds_reference(text: str) -> bool:
    """Whether there is anything to put in."""
    return "${" in text


def is_whole(text: str) -> bool:
    """The string is one reference and nothing else, so that its value may be of any type."""
    return _WHOLE.fullmatch(text) is not None


def expand(text: str, environ: Mapping[str, str]) -> Reference:
    """Puts the variables in. Raises ValueError at a `${` that is no reference."""
    names: list[str] = []
    missing: list[str] = []

    def put_in(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name, default = found["name"], found["default"]
        if name is None:
            raise ValueError(REMEDY)
        names.append(name)
        value = environ.get(name) or default
        if value is None:
            missing.append(name)
        return value or ""

    return Reference(_VARIABLE.sub(put_in, text), tuple(names), tuple(missing))


def unset(names: Collection[str]) -> str:
    """`set NAME`: what makes a reference whole."""
    return f"set {' and '.join(dict.fromkeys(names))}"


_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\})?")
_WHOLE = re.compile(r"\$\{[^{}]*\}")
