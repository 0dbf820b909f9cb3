"""Decides what concerns every process: the next configuration, and what the operator orders beside it.

    Asked   --Keeper-->  Verdict   the configuration, all or nothing
    Restore --restore->  Verdict   likewise, with the weights of profiles as they were written
    Command --obey---->  Ruling    models out of service, circuits forced; kept in a file
    anything else        is for whom it reaches, and passed on

It lives in the only process, or in the parent of several workers, who learn of both through their links.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.dispatch.transport import open_upstream
from proxy.errors import ConfigError
from proxy.server.auth import check_listen
from proxy.server.learned import Restore
from proxy.server.orders import KEPT, Command, Orders, Ruling, obey
from proxy.server.workers import Work
from proxy.settings import ROUTING, Settings
from proxy.settings.changes import Changes, Difference, changes, differences, in_place
from proxy.settings.footprint import vanished
from proxy.settings.orders import OrdersFile
from proxy.settings.tuned import moved, restore
from proxy.types import SIMULATED

logger = logging.getLogger("kuro")


class Asked(Struct, frozen=True):
    """A reload is wanted: by `signal`, `watch`, or `admin key` with its name."""

    by: str
    dry_run: bool = False
    """Only what would come of it is wanted."""


class Report(Struct, frozen=True):
    """What came of it, for a reader. Holds no secret."""

    result: str
    """`changed`, `unchanged` or `refused`."""
    by: str
    epoch: str
    """Of the configuration in force afterwards ..."""
    epoch_before: str
    """... and before."""
    changes: Changes = Changes()
    problems: tuple[str, ...] = ()
    """Why it was refused, a line each."""
    warnings: tuple[str, ...] = ()


class Verdict(Struct, frozen=True):
    """What every process is to do about it: take `settings`, if there are any."""

    report: Report
    settings: Settings | None = None
    differences: tuple[Difference, ...] = ()
    """What would change, of a dry run."""


class Keeper:
    """Holds the configuration in force, and reads the next one. Not to be asked by two threads at once."""

    def __init__(
        self,
        settings: Settings,
        source: Callable[[], Settings],
        footprint: Callable[[], bytes],
        host: str,
    ) -> None:
        """`footprint` is a digest of the files, `host` what is listened on."""
        self.settings = settings
        self.footprint = footprint
        self.seen = footprint()
        """Of the files as they were read last, good or not."""
        self._taken = self.seen
        """Of those that are in force."""
        self._source = source
        self._host = host

    def decide(self, asked: Asked) -> Verdict:
        """Reads and checks; the log says what came of it. Takes a tenth of a second.

        Of a dry run nothing is taken, and nothing said.
        """
        if asked.dry_run:
            report, read = self._report(asked)
            return Verdict(report, differences=differences(self.settings, read) if read is not None else ())
        self.seen = self.footprint()
        report, read = self._report(asked)
        if read is None:
            _tell(logging.ERROR, f"the configuration stays as it was, asked by {asked.by}", report)
            return Verdict(report)
        self.settings, self._taken = in_place(self.settings, read), self.seen
        _tell(logging.INFO, f"configuration {report.result}, asked by {asked.by}", report)
        return Verdict(report, self.settings if report.result == "changed" else None)

    def _report(self, asked: Asked) -> tuple[Report, Settings | None]:
        """What would come of it, and what stands in the files; None where that is no good."""
        old = self.settings
        try:
            read = self._read()
        except ConfigError as error:
            return Report("refused", asked.by, old.epoch, old.epoch, problems=error.problems), None
        new = in_place(old, read)
        result = "changed" if changes(old, new) else "unchanged"
        found = changes(old, read)
        return Report(result, asked.by, new.epoch, old.epoch, found, warnings=new.warnings), read

    def _read(self) -> Settings:
        """What stands in the files. Raises ConfigError."""
        read = self._source()
        check_listen(self._host, read.access)
        # Stamped before, lest a change behind the reader is missed, and now: what is gone opens no door.
        _check_kept(self.settings, read, vanished(self._taken, self.footprint()))
        _check_ways(self.settings, read)
        return read


class Office:
    """Holds all that is in force. Not to be asked by two threads at once."""

    def __init__(
        self,
        keeper: Keeper,
        file: OrdersFile,
        clock: Callable[[], float],
        start: Callable[[Settings, Orders], Work],
        config: Path | None = None,
    ) -> None:
        """`clock` is the wall's, `start` makes a worker's work, `config` is where the files are, where they
        may be changed."""
        self.keeper = keeper
        self.orders = file.read()
        self._file = file
        self._clock = clock
        self._start = start
        self.config = config

    def work(self) -> Work:
        """What a worker does that starts now."""
        return self._start(self.keeper.settings, self.orders)

    def hung_up(self) -> Asked:
        """What SIGHUP asks for."""
        return Asked("signal")

    def decide(self, asked: Any) -> Any:
        """What is to be done about it."""
        if isinstance(asked, Asked):
            return self.keeper.decide(asked)
        if isinstance(asked, Restore):
            return self._restore(f"admin key {asked.by}")
        return self._rule(asked) if isinstance(asked, Command) else asked

    def _restore(self, by: str) -> Verdict:
        """Takes the configuration anew, its weights put back."""
        routing, epoch = self.keeper.settings.routing, self.keeper.settings.epoch
        try:
            if self.config is not None and moved(routing.profiles, routing.worth):
                restore(self.config / ROUTING, routing.profiles, routing.worth)
        except (OSError, ValueError) as error:
            problem = f"{ROUTING}: {getattr(error, 'strerror', None) or error}"
            return Verdict(Report("refused", by, epoch, epoch, problems=(problem,)))
        return self.keeper.decide(Asked(by))

    def _rule(self, command: Command) -> Ruling:
        ruling = obey(self.orders, command, self._clock())
        self.orders = ruling.orders
        if command.action in KEPT:
            # Also when nothing changed: the disk may have been full before.
            return replace(ruling, kept=self._file.write(ruling.orders))
        return ruling


def _check_kept(old: Settings, new: Settings, gone: Sequence[str]) -> None:
    """Raises ConfigError where a file or all keys are gone: a copy that is half done must open no door."""
    problems = [f"{name}: is gone: put it back; an empty one stands for the defaults" for name in gone]
    if old.access.keys and not new.access.keys:
        problems.append("proxy.yml: keys: none is left, so that everybody could call: that takes a restart")
    if problems:
        raise ConfigError(problems)


def _check_ways(old: Settings, new: Settings) -> None:
    """Raises ConfigError when a way to a provider can't be had: an authority's file that isn't one."""
    problems = []
    for name, provider in new.providers.items():
        if provider.dialect == SIMULATED or old.providers.get(name) == provider:
            continue
        try:
            open_upstream(provider)
        except (ValueError, OSError, ImportError) as error:
            problems.append(f"model_registry.yml: providers.{name}: {error}")
    if problems:
        raise ConfigError(problems)


def _tell(level: int, what: str, report: Report) -> None:
    extra = {"event": "reload", "reload": msgspec.to_builtins(report)}
    logger.log(level, "%s%s", what, _brief(report), extra=extra)


def _brief(report: Report) -> str:
    found = report.changes
    parts = [
        ("added", found.added),
        ("removed", found.removed),
        ("changed", [f"{model} ({', '.join(fields)})" for model, fields in found.changed.items()]),
        ("also changed", found.other),
        ("needs a restart", found.needs_restart),
        ("problems", report.problems),
    ]
    said = "; ".join(f"{name}: {', '.join(items)}" for name, items in parts if items)
    return f": {said}" if said else ""
