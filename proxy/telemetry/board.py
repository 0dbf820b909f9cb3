"""Where the workers of one proxy see each other's counts: a directory with a file for each of them.

    worker --post, at each beat and before it answers a scrape--> 3
    worker ends, however it does; the parent --settle--> 3 is added to `ended`, then removed
    worker --total, when it is scraped--> its own and all other files, `ended` last

Whatever was once shown stays counted: a worker posts before it shows. Files are replaced, never written
into, so that each is whole; `ended` names those it holds, and is read last, so that none counts twice.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct, field

from proxy.errors import ConfigError
from proxy.telemetry.series import Series, add, decode, encode, merge

logger = logging.getLogger("kuro.metrics")

ENDED = "ended"
DEATHS = "llm_worker_deaths_total"
PLACES = (Path("/dev/shm"), None)  # noqa: S108  # memory, also where a container's disk is read-only
"""Where the directory may be; None is the system's place for temporary files."""


class Ended(Struct):
    """What workers counted that are no more."""

    names: list[str] = field(default_factory=list)
    series: Series = field(default_factory=Series)


_ended = msgspec.msgpack.Decoder(Ended).decode


@contextmanager
def open_board() -> Iterator[Path]:
    """A new directory for as long as there are workers. Raises ConfigError when there is no place for one."""
    opened = place()
    try:
        yield opened
    finally:
        shutil.rmtree(opened, ignore_errors=True)


def place(places: Sequence[Path | None] = PLACES) -> Path:
    """A new directory in the first of these that takes one. Raises ConfigError."""
    prefix, reasons = f"kuro-metrics-{multiprocessing.current_process().pid}-", []
    for each in places:
        try:
            return Path(tempfile.mkdtemp(prefix=prefix, dir=each))
        except OSError as error:
            reasons.append(str(error))
    raise ConfigError([f"several workers need a place for their counts: {'; '.join(reasons)}"])


def settle(place: Path, name: str, died: bool) -> None:
    """The parent's part: this worker has ended; `died`: without having been told to."""
    try:
        ended = _read_ended(place)
        merge(ended.series, _read(place / name) or Series())
        ended.series.gauges.clear()
        add(ended.series.counters.setdefault(DEATHS, {}), (), float(died))
        ended.names.append(name)
        _put(place / ENDED, msgspec.msgpack.encode(ended))
        (place / name).unlink(missing_ok=True)
    except OSError as error:
        logger.warning("what worker %s counted is lost: %s", name, error)


class Board:
    """One worker's part."""

    def __init__(self, place: Path, name: str) -> None:
        self.place = place
        """The directory."""
        self.name = name
        """The worker's."""
        self._posted = b""

    def post(self, series: Series) -> None:
        """Shows the others what was counted here. Raises OSError."""
        data = encode(series)
        if data != self._posted:
            _put(self.place / self.name, data)
            self._posted = data

    def total(self, own: Series) -> Series:
        """What all have counted: `own` is posted and added to the others' files. Raises OSError."""
        self.post(own)
        parts = {path.name: path for path in self.place.iterdir() if path.name.isdecimal()}
        others = {name: _read(path) for name, path in parts.items() if name != self.name}
        ended = _read_ended(self.place)
        total = Series()
        for series in (own, *(others[name] for name in others if name not in ended.names), ended.series):
            if series is not None:
                merge(total, series)
        return total

    def leave(self) -> None:
        """The last one out of a house whose parent was killed takes the directory along."""
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            (self.place / self.name).unlink(missing_ok=True)
            if not any(path.name.isdecimal() for path in self.place.glob("*")):
                shutil.rmtree(self.place, ignore_errors=True)


def _read(path: Path) -> Series | None:
    """A worker's file; None before it has posted, and when the parent has just added it to `ended`."""
    try:
        return decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):  # the latter: another version's, while one replaces it
        return None


def _read_ended(place: Path) -> Ended:
    try:
        return _ended((place / ENDED).read_bytes())
    except FileNotFoundError:
        return Ended()


def _put(path: Path, data: bytes) -> None:
    """Replaces the file in one step. Nothing has to reach the disk: it ends with the process."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
