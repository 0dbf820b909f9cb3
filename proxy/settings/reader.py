"""Plain values -> the frozen structs that the rooms declare, with every problem found at once.

    value -> ${NAME} from the environment -> the field's type -> the field's range
                                                  |                   |
                                         problem with file and path, and the reading goes on

Strict: unknown keys, wrong types and numbers out of range are problems; nothing is converted but what
comes whole out of the environment, where everything is text. A field that can't be read gets its
default, so that the rest of the file is still checked. Secrets are never part of a problem.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from math import inf
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

from proxy.settings.document import member
from proxy.settings.reference import REMEDY, Reference, expand, holds_reference, is_whole, unset

T = TypeVar("T")


class Range(Struct, frozen=True):
    """What a number may be. Without one, a field takes 0 and everything above."""

    low: float = 0.0
    high: float = inf
    above: bool = False
    """`low` itself is out of range."""

    def __contains__(self, number: float) -> bool:
        if self.above and number == self.low:
            return False
        return self.low <= number <= self.high and abs(number) < _HUGE

    def __str__(self) -> str:
        if self.high < inf:
            low = f"above {self.low:g} and" if self.above else f"between {self.low:g} and"
            return f"{low} {'at most ' if self.above else ''}{self.high:g}"
        return f"above {self.low:g}" if self.above else f"{self.low:g} or more"


Ranges = Mapping[tuple[type, str], Range]
"""(struct, field) -> what its numbers may be, in lists and mappings too."""

SECRET = frozenset({"api_key", "key", "admin_key", "headers"})
"""Fields whose values no message quotes."""


class Reader:
    """Reads the values of one file. Problems go to a list that the files of a directory share."""

    def __init__(self, file: str, environ: Mapping[str, str], problems: list[str], ranges: Ranges) -> None:
        self._file = file
        self._environ = environ
        self._problems = problems
        self._ranges = ranges
        self._places: set[str] = set()

    def problem(self, at: str, message: str) -> None:
        """Adds one line: file, path inside it, what is wrong and what to do. A path has one problem at
        most, the first: what follows from it is no news."""
        if at not in self._places:
            self._places.add(at)
            place = f"{self._file}: {at}: " if at else f"{self._file}: "
            self._problems.append(place + message)

    def sound(self, at: str = "") -> bool:
        """Nothing was wrong so far at this path, or below it; without a path, in the whole file."""
        if not at:
            return not self._places
        return not any(place == at or place.startswith((f"{at}.", f"{at}[")) for place in self._places)

    def struct(self, value: Any, wanted: type[T], at: str = "") -> T:
        """A struct out of a mapping; what can't be read has its default, or is empty."""
        owner: Any = wanted
        fields = _fields(owner)
        if not isinstance(value, dict):
            if value is not None:
                self.problem(at, f"expected a mapping, not {shown(value)}")
            if not self.sound(at):
                return wanted(**{name: _fallback(field) for name, field in fields.items()})
            value = {}
        for name in value:
            if name not in fields:
                place = member(at, "?" if _KEYLIKE.search(name) else name)
                self.problem(place, f"unknown key{did_you_mean(name, fields)}")
        return wanted(**{name: self._field(value, name, owner, at) for name in fields})

    def _field(self, values: dict[str, Any], name: str, owner: type, at: str) -> Any:
        field = _fields(owner)[name]
        options = _options(field.type)
        value = values.get(name)
        if value is None and (name not in values or type(None) not in options):
            if field.required:
                self.problem(member(at, name), "is missing")
            return _fallback(field)
        limits = _Limits(self._ranges.get((owner, name), _NATURAL), name in SECRET)
        read = self._value(value, options, member(at, name), limits)
        return _fallback(field) if read is _BAD else read

    def _value(self, value: Any, options: tuple[Any, ...], at: str, limits: _Limits) -> Any:
        if isinstance(value, str) and holds_reference(value):
            return self._referred(value, options, at, limits)
        for option in options:
            category = _category(option)
            if type(value) in _ACCEPTS[category]:
                return _READ[category](self, value, option, at, limits)
        self.problem(at, f"expected {_expected(options)}, not {shown(value, limits.secret)}")
        return _BAD

    # --- one reading for each category of type ---

    def _plain(self, value: Any, option: Any, at: str, limits: _Limits) -> Any:
        return value

    def _number(self, value: float, option: Any, at: str, limits: _Limits) -> Any:
        if value not in limits.range:
            wanted = limits.range if abs(value) < _HUGE else "smaller"
            self.problem(at, f"{value!r:.40} is out of range: must be {wanted}")
            return _BAD
        return option(value)

    def _choice(self, value: str, option: type[StrEnum], at: str, limits: _Limits) -> Any:
        choices = [str(choice) for choice in option]
        if value in choices:
            return option(value)
        self.problem(at, f"{shown(value, limits.secret)} is not known{did_you_mean(value, choices)}")
        return _BAD

    def _reference(self, value: str, option: Any, at: str, limits: _Limits) -> Any:
        return Reference(value)

    def _list(self, value: list[Any], option: Any, at: str, limits: _Limits) -> Any:
        items = _options(get_args(option)[0])
        read = [self._value(item, items, f"{at}[{i}]", limits) for i, item in enumerate(value)]
        return get_origin(option)(item for item in read if item is not _BAD)

    def _mapping(self, value: dict[str, Any], option: Any, at: str, limits: _Limits) -> Any:
        items = _options(get_args(option)[1])
        read = {name: self._value(item, items, member(at, name), limits) for name, item in value.items()}
        return {name: item for name, item in read.items() if item is not _BAD}

    def _struct(self, value: dict[str, Any], option: Any, at: str, limits: _Limits) -> Any:
        return self.struct(value, option, at)

    # --- what comes out of the environment ---

    def _referred(self, raw: str, options: tuple[Any, ...], at: str, limits: _Limits) -> Any:
        try:
            found = expand(raw, self._environ)
        except ValueError:
            self.problem(at, f"holds a ${{ that is no reference: {REMEDY}")
            return _BAD
        if Reference in options:
            return found
        if found.missing:
            names = " and ".join(found.missing)
            remedy = f"{unset(found.missing)}, or write ${{{found.missing[0]}:-default}}"
            self.problem(at, f"{names} is not set in the environment: {remedy}")
            return _BAD
        possible = options if is_whole(raw) else _textual(options)
        if not possible:
            self.problem(at, f"expected {_expected(options)}: a reference must stand there alone")
            return _BAD
        return self._converted(found.text, possible, at, limits)

    def _converted(self, text: str, options: tuple[Any, ...], at: str, limits: _Limits) -> Any:
        """Text out of the environment as the first type that it can be; no message quotes it."""
        if not text and type(None) in options:
            return None
        unquoted = _Limits(limits.range, secret=True)
        for option in sorted(options, key=lambda option: _category(option) in _TEXTUAL):
            category = _category(option)
            if category == "list":
                return self._listed(text, option, at, limits)
            value = _FROM_TEXT[category](text) if category in _FROM_TEXT else None
            if value is not None:
                return _READ[category](self, value, option, at, unquoted)
        self.problem(at, f"expected {_expected(options)}, which the environment's value is not")
        return _BAD

    def _listed(self, text: str, option: Any, at: str, limits: _Limits) -> Any:
        items = _options(get_args(option)[0])
        parts = [part.strip() for part in text.split(",") if part.strip()]
        read = [self._converted(part, items, at, limits) for part in parts]
        return get_origin(option)(item for item in read if item is not _BAD)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy in brackets: the nearest known name, or the few that there are, or nothing."""
    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= _FEW else ""


def shown(value: Any, secret: bool = False) -> str:
    """A value for a message: short, and never when it is a secret or looks like one."""
    kind = _KINDS.get(type(value), "")
    if isinstance(value, dict | list):
        return kind
    if secret or _KEYLIKE.search(str(value)):
        return "this value"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return f"{kind} {text}" if kind else repr(text)


class _Limits(Struct, frozen=True):
    """What holds for all values of one field."""

    range: Range
    secret: bool = False


_BAD: Any = object()
"""Could not be read; the problem is reported."""
_NATURAL = Range()
_HUGE = 1e300
_FEW = 12
_SHOWN = 40
_KINDS = {dict: "a mapping", list: "a list", bool: "the boolean", int: "the number", float: "the number"}
_KEYLIKE = re.compile(r"(?i)^(sk|gsk|pk|rk|xai|hf|ghp|bearer)[-_ ]|^[A-Za-z0-9+/=_-]{32,}$")
_TEXTUAL = frozenset({"text", "choice"})

_BY_TYPE = {
    str: "text",
    Reference: "reference",
    bool: "switch",
    int: "integer",
    float: "number",
    type(None): "nothing",
    list: "list",
    tuple: "list",
    frozenset: "list",
    dict: "mapping",
}
_ACCEPTS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "reference": (str,),
    "choice": (str,),
    "switch": (bool,),
    "integer": (int,),
    "number": (int, float),
    "nothing": (type(None),),
    "list": (list,),
    "mapping": (dict,),
    "struct": (dict,),
}
_EXPECTED = {
    "text": "a string",
    "reference": "a string",
    "choice": "a string",
    "switch": "true or false",
    "integer": "an integer",
    "number": "a number",
    "list": "a list",
    "mapping": "a mapping",
    "struct": "a mapping",
}
_READ: dict[str, Callable[[Reader, Any, Any, str, _Limits], Any]] = {
    "text": Reader._plain,
    "reference": Reader._reference,
    "choice": Reader._choice,
    "switch": Reader._plain,
    "integer": Reader._number,
    "number": Reader._number,
    "nothing": Reader._plain,
    "list": Reader._list,
    "mapping": Reader._mapping,
    "struct": Reader._struct,
}
"""How each category of type is read. `_ACCEPTS` says which values may be of it."""


@cache
def _category(option: Any) -> str:
    plain = _BY_TYPE.get(get_origin(option) or option)
    if plain is not None:
        return plain
    return "choice" if issubclass(option, StrEnum) else "struct"


@cache
def _options(wanted: Any) -> tuple[Any, ...]:
    """The members of a union, else the type alone."""
    return get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)


@cache
def _fields(owner: Any) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(owner)}


def _textual(options: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(option for option in options if _category(option) in _TEXTUAL)


def _expected(options: tuple[Any, ...]) -> str:
    said = [_EXPECTED[_category(option)] for option in options if option is not type(None)]
    return " or ".join(dict.fromkeys(said))


def _fallback(field: msgspec.structs.FieldInfo) -> Any:
    """The default; for a required field an empty value, so that the checks go on."""
    if field.default is not NODEFAULT:
        return field.default
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return _blank(_options(field.type)[0])


def _blank(option: Any) -> Any:
    category = _category(option)
    if category == "choice":
        return next(iter(option))
    if category != "struct":
        return (get_origin(option) or option)()
    return option(**{name: _fallback(f) for name, f in _fields(option).items() if f.required})


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[-+]?[0-9]{1,30}", text, re.ASCII) else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_SWITCHES = {
    word: truth
    for truth, words in ((True, "true yes on 1"), (False, "false no off 0"))
    for word in words.split()
}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "text": str,
    "choice": str,
    "switch": lambda text: _SWITCHES.get(text.lower()),
    "integer": _integer,
    "number": _number,
}
"""What text out of the environment can be, by category; None: it can't."""
