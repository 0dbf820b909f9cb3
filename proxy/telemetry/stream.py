"""Where lines go: standard output or a file, written by a thread of its own.

    write(lines) --list--> one thread, every GATHER seconds --> all that waits, in one call of the system
                           (SOON where one of them is a message)

A disk that is full or a pipe that nobody reads never holds up a call: what finds the list full, and
what can't be written, is lost and counted. A file that was renamed or removed (logrotate) is opened anew.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from pathlib import Path
from select import PIPE_BUF
from typing import IO, Any

BACKLOG = 16 * 1024 * 1024
"""Bytes that may wait to be written."""
PATIENCE = 2.0
"""Seconds that the end of the process waits for what hasn't been written."""
PAUSE = 0.01
"""Seconds between tries at a pipe that its owner made non-blocking, and that is full."""
SOON = 0.05
"""Seconds that messages may wait for more."""
GATHER = 0.25
"""Seconds that lines may wait for more: each waking of the thread takes the interpreter from the calls, five
times, and looks for it every millisecond. After 0.05 that came to 8 us a call, in a server that is as busy as
it can be, of which 3 are left."""


class Stream:
    """Lines on their way out. `file` is a path, `stdout` or `stderr`."""

    def __init__(self, file: str, backlog: int = BACKLOG) -> None:
        self._target: _File | _Standard = _Standard(file) if file in _STANDARD else _File(Path(file))
        self._backlog = backlog
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Somebody waits: nothing is gathered."""
        self._soon = threading.Event()
        """Something is to be seen soon."""
        self._waiting: list[bytes] = []
        self._size = 0
        self._torn = False
        self._thread: threading.Thread | None = None
        self.shared = False
        """Other processes write into the same pipe: lines go in pieces that the kernel never mixes."""
        self.lost = 0
        """Lines that were never written."""

    def write(self, lines: bytes, soon: bool = False) -> None:
        """Takes whole lines, from any thread. Never waits, never raises."""
        with self._changed:
            if self._size + len(lines) > self._backlog:
                self.lost += lines.count(b"\n")
                return
            self._waiting.append(lines)
            self._size += len(lines)
            if self._thread is None:
                self._start()
        if soon:
            self._soon.set()
        if not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout: float = PATIENCE) -> bool:
        """Waits until everything is out; False when that took too long."""
        with self._changed:
            self._hurry.set()
            self._soon.set()
            return self._changed.wait_for(lambda: not self._size, timeout)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="kuro-log", daemon=True)
        self._thread.start()
        atexit.register(self.flush)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if not self._hurry.wait(SOON):
                self._soon.wait(GATHER - SOON)
            with self._changed:
                self._wake.clear()
                self._soon.clear()
                lines, self._waiting = b"".join(self._waiting), []
            lost = self._put(lines)
            with self._changed:
                self.lost += lost
                self._size -= len(lines)
                if not self._size:
                    self._hurry.clear()
                self._changed.notify_all()

    def _put(self, lines: bytes) -> int:
        """Writes; how many lines were lost. One that was cut in two is ended before the next begins."""
        data = b"\n" + lines if self._torn else lines
        done = 0
        try:
            target = self._target.open()
            while done < len(data):
                end = _whole_lines(data, done) if self.shared else len(data)
                written = target.write(data[done:end] if done or end < len(data) else data)
                if written is None:
                    time.sleep(PAUSE)
                done += written or 0
            target.flush()
        except (OSError, ValueError):  # ValueError: somebody closed the standard stream
            self._target.close()
        if done:
            self._torn = not data.endswith(b"\n", 0, done)
        return data.count(b"\n", max(done, len(data) - len(lines)))


def _whole_lines(data: bytes, start: int) -> int:
    """Where to end a write that begins at `start`: after as many lines as a pipe takes in one (pipe(7))."""
    if len(data) - start <= PIPE_BUF:
        return len(data)
    end = data.rfind(b"\n", start, start + PIPE_BUF) + 1
    return end or data.find(b"\n", start) + 1 or len(data)  # a longer line can't be kept whole


_STANDARD = ("stdout", "stderr")


class _Standard:
    """Standard output or error, looked up at each write: tests and supervisors exchange them."""

    def __init__(self, name: str) -> None:
        self._name = name

    def open(self) -> IO[bytes]:
        buffer: Any = getattr(sys, self._name).buffer
        stream: IO[bytes] = getattr(buffer, "raw", buffer)
        return stream

    def close(self) -> None:
        """It isn't ours to close."""


class _File:
    """A file that is appended to, as long as it is the one that stands at the path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._identity: tuple[int, int] | None = None

    def open(self) -> IO[bytes]:
        if self._file is not None and (self._identity is None or self._there() != self._identity):
            self.close()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what couldn't be written must not come out later, in the middle of other lines.
            self._file = self._path.open("ab", buffering=0)
            self._identity = self._there()
        return self._file

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _there(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
