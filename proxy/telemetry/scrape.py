"""What a process shows of its counts: to who scrapes it, to other workers and to collectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.telemetry.board import Board
from proxy.telemetry.exposition import CONTENT_TYPE, render
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.otlp import MetricExport
from proxy.telemetry.pulse import Pulse


class Scrape:
    """An async context manager around the recorder's: its last flush is counted, too."""

    def __init__(
        self,
        metrics: Metrics,
        flush: Callable[[], None],
        board: Board | None,
        exports: Sequence[MetricExport] = (),
    ) -> None:
        """`board` is shared with the other workers; None: this process is the only one."""
        self._metrics = metrics
        self._flush = flush
        self._board = board
        self._exports = exports
        self._pulse = Pulse(metrics.late, self._post)

    def show(self) -> tuple[bytes, str]:
        """The exposition, of all workers together, and its content type. Raises OSError."""
        self._flush()
        series = self._metrics.snapshot()
        if self._board is not None:
            series = self._board.total(series)
        return render(series), CONTENT_TYPE

    async def __aenter__(self) -> Scrape:
        await self._pulse.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pulse.__aexit__(*error)
        self._pulse.beat()
        for export in self._exports:
            export.close(self._metrics.snapshot)
        if self._board is not None:
            self._board.leave()

    def _post(self) -> None:
        for export in self._exports:
            export.beat(self._metrics.snapshot)
        if self._board is not None:
            self._board.post(self._metrics.snapshot())
