"""config/*.yml -> Settings, or every problem of all four files at once.

    model_registry.yml   providers and models      registry.py
    intents.yml          what is asked for         (the struct's own shape)
    routing.yml          how a model is chosen     routing.py
    proxy.yml            the server around it      service.py

    file --document--> plain values --reader--> structs --assemble--> Settings

This package alone reads YAML and the environment; the rooms get the frozen values.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.dispatch.policy import BreakerPolicy, HedgePolicy, RetryPolicy, StatsPolicy
from proxy.errors import ConfigError
from proxy.providers import CODECS
from proxy.routing.classify import classifier
from proxy.routing.lexicon import Lexicon
from proxy.routing.likeness import doubtful
from proxy.routing.policy import RoutingPolicy
from proxy.server.policy import AccessPolicy, AdminPolicy, LimitPolicy, ReloadPolicy, ServerPolicy
from proxy.settings import registry, routing, service
from proxy.settings.document import parse
from proxy.settings.entries import RegistryFile
from proxy.settings.ranges import RANGES
from proxy.settings.reader import Reader
from proxy.settings.state import state_folder
from proxy.telemetry.policy import CallsPolicy, LogPolicy, MetricPolicy, RecordPolicy, TracePolicy
from proxy.types import SIMULATED, Model, Price, Provider, Timeouts

__all__ = ["FILES", "Settings", "default_directory", "load"]

REGISTRY, INTENTS, ROUTING, PROXY = FILES = (
    "model_registry.yml",
    "intents.yml",
    "routing.yml",
    "proxy.yml",
)
"""The files of a configuration. Only the registry must be there."""


class Settings(Struct, frozen=True):
    """Everything that an operator sets, checked. Holds secrets: its repr shows none."""

    providers: dict[str, Provider]
    """Those with a ready model, by name."""
    models: tuple[Model, ...]
    """The ready ones, in the registry's order."""
    left_out: tuple[tuple[str, str], ...]
    """(model id, why it isn't ready), such as `set GROQ_API_KEY`."""
    warnings: tuple[str, ...]
    """What works, but may not be what was meant."""
    intents: Lexicon
    routing: RoutingPolicy
    timeouts: Timeouts
    """Those of a model that sets none; `total` is also a call's deadline."""
    retries: RetryPolicy
    hedging: HedgePolicy
    breaker: BreakerPolicy
    stats: StatsPolicy
    server: ServerPolicy
    access: AccessPolicy
    admin: AdminPolicy
    """Its file is where disabled models are kept; None: nowhere."""
    reload: ReloadPolicy
    limits: LimitPolicy
    log: LogPolicy
    records: RecordPolicy
    calls: CallsPolicy
    """Its file is where calls are kept; None: nowhere."""
    trace: TracePolicy
    metric: MetricPolicy
    baseline: Price | None
    """What answers are compared with, to know what routing saved."""
    epoch: str
    """Changes with whatever decides about calls, and only then. No secret goes into it."""

    @property
    def simulated(self) -> bool:
        """No real model is ready: answers are made up."""
        return any(provider.dialect == SIMULATED for provider in self.providers.values())

    def __repr__(self) -> str:
        return f"Settings(epoch={self.epoch!r}, models={[model.id for model in self.models]!r})"


def load(directory: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads a directory, or the configuration that the package carries; the environment is the process's
    own unless one is given.

    Raises ConfigError with all problems of all files, a line each.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    place = default_directory() if directory is None else directory
    files = _Files(place, place.name if directory is None else str(directory), environ, problems)
    lexicon = files.reader(INTENTS).struct(files.document(INTENTS), Lexicon)
    proxy_file = service.assemble(files.document(PROXY), files.reader(PROXY))
    models = registry.assemble(
        files.reader(REGISTRY).struct(files.document(REGISTRY), RegistryFile),
        files.reader(REGISTRY),
        (*CODECS, SIMULATED),
        lexicon.intents,
        proxy_file.timeouts,
    )
    known = routing.Known(
        models=models.names,
        ready={model.id for model in models.models},
        thinks=any(model.reasoning_effort for model in models.models),
        intents=lexicon.intents,
    )
    baseline = service.baseline(proxy_file.file, models.names, models.prices, files.reader(PROXY))
    policy, warnings = routing.assemble(files.document(ROUTING), files.reader(ROUTING), known)
    if not problems:
        problems += _misread(lexicon, files.label(INTENTS))
    if problems:
        raise ConfigError(problems)
    folder = state_folder(environ)
    warnings = (*warnings, *_doubts(lexicon, models.models, files.label(INTENTS)), *files.strays())
    return _settings(models, lexicon, policy, proxy_file, baseline, folder, warnings)


def default_directory(package: Path = Path(__file__).parents[1]) -> Path:
    """The configuration carried by a wheel, else the one beside the package in a checkout."""
    carried = package / "_config"
    return carried if carried.is_dir() else package.parent / "config"


class _Files:
    """The four files: what they hold, and a reader for each that names it in its problems."""

    def __init__(self, place: Path, label: str, environ: Mapping[str, str], problems: list[str]) -> None:
        self._place = place
        self._label = label
        self._readers = {name: Reader(self.label(name), environ, problems, RANGES) for name in FILES}

    def label(self, name: str) -> str:
        return f"{self._label}/{name}"

    def reader(self, name: str) -> Reader:
        return self._readers[name]

    def document(self, name: str) -> Any:
        """The file's values; None when it is empty, missing but optional, or unreadable (reported)."""
        path, report = self._place / name, self.reader(name).problem
        try:
            if name == INTENTS and not os.path.lexists(path):
                path = default_directory() / name
            if thing := _odd(path):
                report("", f"is {thing}: put a file there")
                return None
            return parse(path.read_text("utf-8-sig"), report)
        except FileNotFoundError:
            if path.is_symlink():
                report("", f"is a link to {path.readlink()}, which is not there")
            elif name == REGISTRY:
                report("", f"is missing: `kuro init {self._label}` writes one to start from")
        except UnicodeDecodeError as error:
            report("", f"is not UTF-8 at byte {error.start}: save it as UTF-8")
        except OSError as error:
            report("", f"cannot be read: {error.strerror}")
        return None

    def strays(self) -> list[str]:
        """Files that look like one of ours, misnamed."""
        found = []
        for path in sorted(self._place.glob("*.y*ml")):
            near = get_close_matches(path.name, FILES, n=1, cutoff=0.75)
            if path.name not in FILES and near:
                found.append(f"{self.label(path.name)} is not read (did you mean {near[0]!r}?)")
        return found


def _odd(path: Path) -> str:
    """What stands there instead of a file, if anything. A pipe would be waited for, some devices never end.
    Raises OSError."""
    mode = path.stat().st_mode
    return "" if stat.S_ISREG(mode) else _ODD.get(stat.S_IFMT(mode), "no file")


_ODD = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _misread(lexicon: Lexicon, label: str) -> tuple[str, ...]:
    try:
        classifier(lexicon, label)
    except ConfigError as error:
        return error.problems
    return ()


def _doubts(lexicon: Lexicon, models: Sequence[Model], label: str) -> Iterator[str]:
    """What intents.yml says in vain."""
    fit = {intent for model in models for intent in model.capabilities or lexicon.intents}
    if models and (unfit := [name for name in lexicon.intents if name not in fit]):
        yield f"no ready model has fitness for {', '.join(unfit)}: name them under `capabilities`"
    for name, why in doubtful({name: spec.examples for name, spec in lexicon.intents.items()}):
        yield f"{label}: intents.{name}.{why}"


def _settings(
    models: registry.Registry,
    lexicon: Lexicon,
    policy: RoutingPolicy,
    proxy_file: service.Service,
    baseline: Price | None,
    folder: Path | None,
    warnings: tuple[str, ...],
) -> Settings:
    file = proxy_file.file
    if not models.models:
        warnings = (*warnings, "no model is ready: every call is refused")
    return Settings(
        providers=models.providers,
        models=models.models,
        left_out=models.left_out,
        warnings=warnings,
        intents=lexicon,
        routing=policy,
        timeouts=proxy_file.timeouts,
        retries=file.retries,
        hedging=file.hedging,
        breaker=file.breaker,
        stats=file.stats,
        server=file.listen,
        access=proxy_file.access,
        admin=service.admin(file, folder),
        reload=file.reload,
        limits=file.limits,
        log=file.telemetry.log,
        records=file.telemetry.records,
        calls=service.calls(file, folder),
        trace=file.telemetry.trace,
        metric=file.telemetry.metrics,
        baseline=baseline,
        epoch=_epoch(models, lexicon, policy, file.retries),
    )


def _epoch(models: registry.Registry, lexicon: Lexicon, policy: RoutingPolicy, retries: RetryPolicy) -> str:
    public = [
        replace(provider, api_key=None, headers=dict.fromkeys(provider.headers, ""))
        for provider in models.providers.values()
    ]
    effective = msgspec.json.encode([public, models.models, lexicon, policy, retries], order="deterministic")
    return blake2b(effective, digest_size=6).hexdigest()
