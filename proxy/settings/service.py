"""proxy.yml -> where to listen, who may call and how much, how failures are met, where records go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from proxy.dispatch.policy import BreakerPolicy, HedgePolicy, RetryPolicy, StatsPolicy
from proxy.server.auth import ADMIN
from proxy.server.policy import (
    AccessKey,
    AccessPolicy,
    AdminPolicy,
    LimitPolicy,
    ReloadPolicy,
    ServerPolicy,
)
from proxy.settings.entries import TimeoutsEntry
from proxy.settings.reader import Reader, did_you_mean, shown
from proxy.settings.reference import Reference, unset
from proxy.settings.registry_checks import NAME, NAME_RULE, TOKEN, TOKEN_RULE, check_timeouts, wrong_url
from proxy.telemetry.policy import CallsPolicy, LogPolicy, MetricPolicy, RecordPolicy, TracePolicy
from proxy.telemetry.redaction import redaction
from proxy.types import Price, Timeouts


class KeyEntry(Struct, frozen=True):
    """An item of `keys`. One whose variable has an empty default, `${NAME:-}`, may stay unset."""

    name: str
    key: Reference


class TelemetryEntry(Struct, frozen=True):
    """Where records, messages and spans go."""

    log: LogPolicy = LogPolicy()
    records: RecordPolicy = RecordPolicy()
    calls: CallsPolicy = CallsPolicy()
    trace: TracePolicy = TracePolicy()
    metrics: MetricPolicy = MetricPolicy()
    baseline: str | None = None


class ProxyFile(Struct, frozen=True):
    """The whole file."""

    listen: ServerPolicy = ServerPolicy()
    keys: tuple[KeyEntry, ...] = ()
    admin_key: str | None = None
    admin_keys: tuple[KeyEntry, ...] = ()
    admin: AdminPolicy = AdminPolicy()
    cors_origins: tuple[str, ...] = ()
    metrics_need_key: bool = False
    reload: ReloadPolicy = ReloadPolicy()
    limits: LimitPolicy = LimitPolicy()
    timeouts: TimeoutsEntry = TimeoutsEntry()
    retries: RetryPolicy = RetryPolicy()
    hedging: HedgePolicy = HedgePolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    stats: StatsPolicy = StatsPolicy()
    telemetry: TelemetryEntry = TelemetryEntry()


class Service(Struct, frozen=True):
    """What the file comes to."""

    file: ProxyFile
    access: AccessPolicy
    timeouts: Timeouts


def assemble(document: Any, reader: Reader) -> Service:
    """Reads and checks the whole file."""
    file = reader.struct(document, ProxyFile)
    check_timeouts(file.timeouts, Timeouts(), "timeouts", reader)
    _check_order(file.breaker.open_for, file.breaker.open_cap, "breaker.open_for", "open_cap", reader)
    _check_order(file.retries.base_delay, file.retries.max_delay, "retries.base_delay", "max_delay", reader)
    _check_origins(file.cors_origins, reader)
    _check_collectors(file.telemetry, reader)
    _check_redaction(file.telemetry.calls.redact, reader)
    access = AccessPolicy(
        keys=_keys(file.keys, "keys", reader),
        admin_key=_admin_key(file.admin_key, reader),
        admin_keys=_admin_keys(file, reader),
        cors_origins=file.cors_origins,
        metrics_need_key=file.metrics_need_key,
    )
    return Service(file, access, file.timeouts.over(Timeouts()))


def baseline(
    file: ProxyFile, names: Mapping[str, str], prices: Mapping[str, Price], reader: Reader
) -> Price | None:
    """The price that answers are compared with, of a model that need not be ready.

    `names`: every id and alias of the registry -> the id; where there are none, it has a problem already.
    """
    name = file.telemetry.baseline
    if not name or not names:
        return None
    price = prices.get(names.get(name, name))
    if name not in names:
        reader.problem("telemetry.baseline", f"{shown(name)} is not a model{did_you_mean(name, names)}")
    elif price is None:
        reader.problem("telemetry.baseline", f"{name!r} has no price: give it one in model_registry.yml")
    return price


def calls(file: ProxyFile, folder: Path | None) -> CallsPolicy:
    """The policy with the database's whole path; None where there is to be none, or no place for one."""
    policy = file.telemetry.calls
    path = Path(policy.file).expanduser() if policy.file else folder and folder / "calls.db"
    return replace(policy, file=str(path.absolute()) if path and policy.enabled else None)


def admin(file: ProxyFile, folder: Path | None) -> AdminPolicy:
    """The policy with the whole path of the file; None where there is to be none, or no place for one."""
    policy = file.admin
    path = Path(policy.file).expanduser() if policy.file else folder and folder / "orders.json"
    return replace(policy, file=str(path.absolute()) if path and policy.keep else None)


def _keys(entries: tuple[KeyEntry, ...], place: str, reader: Reader) -> tuple[AccessKey, ...]:
    keys: list[AccessKey] = []
    for i, entry in enumerate(entries):
        at = f"{place}[{i}]"
        wrong = _wrong_key(entry.key) if reader.sound(f"{at}.key") else ""
        if entry.name and not NAME.fullmatch(entry.name):
            reader.problem(f"{at}.name", f"{shown(entry.name)} {NAME_RULE}")
        if any(entry.name == other.name for other in keys):
            reader.problem(f"{at}.name", f"{entry.name!r} stands twice: rename one")
        if wrong:
            reader.problem(f"{at}.key", wrong)
        elif any(entry.key.text == other.key for other in keys):
            reader.problem(f"{at}.key", "is the same as an earlier one: give each name a key of its own")
        elif entry.key.text:
            keys.append(AccessKey(entry.name, entry.key.text))
    return tuple(keys)


def _wrong_key(key: Reference) -> str:
    if key.missing:
        # Left out in silence it would open the house that it was meant to lock.
        names = " and ".join(key.missing)
        return f"{names} is not set in the environment: {unset(key.missing)}, or remove the entry"
    if not key.text and not key.names:
        return "is empty: write a key, or remove the entry"
    return "" if TOKEN.fullmatch(key.text) else TOKEN_RULE


def _admin_keys(file: ProxyFile, reader: Reader) -> tuple[AccessKey, ...]:
    for i, entry in enumerate(file.admin_keys):
        if file.admin_key and entry.name == ADMIN:
            reader.problem(f"admin_keys[{i}].name", f"{ADMIN!r} is the name of admin_key: take another")
    return _keys(file.admin_keys, "admin_keys", reader)


def _admin_key(key: str | None, reader: Reader) -> str | None:
    if key is not None and not TOKEN.fullmatch(key):
        reader.problem("admin_key", TOKEN_RULE)
    return key or None


def _check_order(low: float, high: float, at: str, name: str, reader: Reader) -> None:
    if low > high:
        reader.problem(at, f"{low:g} is more than {name}, {high:g}: lower it")


def _check_origins(origins: tuple[str, ...], reader: Reader) -> None:
    for i, origin in enumerate(origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            reader.problem(
                f"cors_origins[{i}]", f"{shown(origin)} is no origin: write https://chat.example, or '*'"
            )


def _check_collectors(telemetry: TelemetryEntry, reader: Reader) -> None:
    for name, endpoint in (("trace", telemetry.trace.endpoint), ("metrics", telemetry.metrics.endpoint)):
        wrong = wrong_url(endpoint) if endpoint else ""
        if wrong:
            reader.problem(f"telemetry.{name}.endpoint", wrong)


def _check_redaction(patterns: tuple[str, ...], reader: Reader) -> None:
    for i, pattern in enumerate(patterns):
        try:
            redaction([pattern])
        except ValueError as error:
            reader.problem(f"telemetry.calls.redact[{i}]", f"is no RE2 pattern: {error}")


_ORIGIN = re.compile(r"https?://[^/?#\s@]+")
