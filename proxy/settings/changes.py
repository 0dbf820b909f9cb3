"""What a reload changes: two Settings -> which models and which other paths, what needs a restart.

changes       paths only, for the log
differences   paths with both values, for an operator; of keys and headers only whether they are set
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from proxy.settings import INTENTS, PROXY, REGISTRY, ROUTING, Settings
from proxy.settings.public import public

Get = Callable[[Settings], Any]


class Changes(Struct, frozen=True):
    """The difference between two configurations, for a reader."""

    added: tuple[str, ...] = ()
    """Models that became ready."""
    removed: tuple[str, ...] = ()
    """Models that are ready no more."""
    changed: dict[str, tuple[str, ...]] = {}
    """Model -> its fields that are others now."""
    other: tuple[str, ...] = ()
    """`file: path` of everything else."""
    needs_restart: tuple[str, ...] = ()
    """Of those, what stays as it was until the process is started anew."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.other)


SECTIONS: tuple[tuple[str, str, Get], ...] = (
    (PROXY, "listen", lambda s: s.server),
    (PROXY, "reload", lambda s: s.reload),
    (PROXY, "keys", lambda s: {key.name: key.key for key in s.access.keys}),
    (PROXY, "admin_keys", lambda s: {key.name: key.key for key in s.access.admin_keys}),
    (PROXY, "", lambda s: replace(s.access, keys=(), admin_keys=())),
    (PROXY, "admin", lambda s: s.admin),
    (PROXY, "limits", lambda s: s.limits),
    (PROXY, "timeouts", lambda s: s.timeouts),
    (PROXY, "retries", lambda s: s.retries),
    (PROXY, "hedging", lambda s: s.hedging),
    (PROXY, "breaker", lambda s: s.breaker),
    (PROXY, "stats", lambda s: s.stats),
    (PROXY, "telemetry", lambda s: {"baseline": s.baseline}),
    (PROXY, "telemetry.log", lambda s: s.log),
    (PROXY, "telemetry.records", lambda s: s.records),
    (PROXY, "telemetry.calls", lambda s: s.calls),
    (PROXY, "telemetry.trace", lambda s: s.trace),
    (PROXY, "telemetry.metrics", lambda s: s.metric),
    (ROUTING, "", lambda s: s.routing),
    (INTENTS, "intents", lambda s: s.intents.intents),
    (INTENTS, "", lambda s: replace(s.intents, intents={})),
)
"""(file, path, what stands there)."""

NEEDS_RESTART = (
    "listen",
    "admin",
    "telemetry.log.file",
    "telemetry.calls.enabled",
    "telemetry.calls.file",
    "telemetry.trace.endpoint",
    "telemetry.trace.protocol",
    "telemetry.trace.headers",
    "telemetry.trace.service_name",
    "telemetry.metrics.endpoint",
    "telemetry.metrics.protocol",
    "telemetry.metrics.headers",
)
"""Paths of proxy.yml, with all below them, that are looked at once, at start."""


def changes(old: Settings, new: Settings) -> Changes:
    """What is other in `new`."""
    before, after = ({model.id: model for model in each.models} for each in (old, new))
    both = [id for id in after if id in before]
    other = tuple(f"{file}: {path}" for file, path, _, _ in _other(old, new))
    return Changes(
        added=tuple(id for id in after if id not in before),
        removed=tuple(id for id in before if id not in after),
        changed={id: tuple(_fields(before[id], after[id])) for id in both if before[id] != after[id]},
        other=other,
        needs_restart=tuple(path for path in other if _is_fixed(path.removeprefix(f"{PROXY}: "))),
    )


class Difference(Struct, frozen=True):
    """One path, and what stands there in each. None: nothing."""

    path: str
    """`file: path`."""
    old: Any
    new: Any


def differences(old: Settings, new: Settings) -> tuple[Difference, ...]:
    """All of them, secrets hidden."""
    before, after = ({model.id: model for model in each.models} for each in (old, new))
    models = ((REGISTRY, f"models.{path}", was, now) for path, was, now in _compare(before, after))
    return tuple(
        Difference(f"{file}: {path}", public(path, was), public(path, now))
        for file, path, was, now in (*models, *_other(old, new))
    )


def in_place(old: Settings, new: Settings) -> Settings:
    """`new`, but for what needs a restart, which is as in `old`."""
    trace = replace(old.trace, ratio=new.trace.ratio)
    metric = replace(old.metric, interval=new.metric.interval)
    log = replace(new.log, file=old.log.file)
    calls = replace(new.calls, enabled=old.calls.enabled, file=old.calls.file)
    fixed = {"server": old.server, "admin": old.admin}
    return replace(new, **fixed, log=log, calls=calls, trace=trace, metric=metric)


Found = tuple[str, str, Any, Any]
"""File, path, and what stands there in each."""


def _other(old: Settings, new: Settings) -> Iterator[Found]:
    for path, was, now in _compare(old.providers, new.providers):
        yield REGISTRY, f"providers.{path}", was, now
    for file, path, get in SECTIONS:
        before, after = _mapping(get(old)), _mapping(get(new))
        for field in _fields(before, after):
            yield file, f"{path}.{field}" if path else field, before.get(field), after.get(field)


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Entries that came or went as a whole, of others the fields that differ."""
    for name in dict.fromkeys((*old, *new)):
        if name in old and name in new:
            for field in _fields(old[name], new[name]):
                yield f"{name}.{field}", getattr(old[name], field), getattr(new[name], field)
        else:
            yield name, old.get(name), new.get(name)


def _fields(old: Any, new: Any) -> Iterator[str]:
    """Names of the fields, or keys, whose values differ."""
    before, after = _mapping(old), _mapping(new)
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield name


def _mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    return {name: getattr(value, name) for name in value.__struct_fields__}


def _is_fixed(path: str) -> bool:
    return any(path == fixed or path.startswith(f"{fixed}.") for fixed in NEEDS_RESTART)
