"""model_registry.yml -> the providers and models that can be called, and why the others can't.

    providers --ready?--> set up, or left out: no key, no address, switched off
    models    --of a ready provider--> real ones; without any, the simulated ones

What must hold of the file is in `registry_checks`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from proxy.effort import Effort
from proxy.settings.entries import ModelEntry, ProviderEntry, RegistryFile
from proxy.settings.reader import Reader
from proxy.settings.reference import unset
from proxy.settings.registry_checks import (
    check_fallbacks,
    check_filled,
    check_model,
    check_provider,
    claim_names,
)
from proxy.types import SIMULATED, Model, Price, Provider, Timeouts


class Registry(Struct, frozen=True):
    """What the file comes to."""

    providers: dict[str, Provider]
    """The ready ones."""
    models: tuple[Model, ...]
    """The ready ones, in the file's order."""
    left_out: tuple[tuple[str, str], ...]
    """(model id, reason)."""
    names: dict[str, str]
    """Every id and alias of the file -> the id."""
    prices: dict[str, Price]
    """By id, also of models that are left out."""


def assemble(
    file: RegistryFile,
    reader: Reader,
    dialects: Collection[str],
    intents: Collection[str],
    timeouts: Timeouts,
) -> Registry:
    """Checks the whole file and sets up what is ready. `timeouts` are those of proxy.yml."""
    if reader.sound():
        check_filled(file, reader)
    for name, provider in file.providers.items():
        check_provider(name, provider, reader, dialects, timeouts)
    names = claim_names(file.models, reader)
    for i, model in enumerate(file.models):
        check_model(model, f"models[{i}]", file, reader, intents, timeouts)
    check_fallbacks(file.models, names, reader)
    return _ready(file, names, timeouts)


# --- what is ready -------------------------------------------------------------------------------


def _ready(file: RegistryFile, names: dict[str, str], timeouts: Timeouts) -> Registry:
    reasons = {name: _unready(provider) for name, provider in file.providers.items()}
    left_out = {model.id: _left_out(model, file.providers, reasons) for model in file.models}
    real = [m for m in file.models if not left_out[m.id] and _dialect(m, file) != SIMULATED]
    if real:
        for model in file.models:
            if not left_out[model.id] and _dialect(model, file) == SIMULATED:
                left_out[model.id] = "real models are ready"
    ready = [model for model in file.models if not left_out[model.id]]
    used = {model.provider for model in ready}
    ids = {model.id for model in ready}
    return Registry(
        providers={name: _provider(name, entry) for name, entry in file.providers.items() if name in used},
        models=tuple(_model(model, file.providers[model.provider], names, ids, timeouts) for model in ready),
        left_out=tuple((id, reason) for id, reason in left_out.items() if reason),
        names=names,
        prices={model.id: model.price for model in file.models if model.price is not None},
    )


def _unready(provider: ProviderEntry) -> str:
    """Why its models are left out, or nothing."""
    if not provider.enabled:
        return "its provider is switched off (enabled: false)"
    key = provider.api_key
    parts = [provider.base_url, *provider.headers.values(), *([key] if key is not None else [])]
    missing = [name for part in parts for name in part.missing]
    if key is not None and not key.text:
        missing += key.names
        if not missing:
            return "its provider's api_key is empty"
    return unset(missing) if missing else ""


def _left_out(model: ModelEntry, providers: Mapping[str, ProviderEntry], reasons: Mapping[str, str]) -> str:
    if not model.enabled:
        return "switched off (enabled: false)"
    return reasons.get(model.provider, "its provider is unknown")


def _dialect(model: ModelEntry, file: RegistryFile) -> str:
    return file.providers[model.provider].dialect


def _provider(name: str, entry: ProviderEntry) -> Provider:
    return Provider(
        name=name,
        dialect=entry.dialect,
        base_url=entry.base_url.text.rstrip("/"),
        api_key=entry.api_key.text if entry.api_key is not None else None,
        headers={header: value.text for header, value in entry.headers.items()},
        transport=str(entry.transport),
        max_connections=entry.max_connections,
        verify=entry.verify,
        forward_headers=tuple(header.lower() for header in entry.forward_headers),
        rename=entry.rename,
    )


def _model(
    entry: ModelEntry,
    provider: ProviderEntry,
    names: Mapping[str, str],
    ready: Collection[str],
    timeouts: Timeouts,
) -> Model:
    fallback = [names.get(name, name) for name in entry.fallback]
    return Model(
        id=entry.id,
        provider=entry.provider,
        upstream_model=entry.upstream_model,
        capabilities=_capabilities(entry),
        aliases=entry.aliases,
        supports=entry.supports,
        context_window=entry.context_window,
        max_output_tokens=entry.max_output_tokens,
        weights=entry.weights,
        price=entry.price,
        fallback=tuple(name for name in fallback if name in ready),
        timeouts=entry.timeouts.over(provider.timeouts.over(timeouts)),
        reasoning_effort=tuple(effort for effort in Effort if effort in entry.reasoning_effort),
    )


def _capabilities(entry: ModelEntry) -> dict[str, float]:
    listed = entry.capabilities
    return dict(listed) if isinstance(listed, dict) else dict.fromkeys(listed, 1.0)
