"""What a reload changes: two Settings -> which models and which other paths, what needs a restart.

Paths only, never values: keys and headers are among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from proxy.settings import INTENTS, PROXY, REGISTRY, ROUTING, Settings

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
    other = tuple(f"{file}: {path}" for file, path in _other(old, new))
    return Changes(
        added=tuple(id for id in after if id not in before),
        removed=tuple(id for id in before if id not in after),
        changed={id: tuple(_fields(before[id], after[id])) for id in both if before[id] != after[id]},
        other=other,
        needs_restart=tuple(path for path in other if _is_fixed(path.removeprefix(f"{PROXY}: "))),
    )


def in_place(old: Settings, new: Settings) -> Settings:
    """`new`, but for what needs a restart, which is as in `old`."""
    trace = replace(old.trace, ratio=new.trace.ratio)
    metric = replace(old.metric, interval=new.metric.interval)
    log = replace(new.log, file=old.log.file)
    calls = replace(new.calls, enabled=old.calls.enabled, file=old.calls.file)
    fixed = {"server": old.server, "admin": old.admin}
    return replace(new, **fixed, log=log, calls=calls, trace=trace, metric=metric)


def _other(old: Settings, new: Settings) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys((*old.providers, *new.providers)):
        path = f"providers.{name}"
        if name in old.providers and name in new.providers:
            for field in _fields(old.providers[name], new.providers[name]):
                yield REGISTRY, f"{path}.{field}"
        else:
            yield REGISTRY, path
    for file, path, get in SECTIONS:
        for field in _fields(get(old), get(new)):
            yield file, f"{path}.{field}" if path else field


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
