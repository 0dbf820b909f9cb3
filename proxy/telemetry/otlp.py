"""Metrics by OTLP: every family of /metrics, sent to a collector now and then, for who isn't scraped.

    event loop: beat, when it is time --snapshot as bytes--> thread: data points --> the SDK's exporter

Each worker sends what it has counted itself, cumulative since its start, under an instance id of its own: so
the collector tells workers apart, and sees a restart for what it is
(https://opentelemetry.io/docs/specs/otel/metrics/data-model/). The SDK's instruments would cost a call some
10 us each; it is handed finished numbers instead, and only its exporters are used.
"""

from __future__ import annotations

import multiprocessing
import platform
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING

from proxy import __version__
from proxy.telemetry.families import FAMILIES, Family, Kind
from proxy.telemetry.policy import MetricPolicy, OtlpProtocol
from proxy.telemetry.series import Numbers, Series, decode, encode

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricExporter, MetricsData
    from opentelemetry.sdk.metrics.export import NumberDataPoint as Point

EXPORT_TIMEOUT = 5.0
"""Seconds for one export, retries included; the end of the process waits no longer for a silent collector."""

UNITS = {"_seconds": "s", "_per_second": "1/s", "_bytes": "By", "_usd": "USD"}
"""How names end, `_total` apart -> the unit, by UCUM where it has one. Anything else is a number: 1."""


def open_exports(policy: MetricPolicy, service: str, wall: Callable[[], float]) -> list[MetricExport]:
    """The export that the policy asks for, or none. `service` is the resource's service.name."""
    return [MetricExport(policy, policy.endpoint, service, wall)] if policy.endpoint else []


class MetricExport:
    """Sends what it is shown. Its thread ends with the process."""

    def __init__(self, policy: MetricPolicy, endpoint: str, service: str, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._interval = policy.interval
        self._began = self._next = wall()
        self._shown: SimpleQueue[bytes | None] = SimpleQueue()
        exporter = _exporter(policy, endpoint)
        self._thread = threading.Thread(
            target=self._run, args=(exporter, service), name="kuro-otlp", daemon=True
        )
        self._thread.start()
        self.lost = 0
        """Exports that no collector took. What they held comes again with the next."""

    def adopt(self, policy: MetricPolicy) -> None:
        """A reload: another interval. Where metrics go stays as it is."""
        self._interval = policy.interval

    def beat(self, snapshot: Callable[[], Series]) -> None:
        """Sends one when it is time, unless the last is still on its way. Never waits."""
        if self._wall() >= self._next and self._shown.empty():
            self._next = self._wall() + self._interval
            self._shown.put(encode(snapshot()))

    def close(self, snapshot: Callable[[], Series]) -> None:
        """Sends the last one, as far as that can be done in time."""
        self._shown.put(encode(snapshot()))
        self._shown.put(None)
        self._thread.join(EXPORT_TIMEOUT)

    def _run(self, exporter: MetricExporter, service: str) -> None:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        while (shown := self._shown.get()) is not None:
            data = metrics_data(decode(shown), service, self._began, self._wall())
            if exporter.export(data) is not MetricExportResult.SUCCESS:
                self.lost += 1


def metrics_data(series: Series, service: str, began: float, now: float) -> MetricsData:
    """The SDK's form of what was counted from `began` to `now`, Unix times."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    times = (int(began * 1e9), int(now * 1e9))
    process = multiprocessing.current_process()
    resource = Resource.create(
        {
            "service.name": service,
            "service.version": __version__,
            "service.instance.id": f"{platform.node()}-{process.pid}-{times[0]}",
        }
    )
    scope = InstrumentationScope("kuro", __version__)
    metrics = list(_metrics(series, times))
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def _metrics(series: Series, times: tuple[int, int]) -> Iterator[Metric]:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

    cumulative = AggregationTemporality.CUMULATIVE
    for family in FAMILIES.values():
        data: Sum | Gauge | Histogram
        if family.kind is Kind.HISTOGRAM:
            data = Histogram(_buckets(family, series, times), cumulative)
        elif family.kind is Kind.COUNTER:
            numbers = series.counters.get(family.name, {})
            data = Sum(_points(family, numbers, times), cumulative, is_monotonic=True)
        else:
            data = Gauge(_points(family, series.gauges.get(family.name, {}), times))
        if data.data_points:
            yield Metric(family.name, family.help, unit(family.name), data)


def unit(name: str) -> str:
    """The unit that a family's name says."""
    stem = name.removesuffix("_total")
    return next((unit for end, unit in UNITS.items() if stem.endswith(end)), "1")


def _points(family: Family, numbers: Numbers, times: tuple[int, int]) -> list[Point]:
    from opentelemetry.sdk.metrics.export import NumberDataPoint

    return [
        NumberDataPoint(dict(zip(family.labels, labels, strict=True)), *times, value)
        for labels, value in numbers.items()
    ]


def _buckets(family: Family, series: Series, times: tuple[int, int]) -> list[HistogramDataPoint]:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    nothing: float = None  # type: ignore[assignment]  # optional on the wire; they aren't kept here
    return [
        HistogramDataPoint(
            attributes=dict(zip(family.labels, labels, strict=True)),
            start_time_unix_nano=times[0],
            time_unix_nano=times[1],
            count=int(sum(counts[:-1])),
            sum=counts[-1],
            bucket_counts=[int(count) for count in counts[:-1]],
            explicit_bounds=family.bounds,
            min=nothing,
            max=nothing,
        )
        for labels, counts in series.histograms.get(family.name, {}).items()
    ]


def _exporter(policy: MetricPolicy, endpoint: str) -> MetricExporter:
    headers = policy.headers or None
    if policy.protocol is OtlpProtocol.GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc

        insecure = not endpoint.startswith("https:")
        return Grpc(endpoint=endpoint, headers=headers, insecure=insecure, timeout=EXPORT_TIMEOUT)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http

    return Http(endpoint=endpoint, headers=headers, timeout=EXPORT_TIMEOUT)
