"""Series in words, as Prometheus scrapes them (text format 0.0.4).

    # HELP llm_fallback_total Calls that another than the first choice answered.
    # TYPE llm_fallback_total counter
    llm_fallback_total{model="groq/llama",provider="groq"} 3.0

https://prometheus.io/docs/instrumenting/exposition_formats/. Written here because the scrape holds up
calls: the Prometheus client takes 13 ms for 30 models, this takes 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from proxy.telemetry.families import FAMILIES, Family, Kind, Labels
from proxy.telemetry.series import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(series: Series) -> bytes:
    """The exposition: every family, also one without a series yet."""
    return "".join(line for family in FAMILIES.values() for line in _lines(family, series)).encode()


def _lines(family: Family, series: Series) -> Iterator[str]:
    name = family.name
    yield f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n"
    if family.kind is Kind.HISTOGRAM:
        for labels, counts in series.histograms.get(name, {}).items():
            yield from _buckets(family, labels, counts)
        return
    numbers = series.counters if family.kind is Kind.COUNTER else series.gauges
    for labels, value in numbers.get(name, {}).items():
        pairs = _pairs(family.labels, labels)
        yield f"{name}{{{pairs}}} {value!r}\n" if pairs else f"{name} {value!r}\n"


def _buckets(family: Family, labels: Labels, counts: list[float]) -> Iterator[str]:
    """Buckets hold all that is below their bound."""
    name, pairs = family.name, _pairs(family.labels, labels)
    head = f'{name}_bucket{{{pairs},le="' if pairs else f'{name}_bucket{{le="'
    reached = accumulate(counts[:-1])
    for bound, count in zip((*family.bounds, "+Inf"), reached, strict=True):
        yield f'{head}{bound}"}} {count!r}\n'
    braces = f"{{{pairs}}}" if pairs else ""
    yield f"{name}_sum{braces} {counts[-1]!r}\n{name}_count{braces} {sum(counts[:-1])!r}\n"


def _pairs(names: Labels, values: Labels) -> str:
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)])


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
