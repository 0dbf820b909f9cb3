"""The shapes of model_registry.yml as it is written, before it becomes providers and models."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from proxy.effort import Effort
from proxy.settings.reference import Reference
from proxy.types import Need, Price, Priors, Timeouts


class Transport(StrEnum):
    """How connections are made. Unlike `http1`, `httpx` knows HTTP(S) proxies and HTTP/2."""

    HTTP1 = "http1"
    HTTPX = "httpx"


class TimeoutsEntry(Struct, frozen=True):
    """Limits in seconds; what isn't given comes from the provider, then from proxy.yml."""

    connect: float | None = None
    first_token: float | None = None
    idle: float | None = None
    total: float | None = None

    def over(self, base: Timeouts) -> Timeouts:
        """`base` with whatever is given here in its place."""
        names = self.__struct_fields__
        return Timeouts(*(getattr(base if getattr(self, name) is None else self, name) for name in names))


class ProviderEntry(Struct, frozen=True):
    """A value of `providers`. One whose key, address or headers name an unset variable is left out."""

    dialect: str
    base_url: Reference = Reference()
    api_key: Reference | None = None
    """Absent: the provider wants none, as a local server does."""
    headers: dict[str, Reference] = {}
    transport: Transport = Transport.HTTP1
    max_connections: int = 512
    verify: bool | str = True
    forward_headers: tuple[str, ...] = ()
    rename: dict[str, str | None] = {}
    """Body field -> its name there; null: it isn't sent."""
    timeouts: TimeoutsEntry = TimeoutsEntry()
    enabled: bool = True


class ModelEntry(Struct, frozen=True):
    """An item of `models`."""

    id: str
    provider: str
    upstream_model: str
    capabilities: dict[str, float] | tuple[str, ...] = ()
    """Intent -> fitness; a plain list means 1.0 each."""
    aliases: tuple[str, ...] = ()
    supports: frozenset[Need] = frozenset()
    context_window: int = 8192
    max_output_tokens: int | None = None
    weights: Priors = Priors()
    price: Price | None = None
    fallback: tuple[str, ...] = ()
    timeouts: TimeoutsEntry = TimeoutsEntry()
    reasoning_effort: frozenset[Effort] = frozenset()
    enabled: bool = True


class RegistryFile(Struct, frozen=True):
    """The whole file."""

    providers: dict[str, ProviderEntry] = {}
    models: tuple[ModelEntry, ...] = ()
