"""The composition root: from Settings to a running proxy. Knows every room; holds no rule of its own.

Settings --build--> House (router, executor)   made anew for each configuration
                    Engine                     what outlives one: circuits, statistics, memory, sinks
                    Front                      the ASGI application that uvicorn runs
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import random
from typing import Any

import msgspec
import uvicorn
from msgspec.structs import replace

from proxy.dispatch.alarm import Alarms
from proxy.dispatch.backoff import RetryBudget
from proxy.dispatch.breaker import Breakers
from proxy.dispatch.call import cost
from proxy.dispatch.executor import Executor
from proxy.dispatch.hedge import Hedges
from proxy.dispatch.lane import Lane, Upstream, lane
from proxy.dispatch.simulated import SimulatedUpstream
from proxy.dispatch.stats import Stats
from proxy.dispatch.transport import open_upstream
from proxy.errors import ConfigError
from proxy.gateway import Gateway, House
from proxy.providers import CODECS
from proxy.routing.classify import Classifier
from proxy.routing.explain import decide
from proxy.routing.features import prompt_tokens
from proxy.routing.policy import StreamRecovery
from proxy.routing.router import Router, new_memory
from proxy.routing.tokens import estimate
from proxy.server.admission import Admission
from proxy.server.asgi import Front
from proxy.server.auth import Keyring, admin_keyring, check_listen
from proxy.server.chat import ChatRoute
from proxy.server.descriptors import callers_share, raise_limit
from proxy.server.protocol import Protocol
from proxy.server.serving import Server
from proxy.server.site import create_site
from proxy.server.state import Services
from proxy.server.workers import Supervisor
from proxy.settings import Settings
from proxy.telemetry import logs
from proxy.telemetry.baseline import Baseline
from proxy.telemetry.board import Board, open_board, settle
from proxy.telemetry.calls import Recorder
from proxy.telemetry.logs import CallLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.scrape import Scrape
from proxy.telemetry.traces import open_traces
from proxy.types import SIMULATED, Model, Provider
from proxy.wire.chat import parse

logger = logging.getLogger("kuro")

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel may allow less."""


class Engine:
    """One process's proxy: whatever lives as long as it does, and the house of the configuration in force."""

    def __init__(self, settings: Settings, board: Board | None = None) -> None:
        """`board`: where the workers of one proxy add up their counts; None: this process is the only one."""
        self.settings = settings
        self.clock = time.monotonic
        self.started = int(time.time())
        self.admission = Admission(settings.limits, self.clock)
        self.breakers = Breakers(settings.breaker, self.clock, random, self._moved)
        self.stats = Stats(settings.stats, self.clock)
        self.budget = RetryBudget(settings.retries, self.clock)
        self.hedges = Hedges(settings.hedging, self.stats.p95, self.clock)
        self.alarms = Alarms(self.clock)
        self.memory = new_memory(settings.routing, self.clock)
        self.upstreams = {name: _upstream(provider) for name, provider in settings.providers.items()}
        self.metrics = Metrics(
            settings.models,
            settings.intents.intents,
            self.breakers.snapshot,
            self._counted(),
        )
        self.traces = open_traces(settings.trace, random)
        # The baseline goes first: it completes the records for those behind it.
        first = [Baseline(settings.baseline, cost)] if settings.baseline else []
        self.recorder = Recorder(
            settings.records, [*first, CallLog(settings.log), self.metrics, *self.traces]
        )
        self.scrape = Scrape(self.metrics, self.recorder.flush, board)
        self.gateway = Gateway(self._house(settings), self.recorder.emit, self.alarms, self.clock, time.time)

    def _counted(self) -> dict[str, Callable[[], float]]:
        admission = self.admission
        return {
            "llm_records_dropped_total": lambda: self.recorder.dropped,
            "llm_batches_lost_total": lambda: self.recorder.failures,
            "llm_log_lines_lost_total": logs.lost_lines,
            "llm_spans_lost_total": lambda: sum(sink.lost for sink in self.traces),
            "llm_queue_refused_total": lambda: admission.refused,
            "llm_queue_in_flight": lambda: admission.in_flight,
            "llm_queue_waiting": lambda: admission.waiting,
            "llm_connections": lambda: len(admission.connections),
            "llm_tasks": lambda: len(asyncio.all_tasks()),
            "llm_upstream_connections": lambda: sum(
                each.connections.open for each in self.upstreams.values()
            ),
        }

    def front(self) -> Front:
        """The ASGI application."""
        settings = self.settings
        keyring = Keyring(settings.access.keys)
        admin, _ = admin_keyring(settings.access)
        chat = ChatRoute(self.gateway, keyring, settings.access, settings.limits, self.admission)
        # Litestar's own names for ASGI's shapes are narrower than those of `server.types`.
        site: Any = create_site(self._services(keyring, admin), chat)
        return Front(chat, site, self._running())

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with self.scrape, self.recorder:
            try:
                yield
            finally:
                for upstream in self.upstreams.values():
                    await upstream.aclose()

    def _house(self, settings: Settings) -> House:
        return House(
            epoch=settings.epoch,
            router=_router(settings, self),
            executor=self._executor(settings),
            judge=settings.routing.judge,
            judge_intents=tuple(settings.intents.intents),
            deadline=settings.timeouts.total,
        )

    def _executor(self, settings: Settings) -> Executor:
        return Executor(
            lanes={model.id: self._lane(settings, model) for model in settings.models},
            models={model.id: model for model in settings.models},
            alarms=self.alarms,
            breakers=self.breakers,
            observe=self.stats.observe,
            policy=settings.retries,
            budget=self.budget,
            hedges=self.hedges,
            clock=self.clock,
            random=random,
            estimate=estimate,
            weigh=prompt_tokens,
            content_filter_fallback=settings.routing.content_filter_fallback,
            splices=settings.routing.stream_recovery is StreamRecovery.SPLICE,
        )

    def _lane(self, settings: Settings, model: Model) -> Lane:
        provider = settings.providers[model.provider]
        # The simulated models speak OpenAI's dialect; only their way upstream differs.
        dialect = "openai" if provider.dialect == SIMULATED else provider.dialect
        return lane(model, provider, CODECS[dialect], self.upstreams[provider.name])

    def _services(self, keyring: Keyring, admin: Keyring) -> Services:
        return Services(
            access=self.settings.access,
            keyring=keyring,
            admin=admin,
            models=lambda: self.settings.models,
            profiles=lambda: tuple(self.settings.routing.profiles),
            circuits=self.breakers.snapshot,
            observed=self.stats.snapshot,
            open_circuit=self.breakers.force_open,
            close_circuit=self.breakers.force_close,
            reset_circuit=self.breakers.reset,
            metrics=self.scrape.show,
            draining=lambda: self.admission.closed,
            started=self.started,
        )

    def _moved(self, model: str, old: object, new: object, reason: str) -> None:
        self.metrics.moved(model, str(new))
        _tell_transition(model, old, new, reason)


def serve(
    source: Callable[[], Settings],
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    log_level: str | None = None,
) -> int:
    """Runs the proxy until it is told to stop; the process's exit code. Raises ConfigError.

    `source` must be picklable when there is more than one worker: each loads the settings for itself.
    """
    settings = source()
    policy = settings.server
    host = host or policy.host
    check_listen(host, settings.access)
    raise_limit()
    listening = _listen(host, policy.port if port is None else port)
    settings, source = _with_admin_key(settings, source)
    logs.configure(settings.log, log_level)
    workers = workers or policy.workers
    if workers > 1:
        with open_board() as place:
            work = partial(_work, source, log_level, place)
            supervisor = Supervisor(work, listening, workers, policy.drain_timeout, partial(settle, place))
            supervisor.catch_signals()
            _announce(settings, listening)
            return supervisor.run()
    server = _server(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)  # as soon as anybody can know that we are here
    _announce(settings, listening)
    server.run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """From here on callers wait instead of being refused. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        reason = error.strerror or str(error)
        advice = ""
        if error.errno == errno.EADDRINUSE:
            advice = ": end what listens there (a proxy that is being stopped does, until its calls are done)"
        raise ConfigError([f"can't listen on {where}: {reason}{advice}"]) from None


def _work(
    source: Callable[[], Settings],
    log_level: str | None,
    place: Path,
    listening: socket.socket,
    link: Connection[bytes, bytes],
    name: str,
) -> None:
    """One worker among several; `place` is their board's."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # until it serves; the parent tells it to stop, too
    settings = source()
    logs.configure(settings.log, log_level)
    logs.stream(settings.log).shared = True
    _server(settings, link, Board(place, name)).run(sockets=[listening])


def _server(
    settings: Settings, link: Connection[bytes, bytes] | None = None, board: Board | None = None
) -> Server:
    """What serves this configuration, not running yet."""
    engine = Engine(settings, board)
    config = uvicorn.Config(
        engine.front(),
        http=partial(Protocol, limits=settings.limits, keep_alive=settings.server.keep_alive),  # type: ignore[arg-type]
        interface="asgi3",
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )
    _calm_collector()
    return Server(config, engine.admission, settings.server.drain_timeout, link)


def _with_admin_key(
    settings: Settings, source: Callable[[], Settings]
) -> tuple[Settings, Callable[[], Settings]]:
    """Without an admin key one is made, for all workers alike. It is printed once, and never logged."""
    _, made = admin_keyring(settings.access)
    if made is None:
        return settings, source
    sys.stderr.write(f"admin key, good until this process ends: {made}\n")
    return _keyed(settings, made), partial(_load_keyed, source, made)


def _load_keyed(source: Callable[[], Settings], admin_key: str) -> Settings:
    return _keyed(source(), admin_key)


def _keyed(settings: Settings, admin_key: str) -> Settings:
    return replace(settings, access=replace(settings.access, admin_key=admin_key))


def _calm_collector() -> None:
    """What was built at start is not looked at again, and the rest rarely: calls make next to no cycles.

    Measured: a routed call costs 30 % less CPU than with the collector's defaults.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def explainer(settings: Settings) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What `kuro explain` asks for each row: a chat body, or `{"prompt": ...}`. Raises ApiError."""
    router = _router(settings, None).apart()

    def explain(row: Mapping[str, Any]) -> dict[str, Any]:
        return decide(router, parse(msgspec.json.encode(_body(row))))

    return explain


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    body = {"model": "auto", **row}
    if "prompt" in body and "messages" not in body:
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
    return body


def _router(settings: Settings, engine: Engine | None) -> Router:
    """The router; without an engine, one that takes every model for healthy and has seen nothing."""
    lexicon = settings.intents
    return Router(
        settings.routing,
        settings.models,
        [(name, spec.description) for name, spec in lexicon.intents.items()],
        Classifier(lexicon).classify,
        engine.memory if engine else new_memory(settings.routing, time.monotonic),
        engine.breakers.shut if engine else lambda _: frozenset(),
        engine.stats.view if engine else lambda _: None,
        {name: spec.needs for name, spec in lexicon.intents.items()},
    )


def _upstream(provider: Provider) -> Upstream:
    return SimulatedUpstream(time.time) if provider.dialect == SIMULATED else open_upstream(provider)


def _announce(settings: Settings, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    logger.info(
        "Kuro is listening on %s with %d models",
        url,
        len(settings.models),
        extra={"event": "listening", "url": url},
    )
    for warning in settings.warnings:
        logger.warning("%s", warning)
    if callers_share() < settings.limits.max_in_flight:
        logger.warning(
            "descriptors allow %d callers at once, fewer than limits.max_in_flight, %d: raise `ulimit -n`",
            callers_share(),
            settings.limits.max_in_flight,
        )
    if settings.simulated:
        logger.warning(
            "No provider has a key: answers are SIMULATED. Set GROQ_API_KEY or another, see `kuro check`."
        )


def _tell_transition(model: str, old: object, new: object, reason: str) -> None:
    logger.warning(
        "circuit of %s: %s -> %s (%s)", model, old, new, reason, extra={"event": "circuit", "model": model}
    )
