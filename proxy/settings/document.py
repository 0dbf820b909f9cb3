"""One YAML file as plain values: dict, list, str, int, float, bool and None, and no surprises.

Scalars follow YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3), not 1.1's: `no`, `on` and
`12:30` are strings, only `true` and `false` are booleans. A key that stands twice, a key that isn't a
string, a tag of one's own and a file that refers to itself are problems instead of silent choices.
One thing is added: `${NAME}` needs no quotes, not even between the braces of a flow mapping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

NODE_LIMIT = 100_000
"""Values in one file, counted after aliases are followed: a short file can't unfold without end."""
DEPTH_LIMIT = 50
"""Collections within collections; libyaml's composer recurses on the C stack without asking."""

Report = Callable[[str, str], None]
"""Takes the path inside the file and what is wrong there."""


def parse(text: str, report: Report) -> Any:
    """The values of `text`; None when it is empty or isn't YAML at all, which is reported."""
    source = closed(text)
    try:
        if _depth(source) > DEPTH_LIMIT:
            report("", _TOO_DEEP)
            return None
        root = compose(source)
    except yaml.MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        report(_line(error.problem_mark), f"not YAML: {said}")
        return None
    except yaml.YAMLError:
        report("", "not YAML: it holds a character that YAML doesn't allow")
        return None
    return _Builder(report).value(root, "") if root is not None else None


def closed(text: str) -> str:
    """`text` with every reference in other braces, as YAML can read it."""
    return _BRACES.sub(_OPEN + r"\1" + _CLOSE, text)


def opened(text: str) -> str:
    """The other way."""
    return text.replace(_OPEN, "${").replace(_CLOSE, "}")


def compose(source: str) -> yaml.Node | None:
    """The nodes, with their places in `source`; None when it is empty. Raises YAMLError."""
    root: yaml.Node | None = _Loader(source).get_single_node()
    return root


def member(at: str, name: object) -> str:
    """The path of a mapping's member."""
    return f"{at}.{name}" if at else str(name)


# A brace ends a plain scalar inside `{...}`, so references are parsed with other characters in their
# place: two from the private use area, which no configuration has a use for.
_OPEN, _CLOSE = "\uf5a7", "\uf5a8"
_BRACES = re.compile(r"(?<!\$)\$\{([^{}\n]*)\}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Composes nodes only; the safe loaders' own constructors are never called."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_TAG = "tag:yaml.org,2002:"
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("bool", r"true|True|TRUE|false|False|FALSE", tuple("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", tuple("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", tuple("-+.0123456789")),
)
for _name, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), list(_first))


def _integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": _integer,
    _TAG + "float": float,
    _TAG + "str": opened,
}


_TOO_DEEP = f"is nested more than {DEPTH_LIMIT} levels deep: write it flatter"
_COLLECTIONS = frozenset({_TAG + "seq", _TAG + "map"})


class _Builder:
    """Turns composed nodes into values, keeping the path for whoever has to mend the file."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, at: str) -> Any:
        """What the node stands for; None where that is a problem, which is reported."""
        self._count += 1
        if self._count > NODE_LIMIT:
            if self._count == NODE_LIMIT + 1:
                self._report("", f"holds more than {NODE_LIMIT:,} values: write it without aliases")
            return None
        if id(node) in self._open:
            self._report(at, "refers to itself: write the value out instead of the alias")
            return None
        if len(self._open) > DEPTH_LIMIT:
            self._report("", _TOO_DEEP)
            return None
        self._open.add(id(node))
        try:
            return self._build(node, at)
        finally:
            self._open.discard(id(node))

    def _build(self, node: yaml.Node, at: str) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at)
        if node.tag not in _COLLECTIONS:
            self._report(at, f"the tag {_tag(node)} is not allowed: write a plain value")
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{at}[{i}]") for i, item in enumerate(node.value)]
        return dict(self._members(node, at))

    def _scalar(self, node: yaml.ScalarNode, at: str) -> Any:
        construct = _SCALARS.get(node.tag)
        try:
            if construct is not None:
                return construct(node.value)
            self._report(at, f"the tag {_tag(node)} is not allowed: write a plain value")
        except ValueError:
            self._report(at, f"is not what its tag {_tag(node)} says")
        return None

    def _members(self, node: yaml.Node, at: str) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key, value in node.value:
            name = self.value(key, at)
            if not isinstance(name, str):
                self._report(at, f"the key in {_line(key.start_mark)} is not a string: put it in quotes")
                continue
            if name in seen:
                self._report(member(at, name), f"stands twice, again in {_line(key.start_mark)}: remove one")
            seen.add(name)
            yield name, self.value(value, member(at, name))


def _depth(source: str) -> int:
    deepest = depth = 0
    for event in yaml.parse(source, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if deepest > DEPTH_LIMIT:
            break
    return deepest


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}" if mark is not None else ""
