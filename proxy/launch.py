"""Starts what `kuro serve` asks for: the only process, or the parent of several; and what it listens on."""

from __future__ import annotations

import errno
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvicorn
from msgspec.structs import replace

from proxy.app import Engine
from proxy.errors import ConfigError
from proxy.office import Keeper, Office
from proxy.operate import disabled
from proxy.reload import Alone, Among, Watch
from proxy.server.auth import admin_keyring, check_listen
from proxy.server.descriptors import callers_share, raise_limit
from proxy.server.link import Line
from proxy.server.orders import Orders
from proxy.server.protocol import Protocol
from proxy.server.serving import Server
from proxy.server.workers import SIGNALS, Supervisor, Work
from proxy.settings import Settings
from proxy.settings.orders import OrdersFile
from proxy.telemetry import logs
from proxy.telemetry.board import Board, open_board, settle
from proxy.trials import Trials

logger = logging.getLogger("kuro")

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel may allow less."""
TURN = 0.0001
"""Seconds after which a thread that computes lets calls go on: one that reads a configuration, answers an
operator, or writes calls. Python's own are fifty times as many. A decision lets go of the interpreter a dozen
times, at each look of RE2's, and beside a thread that never rests it waits so long each time. Measured at 300
calls a second with a reload every 0.35 s, p50, p90 and p99 in ms: 1.1, 26, 66 where it is a millisecond, 1.2,
8.7, 30 now. Without such threads a call costs the same, within the noise of +-4 %."""


def serve(
    source: Callable[[], Settings],
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    log_level: str | None = None,
    footprint: Callable[[], bytes] = bytes,
    config: Path | None = None,
) -> int:
    """Runs the proxy until it is told to stop; the process's exit code. Raises ConfigError.

    `source` reads the configuration, at start and at each reload; `footprint` is a digest of what it reads.
    `config` is where that lies, where trials may change it.
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
    keeper, file = Keeper(settings, source, footprint, host), OrdersFile(settings.admin.file)
    if workers > 1:
        with open_board() as place:
            office = Office(
                keeper,
                file,
                time.time,
                lambda now, orders: partial(_work, now, orders, log_level, place),
                config,
            )
            supervisor = Supervisor(office, listening, workers, policy.drain_timeout, partial(settle, place))
            supervisor.catch_signals()
            Watch(keeper, supervisor.ask).start()
            trials = Trials(keeper, config, supervisor.ask)
            trials.start()
            _announce(settings, listening, office.orders)
            try:
                return supervisor.run()
            finally:
                trials.stop()
    office = Office(keeper, file, time.time, _no_workers, config)
    server = _server(settings, office.orders, log_level, Alone(office))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)  # as soon as anybody can know that we are here
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it serves: what was just read is as good
    _announce(settings, listening, office.orders)
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
    settings: Settings,
    orders: Orders,
    log_level: str | None,
    place: Path,
    listening: socket.socket,
    link: Connection[Any, Any],
    name: str,
) -> None:
    """One worker among several; `place` is their board's."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # until it serves; the parent tells it to stop, too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    logs.configure(settings.log, log_level)
    logs.stream(settings.log).shared = True
    server = _server(settings, orders, log_level, Among(Line(link)), link, Board(place, name))
    server.run(sockets=[listening])


def _no_workers(_: Settings, __: Orders) -> Work:
    raise AssertionError("the only process starts no others")


def _server(
    settings: Settings,
    orders: Orders,
    log_level: str | None,
    reloads: Alone | Among,
    link: Connection[Any, Any] | None = None,
    board: Board | None = None,
) -> Server:
    """What serves this configuration, not running yet."""
    engine = Engine(settings, log_level, board, orders)
    reloads.adopt = engine.adopt
    config = uvicorn.Config(
        engine.front(reloads.ask, reloads),
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
    sys.setswitchinterval(TURN)
    return Server(config, engine.admission, settings.server.drain_timeout, link, reloads.told)


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
    settings = source()
    _, made = admin_keyring(settings.access)
    return settings if made is None else _keyed(settings, admin_key)


def _keyed(settings: Settings, admin_key: str) -> Settings:
    return replace(settings, access=replace(settings.access, admin_key=admin_key))


def _calm_collector() -> None:
    """What was built at start is not looked at again, the rest twice, and seldom enough.

    Calls and connections make no cycles; what the collector finds is what lasts of them: conversations and
    decisions. Measured at 1,000 calls a second: a pass takes up to 3.5 ms, all together 1.5 us a call. Of
    20,000 young objects one took 8 to 14 ms, for which ten calls waited. With the collector's own numbers,
    which have it go through everything again and again, a routed call costs 30 % more CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 1, 10_000)


def _announce(settings: Settings, listening: socket.socket, orders: Orders) -> None:
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
    for model, order in orders.disabled.items():
        logger.warning("%s is %s (by %s)", model, disabled(order), order.by)
    if settings.calls.enabled and settings.calls.file is None:
        logger.warning(
            "calls are kept in memory only: set telemetry.calls.file in proxy.yml, HOME or XDG_STATE_HOME"
        )
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
