"""JSON lines: one per call, and the application's own messages in the same stream.

    {"event": "call", "request_id": ..., "intent": ..., "attempts": [...], ..., "level": "info"}
    {"time": ..., "level": "warning", "logger": "kuro", "pid": ..., "message": ...}

Never prompt text: a record holds none, and what an upstream said, which may quote it, is cut short.
"""

from __future__ import annotations

import logging
from typing import Any

from msgspec.structs import replace

from proxy.record import Attempt
from proxy.telemetry.encoding import Batch, encode, encode_lines
from proxy.telemetry.policy import LogLevel, LogPolicy
from proxy.telemetry.stream import Stream

REASON_LIMIT = 300
"""Characters of an upstream's message in a log line."""

_CARRIED = ("event", "url", "model", "reload", "admin")
"""What `extra=` may add to a message's line."""
_FOREIGN = ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar", "httpx", "httpcore")
"""Loggers whose INFO tells of start and stop, which we say ourselves, or of every single request."""

_streams: dict[str, Stream] = {}


def stream(policy: LogPolicy) -> Stream:
    """The process's stream for this policy: records and messages of one file share it."""
    file = policy.file or "stdout"
    if file not in _streams:
        _streams[file] = Stream(file)
    return _streams[file]


def lost_lines() -> int:
    """Lines that this process could not write, in all streams."""
    return sum(stream.lost for stream in _streams.values())


def configure(policy: LogPolicy, level: str | None = None) -> None:
    """Sends all logging (ours, uvicorn's, litestar's) to the policy's stream; `level` overrides its own."""
    least = logging.getLevelNamesMapping()[(level or policy.level).upper()]
    handler = StreamHandler(stream(policy))
    # On the handler, too: a logger's own level would let its messages pass the root's.
    handler.setLevel(least)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in _FOREIGN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)


class CallLog:
    """A sink: a line for each record."""

    def __init__(self, policy: LogPolicy) -> None:
        self._stream = stream(policy)
        self.adopt(policy)

    def adopt(self, policy: LogPolicy) -> None:
        """A reload: whether lines are wanted. They go where they went."""
        self._wanted = policy.calls and policy.level is not LogLevel.CRITICAL

    def write(self, batch: Batch) -> None:
        """Hands the batch to the stream as one piece."""
        if self._wanted:
            self._stream.write(_cut(batch) if _is_long(batch) else batch.lines)

    def close(self) -> None:
        """Waits for what is on its way. The stream is the messages', too, and stays open."""
        self._stream.flush()


class JsonFormatter(logging.Formatter):
    """A message as one JSON line, its traceback inside it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,  # several workers write here, and have circuits of their own
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _CARRIED if hasattr(record, name)})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return encode(line).decode()


class StreamHandler(logging.Handler):
    """Writes messages into the stream that call records go to."""

    def __init__(self, target: Stream) -> None:
        super().__init__()
        self._target = target
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line. A message that doesn't fit its arguments is reported as logging does."""
        try:
            self._target.write(self.format(record).encode() + b"\n", soon=True)
        except Exception:
            self.handleError(record)


def _is_long(batch: Batch) -> bool:
    """Whether any attempt's reason is too long for a line."""
    return any(len(attempt.reason) > REASON_LIMIT for record in batch for attempt in record.attempts)


def _cut(batch: Batch) -> bytes:
    """The lines of a batch, with shorter reasons."""
    return encode_lines([replace(each, attempts=[_short(one) for one in each.attempts]) for each in batch])


def _short(attempt: Attempt) -> Attempt:
    if len(attempt.reason) <= REASON_LIMIT:
        return attempt
    return replace(attempt, reason=attempt.reason[: REASON_LIMIT - 1] + "…")
