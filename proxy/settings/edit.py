"""Sets one value in the text of a YAML file, and leaves every other character of it as it is.

    text, [profiles, balanced, cost], "0.5" --> text

Nothing is trusted: what comes out is read again, and must say what went in but for that value.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import yaml

from proxy.settings.document import closed, compose, opened, parse
from proxy.settings.reference import holds_reference


def put(text: str, path: Sequence[str], value: str) -> str:
    """`text` with `value`, written as in YAML, at `path`. A member that isn't there is added to its mapping.

    Raises ValueError, saying where and what to do, where the file is written in a way that doesn't allow it.
    """
    at = ".".join(path)
    before = _read(text, at)
    made = opened(_put(closed(text), path, value))
    if _read(made, at) != _with(before, path, _read(value, at)):
        raise ValueError(f"{at}: can't be changed where it stands (an alias?): write it out")
    return made


def _put(source: str, path: Sequence[str], value: str) -> str:
    node: Any = compose(source)
    for depth, name in enumerate(path):
        if not isinstance(node, yaml.MappingNode):
            raise ValueError(
                f"{'.'.join(path[:depth])}: is no mapping that could be changed: write it as one"
            )
        found = next((its for key, its in node.value if key.value == name), None)
        if found is None:
            return _inserted(source, node, path[depth:], value, depth == 0)
        node = found
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and holds_reference(opened(node.value)):
        raise ValueError(f"{'.'.join(path)}: comes from the environment: change it there")
    return source[:start] + value + source[end:]


def _inserted(source: str, node: yaml.MappingNode, names: Sequence[str], value: str, root: bool) -> str:
    for name in reversed(names[1:]):
        value = f"{{{name}: {value}}}"
    entry = f"{names[0]}: {value}"
    if node.flow_style:
        place = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        return source[:place] + (", " if node.value else "") + entry + source[place:]
    if root:
        return source + ("" if source.endswith("\n") else "\n") + entry + "\n"
    index, column = node.value[0][0].start_mark.index, node.value[0][0].start_mark.column
    return f"{source[:index]}{entry}\n{' ' * column}{source[index:]}"


def _with(values: Any, path: Sequence[str], value: Any) -> Any:
    changed = deepcopy(values)
    holder = changed
    for name in path[:-1]:
        holder = holder.setdefault(name, {})
    holder[path[-1]] = value
    return changed


def _read(text: str, at: str) -> Any:
    problems: list[str] = []
    values = parse(text, lambda place, problem: problems.append(f"{place or at}: {problem}"))
    if problems:
        raise ValueError(problems[0])
    return values
