"""What of a configuration may be shown: all but the secrets, of which only whether they are set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.settings import Settings
from proxy.types import Provider

SET = "(set)"
"""In place of a secret."""
SECRETS = ("keys", "admin_key", "admin_keys", "telemetry.trace.headers", "telemetry.metrics.headers")
"""Paths of proxy.yml that hold nothing else."""
_OF_PROVIDERS = (".api_key", ".headers")


def registry(settings: Settings) -> dict[str, Any]:
    """Providers and models in force, and those that are left out."""
    return {
        "object": "registry",
        "epoch": settings.epoch,
        "simulated": settings.simulated,
        "providers": {name: _provider(each) for name, each in settings.providers.items()},
        "models": [_plain(model) for model in settings.models],
        "left_out": [{"id": model, "reason": reason} for model, reason in settings.left_out],
        "warnings": settings.warnings,
    }


def public(path: str, value: Any) -> Any:
    """A value that stands at this path, as it may be shown."""
    if isinstance(value, Provider):
        return _provider(value)
    if path.startswith("providers.") and path.endswith(_OF_PROVIDERS):
        return _hidden(value)
    secret = any(path == each or path.startswith(f"{each}.") for each in SECRETS)
    return _hidden(value) if secret else _plain(value)


def _provider(provider: Provider) -> dict[str, Any]:
    shown = _plain(provider)
    return {**shown, "api_key": _hidden(provider.api_key), "headers": _hidden(provider.headers)}


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict.fromkeys(value, SET)
    return SET if value else None


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, order="deterministic")
