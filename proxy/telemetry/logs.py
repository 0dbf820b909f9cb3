"""JSON lines: one per call, and the application's own messages in the same stream.

    {"time": ..., "event": "call", "request_id": ..., "intent": ..., "attempts": [...], ...}
    {"time": ..., "level": "warning", "logger": "kuro", "message": ...}

Never prompt text: a record holds none.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from proxy.telemetry.policy import LogLevel, LogPolicy
from proxy.types import CallRecord

_encoder = msgspec.json.Encoder(enc_hook=str)

_CARRIED = ("event", "url", "model")
"""What `extra=` may add to a message's line."""


class Stream:
    """Where lines go. A file that was renamed or removed (logrotate) is opened anew."""

    def __init__(self, policy: LogPolicy) -> None:
        self._path = Path(policy.file) if policy.file not in (None, "stdout", "stderr") else None
        self._standard: IO[bytes] = (sys.stderr if policy.file == "stderr" else sys.stdout).buffer
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self.failures = 0
        """Writes that didn't succeed; their lines are lost."""

    def write(self, lines: bytes) -> None:
        """Appends whole lines. Raises OSError when they can't be written."""
        with self._lock:
            try:
                target = self._standard if self._path is None else self._opened(self._path)
                target.write(lines)
                target.flush()
            except OSError:
                self.failures += 1
                self._close()
                raise

    def close(self) -> None:
        """Closes the file, if it is one."""
        with self._lock:
            self._close()

    def _opened(self, path: Path) -> IO[bytes]:
        if self._file is not None and not _same(self._file, path):
            self._close()
        if self._file is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class CallLog:
    """A sink: a line for each record."""

    def __init__(self, policy: LogPolicy) -> None:
        self._wanted = policy.calls and policy.level is not LogLevel.CRITICAL
        self._stream = stream(policy)

    def write(self, records: Sequence[CallRecord]) -> None:
        """Writes the batch with one call of the system."""
        if self._wanted:
            self._stream.write(b"".join([_HEAD + _encoder.encode(record)[1:] + b"\n" for record in records]))

    def close(self) -> None:
        """The stream is shared with the messages, and stays open for them."""


class JsonFormatter(logging.Formatter):
    """A message as one JSON line, its traceback inside it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _CARRIED:
            if hasattr(record, name):
                line[name] = getattr(record, name)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encoder.encode(line).decode()


class StreamHandler(logging.Handler):
    """Writes messages into the stream that call records go to."""

    def __init__(self, target: Stream) -> None:
        super().__init__()
        self._target = target
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; what can't be written is counted by the stream."""
        try:
            self._target.write(self.format(record).encode("utf-8", "replace") + b"\n")
        except OSError:
            pass  # counted there; a message that can't be written has nowhere to be reported
        except ValueError:
            self.handleError(record)  # our own mistake: a format string that doesn't fit


def configure(policy: LogPolicy, level: str | None = None) -> None:
    """Sends all logging (ours, uvicorn's, litestar's) to the policy's stream; `level` overrides its own."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(StreamHandler(stream(policy)))
    root.setLevel((level or policy.level).upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar", "httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        # Their INFO tells of start and stop, which we say ourselves, or of every single request.
        logger.setLevel(logging.WARNING)


_streams: dict[str | None, Stream] = {}


def stream(policy: LogPolicy) -> Stream:
    """The process's stream for this policy: records and messages of one file share it."""
    return _streams.setdefault(policy.file, Stream(policy))


_HEAD = b'{"event":"call",'


def _same(file: IO[bytes], path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    here = Path(f"/proc/self/fd/{file.fileno()}").stat() if Path("/proc/self/fd").exists() else there
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
