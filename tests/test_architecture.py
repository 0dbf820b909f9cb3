"""The map of the house, held: who may import whom, and what appears in one place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "proxy").rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}

MAY_IMPORT: dict[str, set[str]] = {
    "effort": set(),
    "lot": set(),
    "standstill": set(),
    "types": {"effort", "lot"},
    "record": {"lot", "types"},
    "errors": {"types"},
    "wire": {"types", "errors"},
    "routing": {"effort", "lot", "types", "record", "errors"},
    "telemetry": {"types", "record", "errors"},
    "providers": {"effort", "types", "errors", "wire"},
    "dispatch": {"effort", "standstill", "types", "record", "errors", "wire", "providers"},
    "gateway": {"types", "record", "errors", "wire", "providers", "routing", "dispatch", "telemetry"},
    "server": {"standstill", "types", "record", "errors", "wire", "gateway"},
    "settings": {"effort", "types", "errors", "routing", "providers", "dispatch", "telemetry", "server"},
    "evaluate": {"types", "errors"},
    "commands": {"*"},
    "operate": {"dispatch", "routing", "server"},
    "sharing": {"routing", "server"},
    "routers": {"wire", "routing", "dispatch", "settings"},
    "office": {"*"},
    "trials": {"*"},
    "reload": {"*"},
    "desk": {"*"},
    "app": {"*"},
    "launch": {"*"},
    "__main__": {"*"},
}
"""Room -> the rooms that it may look into. A new room needs a line here."""

ONLY_IN = {
    "httpx": ("proxy.dispatch.stock", "proxy.dispatch.httpx_transport"),
    "litestar": ("proxy.server.*", "proxy.app"),
    "uvicorn": ("proxy.server.*", "proxy.launch"),
    "opentelemetry": ("proxy.telemetry.traces", "proxy.telemetry.otlp"),
    "sqlite3": ("proxy.telemetry.archive", "proxy.telemetry.schema"),
    "yaml": ("proxy.settings.*",),
    "os": ("proxy.settings.*", "proxy.__main__", "proxy.commands.*", "proxy.server.serving"),
    "httptools": ("proxy.dispatch.*", "proxy.server.protocol", "proxy.server.framing"),
    "re2": ("proxy.routing.*", "proxy.telemetry.redaction"),
    "proxy.settings": (
        "proxy.settings",
        "proxy.settings.*",
        "proxy.routers",
        "proxy.office",
        "proxy.trials",
        "proxy.reload",
        "proxy.app",
        "proxy.launch",
        "proxy.commands.*",
    ),
    "proxy.app": ("proxy.app", "proxy.launch"),
}
"""What is imported in few places, so that it can be exchanged there."""

DECIDES = (
    "proxy.effort",
    "proxy.lot",
    "proxy.types",
    "proxy.record",
    "proxy.errors",
    "proxy.wire.*",
    "proxy.routing.*",
    "proxy.providers.*",
    "proxy.evaluate.*",
    "proxy.dispatch.backoff",
    "proxy.dispatch.breaker",
    "proxy.dispatch.circuit",
    "proxy.dispatch.stats",
    "proxy.dispatch.walk",
    "proxy.dispatch.window",
)
"""Rooms that decide: the clock and chance are handed in, and nobody waits."""

READS_THE_CLOCK = {"proxy.routing.explain", "proxy.providers", "proxy.wire.when"}
"""Modules among those that time a decision for a reader, hand the clock to a codec, or read dates."""

LINES = 400


def imports(name: str) -> Iterator[str]:
    """Everything that a module imports, by its full name; `from proxy import x` is `proxy.x`."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: line {node.lineno} imports relatively"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES or node.module == "proxy" else node.module


def room(module: str) -> str:
    return module.split(".")[1]


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def any_of(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) or module == pattern.removesuffix(".*") for pattern in patterns)


HOUSE = [name for name in MODULES if name != "proxy"]


@pytest.mark.parametrize("module", HOUSE)
def test_a_room_looks_only_into_the_rooms_before_it(module: str) -> None:
    own = room(module)
    seen = {room(name) for name in imports(module) if name.startswith("proxy.")} - {own, "__version__"}
    allowed = MAY_IMPORT[own]
    assert allowed == {"*"} or seen <= allowed, f"{module} looks into {sorted(seen - allowed)}"


@pytest.mark.parametrize("package", ONLY_IN)
def test_what_has_one_place_is_imported_nowhere_else(package: str) -> None:
    importers = {name for name in MODULES if any(within(seen, package) for seen in imports(name))}
    strays = {name for name in importers if not any_of(name, ONLY_IN[package])}
    assert not strays, f"{package} belongs into {', '.join(ONLY_IN[package])}, not into {sorted(strays)}"


@pytest.mark.parametrize("module", [name for name in HOUSE if any_of(name, DECIDES)])
def test_a_room_that_decides_is_handed_the_clock_and_chance_and_waits_for_nobody(module: str) -> None:
    barred = {"asyncio", "random", "secrets", "socket", "threading", "uuid"}
    barred |= set() if module in READS_THE_CLOCK else {"time", "datetime"}
    seen = {name.split(".")[0] for name in imports(module)} & barred
    assert not seen, f"{module} imports {sorted(seen)}"
    waits = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]
    assert not waits, f"{module} waits in line {waits[0].lineno}"


def test_no_rooms_import_each_other() -> None:
    edges: dict[str, set[str]] = {}
    for module in HOUSE:
        edges.setdefault(room(module), set()).update(
            room(name) for name in imports(module) if name in MODULES and room(name) != room(module)
        )
    in_order(edges)


def test_no_modules_import_each_other() -> None:
    in_order({name: {seen for seen in imports(name) if seen in MODULES} for name in HOUSE})


def in_order(edges: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    said = ast.get_docstring(TREES[module])
    assert said, f"{module} has no docstring"
    assert said.split("\n")[0].rstrip().endswith((".", ":", "?")), f"{module} begins with half a sentence"


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_longer_than_a_reader_holds(module: str) -> None:
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= LINES, f"{module} has {lines} lines: split it by meaning"


def test_every_room_of_the_map_is_held_by_it() -> None:
    assert {room(module) for module in HOUSE} <= set(MAY_IMPORT)
