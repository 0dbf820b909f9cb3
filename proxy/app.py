"""The composition root: from Settings to a running proxy. Knows every room; holds no rule of its own.

Settings --build--> House (router, executor)   made anew for each configuration
                    Engine                     what outlives one: circuits, statistics, memory, sinks
                    Front                      the ASGI application that uvicorn runs
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from random import random
from typing import Any

from proxy.desk import Desk
from proxy.dispatch.alarm import Alarms
from proxy.dispatch.answer import Books
from proxy.dispatch.backoff import retry_budget
from proxy.dispatch.breaker import Breakers
from proxy.dispatch.call import cost
from proxy.dispatch.effort import Efforts
from proxy.dispatch.executor import Executor
from proxy.dispatch.hedge import Hedges
from proxy.dispatch.lane import Lane, Upstream, lane
from proxy.dispatch.simulated import SimulatedUpstream
from proxy.dispatch.stats import Stats
from proxy.dispatch.transport import open_upstream
from proxy.gateway import Gateway, House
from proxy.office import Verdict
from proxy.operate import forget, health, heed, obstacle
from proxy.providers import CODECS
from proxy.reload import ALONE, Ask
from proxy.routers import Live, build, explained, replayer
from proxy.routing.adapt import Adapt, Shift, Signal
from proxy.routing.features import prompt_tokens
from proxy.routing.grounds import grounds
from proxy.routing.policy import StreamRecovery
from proxy.routing.replay import decided_again
from proxy.routing.router import Router, forget_decisions, new_memory, renew_memory
from proxy.routing.tokens import estimate
from proxy.routing.weights import in_force
from proxy.server.admission import Admission
from proxy.server.asgi import Front, spelt
from proxy.server.audit import Audit
from proxy.server.auth import Keyring, admin_keyring
from proxy.server.chat import ChatRoute
from proxy.server.door import adopt_limits
from proxy.server.health import Look
from proxy.server.learned import Forget
from proxy.server.orders import Action, Orders, Ruling
from proxy.server.site import create_site
from proxy.server.state import Rated, Services
from proxy.settings import Settings
from proxy.settings.public import registry
from proxy.sharing import Sharing
from proxy.telemetry import logs
from proxy.telemetry.baseline import Baseline
from proxy.telemetry.board import Board
from proxy.telemetry.calls import Recorder, Sink
from proxy.telemetry.history import History
from proxy.telemetry.journal import Journal
from proxy.telemetry.logs import CallLog
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.otlp import open_exports
from proxy.telemetry.policy import PROMPT_MARGIN
from proxy.telemetry.scrape import Scrape
from proxy.telemetry.traces import open_traces
from proxy.types import SIMULATED, Model, Provider

logger = logging.getLogger("kuro")


class Engine:
    """One process's proxy: whatever lives as long as it does, and the house of the configuration in force."""

    def __init__(
        self,
        settings: Settings,
        log_level: str | None = None,
        board: Board | None = None,
        orders: Orders = Orders(),  # noqa: B008
    ) -> None:
        """`log_level` goes before the configuration's. `board`: where the workers of one proxy add up their
        counts; None: this process is the only one. `orders` are what an operator has ordered so far."""
        self.settings = settings
        self.orders = orders
        self._log_level = log_level
        self._name = board.name if board is not None else ALONE
        self.clock = time.monotonic
        self.started = int(time.time())
        self.admission = Admission(settings.limits, self.clock)
        self.breakers = Breakers(settings.breaker, self.clock, random, self._moved)
        self.stats = Stats(settings.stats, self.clock)
        self.adapt = Adapt(settings.routing.adapt, self.clock, _tell_shift)
        self.budget = retry_budget(settings.retries, self.clock)
        self.hedges = Hedges(settings.hedging, self.stats.p95, self.clock)
        self.alarms = Alarms(self.clock)
        self.memory = new_memory(settings.routing, self.clock, shared=board is not None)
        self.sharing = self._sharing(board) if board is not None else None
        self.upstreams = {name: _upstream(provider) for name, provider in settings.providers.items()}
        self.metrics = Metrics(
            settings.models,
            settings.intents.intents,
            self.breakers.snapshot,
            self._counted(),
        )
        self.traces = open_traces(settings.trace, random)
        self.exports = open_exports(settings.metric, settings.trace.service_name, time.time)
        self.metrics.loaded(settings.epoch, time.time())
        self.call_log = CallLog(settings.log)
        self.baseline = Baseline(settings.baseline, cost)
        self.journal = Journal(settings.calls, time.time, grounds)
        # The baseline completes the records for those behind it, the journal takes off what is not for them.
        sinks: list[Sink] = [self.baseline, self.journal, self.call_log, self.metrics, *self.traces]
        self.recorder = Recorder(settings.records, sinks)
        self.scrape = Scrape(self.metrics, self.recorder.flush, board, self.exports)
        self._retired: list[Upstream] = []
        heed(self.breakers, Orders(), orders, self._ids(), time.time())
        house = self._house(settings, build(settings, self._live()))
        self.gateway = Gateway(house, self.recorder.emit, self.alarms, self.clock, time.time)

    def _sharing(self, board: Board) -> Sharing:
        return Sharing(board.place, board.name, self.memory, self.adapt, time.time)

    def _counted(self) -> dict[str, Callable[[], float]]:
        admission = self.admission
        return {
            "llm_records_dropped_total": lambda: self.recorder.dropped,
            "llm_batches_lost_total": lambda: self.recorder.failures,
            "llm_log_lines_lost_total": logs.lost_lines,
            "llm_spans_lost_total": lambda: sum(sink.lost for sink in self.traces),
            "llm_conversations": lambda: len(self.memory.conversations),
            "llm_conversations_untold": lambda: self.sharing.untold if self.sharing is not None else 0,
            "llm_conversations_lost_total": lambda: self.sharing.lost if self.sharing is not None else 0,
            "llm_call_log_lost_total": lambda: self.journal.lost,
            "llm_metric_exports_lost_total": lambda: sum(export.lost for export in self.exports),
            "llm_queue_refused_total": lambda: admission.refused,
            "llm_queue_in_flight": lambda: admission.in_flight,
            "llm_queue_waiting": lambda: admission.waiting,
            "llm_connections": lambda: len(admission.connections),
            "llm_tasks": lambda: len(asyncio.all_tasks()),
            "llm_upstream_connections": lambda: sum(
                each.connections.open for each in (*self._retired, *self.upstreams.values())
            ),
        }

    def front(self, ask: Ask, beside: AbstractAsyncContextManager[object]) -> Front:
        """The ASGI application. `ask` is for reloads; `beside` runs as long as it does."""
        settings = self.settings
        keyring = Keyring(settings.access.keys)
        admin, _ = admin_keyring(settings.access)
        self._chat = ChatRoute(self.gateway, keyring, settings.access, settings.limits, self.admission)
        self._site = self._services(keyring, admin, ask)
        # Litestar's own names for ASGI's shapes are narrower than those of `server.types`.
        site: Any = create_site(self._site, spelt(self._chat))
        return Front(self._chat, site, self._running(beside))

    @asynccontextmanager
    async def _running(self, beside: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
        async with self.scrape, self.recorder, self.sharing or nullcontext(), beside:
            try:
                yield
            finally:
                for upstream in (*self._retired, *self.upstreams.values()):
                    await upstream.aclose()

    async def adopt(self, decided: Verdict | Ruling | Look | Forget | Rated) -> object:
        """Does what was decided, and says what is told of it, if anything. One at a time, once it serves."""
        match decided:
            case Verdict():
                await self._take(decided)
            case Ruling():
                self._obey(decided)
            case Look():
                in_flight = self.gateway.in_flight()
                return health(self._ids(), self.breakers, self.stats, self.adapt, in_flight)
            case Forget():
                forget_decisions(self.memory)
                return forget(self.adapt, decided.model)
            case Rated():
                self.observe_feedback(decided)
        return None

    def observe_feedback(self, rated: Rated) -> None:
        """A caller's first word on an answer: one sight of the model's quality."""
        self.adapt.observe(rated.model, Signal.QUALITY, rated.score)

    def _obey(self, ruling: Ruling) -> None:
        old, self.orders = self.orders, ruling.orders
        if ruling.command.action is Action.RESET:
            self.breakers.reset(ruling.command.model)
        heed(self.breakers, old, self.orders, self._ids(), time.time())

    def _ids(self) -> list[str]:
        return [model.id for model in self.settings.models]

    async def _take(self, verdict: Verdict) -> None:
        settings, report = verdict.settings, verdict.report
        if settings is not None:
            # What takes long is made in a thread; then nothing waits until all has been exchanged.
            ways, router = await asyncio.to_thread(
                lambda: (self._ways(settings), build(settings, self._live()))
            )
            self._move(settings, ways, router)
        elif report.result == "unchanged":
            self.breakers.retain(self._ids())
        if report.result != "refused":
            self.metrics.loaded(report.epoch, time.time())
        self.metrics.reloaded(report.result)

    def _ways(self, settings: Settings) -> dict[str, Upstream]:
        """To every provider: those of unchanged ones are kept, with their connections."""
        known = self.settings.providers
        return {
            name: self.upstreams[name] if known.get(name) == provider else _upstream(provider)
            for name, provider in settings.providers.items()
        }

    def _move(self, settings: Settings, ways: dict[str, Upstream], router: Router) -> None:
        """Into another house: open calls end in the old one."""
        old, self.settings = self.settings, settings
        ids = self._ids()
        left = [way for way in self.upstreams.values() if way not in ways.values()]
        self.upstreams = ways
        if settings.retries != old.retries:
            self.budget = retry_budget(settings.retries, self.clock)
        if settings.hedging != old.hedging:
            self.hedges = Hedges(settings.hedging, self.stats.p95, self.clock)
        self.breakers.retain(ids, settings.breaker)
        heed(self.breakers, Orders(), self.orders, ids, time.time())
        self.stats.retain(ids, settings.stats)
        self.adapt.retain(ids, settings.routing.adapt)
        renew_memory(self.memory, settings.routing, ids)
        self.admission.adopt(settings.limits)
        adopt_limits(settings.limits)
        self.metrics.know(settings.models, settings.intents.intents)
        self.baseline.price = settings.baseline
        self.recorder.adopt(settings.records)
        self.call_log.adopt(settings.log)
        self.journal.adopt(settings.calls)
        logs.configure(settings.log, self._log_level)
        for sink in self.traces:
            sink.adopt(settings.trace)
        for export in self.exports:
            export.adopt(settings.metric)
        self._let_in(settings)
        self.gateway.house = self._house(settings, router)
        self._retired = [way for way in (*self._retired, *left) if way.retire()]
        gc.collect()  # The old house is full of cycles, which are looked for too rarely else. Takes 1 ms.

    def _let_in(self, settings: Settings) -> None:
        site = self._site
        site.access = settings.access
        site.keyring = Keyring(settings.access.keys)
        site.admin, _ = admin_keyring(settings.access)
        self._chat.adopt(site.keyring, settings.access, settings.limits)

    def _house(self, settings: Settings, router: Router) -> House:
        return House(
            epoch=settings.epoch,
            router=router,
            executor=self._executor(settings),
            judge=settings.routing.judge,
            judge_intents=tuple(settings.intents.intents),
            deadline=settings.timeouts.total,
            prompt_chars=settings.calls.prompt_chars + PROMPT_MARGIN if settings.calls.prompts else 0,
        )

    def _executor(self, settings: Settings) -> Executor:
        return Executor(
            lanes={model.id: self._lane(settings, model) for model in settings.models},
            books=Books(
                alarms=self.alarms,
                clock=self.clock,
                observe=self._observe if settings.routing.adapt.enabled else self.stats.observe,
                estimate=estimate,
                weigh=prompt_tokens,
            ),
            breakers=self.breakers,
            policy=settings.retries,
            budget=self.budget,
            hedges=self.hedges,
            efforts=Efforts(),
            random=random,
            content_filter_fallback=settings.routing.content_filter_fallback,
            splices=settings.routing.stream_recovery is StreamRecovery.SPLICE,
        )

    def _observe(
        self, model: str, ok: bool, ttft: float | None, speed: float | None, streamed: bool = True
    ) -> None:
        self.stats.observe(model, ok, ttft, speed, streamed)
        self.adapt.attempted(model, ok, ttft, speed)

    def _lane(self, settings: Settings, model: Model) -> Lane:
        provider = settings.providers[model.provider]
        # The simulated models speak OpenAI's dialect; only their way upstream differs.
        dialect = "openai" if provider.dialect == SIMULATED else provider.dialect
        return lane(model, provider, CODECS[dialect], self.upstreams[provider.name])

    def _services(self, keyring: Keyring, admin: Keyring, ask: Ask) -> Services:
        desk = Desk(ask, lambda: self.settings.epoch)

        async def rate(rated: Rated, first: bool) -> None:
            self.journal.score(rated.request_id, rated.key, rated.score)
            # Whoever is answered is heard: what another worker is told next comes after this.
            await asyncio.to_thread(self.journal.flush)
            if first:
                await desk.learn(rated)

        return Services(
            access=self.settings.access,
            keyring=keyring,
            admin=admin,
            models=lambda: self.settings.models,
            profiles=lambda: tuple(self.settings.routing.profiles),
            look=desk.look,
            orders=lambda: self.orders.current(time.time()),
            order=desk.order,
            reload=desk.reload,
            registry=lambda: registry(self.settings),
            compare=desk.compare,
            weights=self._weights,
            forget=desk.forget,
            restore=desk.restore,
            rate=rate,
            audit=Audit(self.clock),
            metrics=self.scrape.show,
            flush=self.recorder.flush,
            history=History(self.journal, lambda: self.settings.calls.file),
            explain=lambda row: explained(self.gateway.house.router.apart(), row),
            decided_again=lambda record: decided_again(replayer(self.settings), record),
            draining=lambda: self.admission.closed,
            started=self.started,
        )

    def _weights(self) -> dict[str, Any]:
        told = in_force(self.gateway.house.router.ground, self.stats.view, self.adapt)
        return {**told, "worker": self._name}

    def _live(self) -> Live:
        return Live(
            memory=self.memory,
            shut=self.breakers.shut,
            view=self.stats.view,
            moved=self.adapt.standing,
            obstacle=lambda model: obstacle(self.breakers, self.orders, model),
        )

    def _moved(self, model: str, old: object, new: object, reason: str) -> None:
        self.metrics.moved(model, str(new))
        _tell_transition(model, old, new, reason)


def _upstream(provider: Provider) -> Upstream:
    return SimulatedUpstream(time.time) if provider.dialect == SIMULATED else open_upstream(provider)


def _tell_transition(model: str, old: object, new: object, reason: str) -> None:
    logger.warning(
        "circuit of %s: %s -> %s (%s)", model, old, new, reason, extra={"event": "circuit", "model": model}
    )


def _tell_shift(model: str, signal: Signal, before: float, shift: Shift) -> None:
    extra = {"event": "adapt", "model": model}
    if not shift.by:
        logger.warning("%s of %s: moved by %+.2f no more", signal, model, before, extra=extra)
        return
    logger.warning(
        "%s of %s: moved by %+.2f instead of %+.2f (lately %.2f in %.0f, usually %.2f)",
        signal, model, shift.by, before, shift.lately, shift.evidence, shift.usually, extra=extra,
    )  # fmt: skip
