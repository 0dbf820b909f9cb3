"""What has to hold at the end, a line each, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.soak.accounts import Accounts
from tests.soak.slope import Slope, binned, slope
from tests.soak.watch import GAUGES, LOST, Sample

MOST = 1.0
"""MB an hour."""
BIN = 10.0
"""Seconds whose samples make one."""


@dataclass
class Run:
    """All that one soak has brought."""

    samples: list[Sample]
    """While the load lasted."""
    before: Sample
    after: Sample
    """At rest."""
    upstream_before: int
    upstream_after: int
    """Connections, as the stub counts them."""
    accounts: Accounts
    warm_up: float
    """Seconds that don't count for the slope."""
    reloads: int
    reloaded: int
    """Told to, and done."""
    code: int
    """The process's exit code."""
    asserts_slope: bool = True
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """One line of the table. `kept` is None where there is no target."""

    what: str
    found: str
    wanted: str = ""
    kept: bool | None = None


def verdict(run: Run) -> list[Line]:
    """The table."""
    return [*_memory(run), *_back(run), *_books(run), *_end(run)]


def shown(lines: Sequence[Line]) -> str:
    """As text."""
    said = {True: "ok", False: "MISSED", None: ""}
    rows = [(line.what, line.found, line.wanted, said[line.kept]) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    shaped = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in shaped)


def growth(samples: Sequence[Sample], field: str, warm_up: float) -> Slope:
    """MB an hour after the warm-up."""
    points = [(each.at / 3600, getattr(each, field)) for each in samples if each.at >= warm_up]
    return slope(binned(points, BIN / 3600))


def _memory(run: Run) -> Iterator[Line]:
    resident = growth(run.samples, "resident", run.warm_up)
    own = growth(run.samples, "anonymous", run.warm_up)
    kept = resident.slope < MOST if run.asserts_slope else None
    yield Line("resident memory, after warm-up", _per_hour(resident), f"< {MOST:g} MB/h", kept)
    yield Line("... without mapped files", _per_hour(own))
    warm = [each for each in run.samples if each.at >= run.warm_up] or run.samples
    first, last = warm[0].resident, warm[-1].resident
    most = max(each.resident for each in run.samples)
    yield Line("... at its start, end, most", f"{first:.1f}, {last:.1f}, {most:.1f} MB")


def _per_hour(found: Slope) -> str:
    return f"{found.slope:+.2f} MB/h, standard error {found.error:.2f}"


def _back(run: Run) -> Iterator[Line]:
    """What has to come back to what it was before the load."""
    before, after = run.before, run.after
    peak = max(each.open for each in run.samples)
    kinds = ", ".join(
        f"{count} {kind}" for kind, count in sorted((after.descriptors - before.descriptors).items())
    )
    found = f"{after.open}, at most {peak}" + (f" ({kinds} more)" if kinds else "")
    yield Line("descriptors at rest", found, f"<= {before.open}", after.open <= before.open)
    yield Line("threads at rest", str(after.threads), f"<= {before.threads}", after.threads <= before.threads)
    for name in GAUGES:
        if name in after.gauges:
            most = max(each.gauges.get(name, 0) for each in run.samples)
            wanted = before.gauges[name]
            found = f"{after.gauges[name]:g}, at most {most:g}"
            yield Line(f"{name} at rest", found, f"{wanted:g}", after.gauges[name] == wanted)
    yield Line(
        "upstream connections at rest",
        str(run.upstream_after),
        str(run.upstream_before),
        run.upstream_after == run.upstream_before,
    )


def _books(run: Run) -> Iterator[Line]:
    books = run.accounts
    yield Line("calls", f"{books.asked:,}")
    yield Line("records", f"{books.recorded:,}", f"{books.asked - books.excused:,}", _balanced(books))
    yield Line("calls without a record", str(books.unrecorded), "0", not books.unrecorded)
    yield Line("records without a call", str(books.unasked), "0", not books.unasked)
    yield Line("calls recorded twice", str(books.twice), "0", not books.twice)
    yield Line("caller and record differ", str(books.disagreements), "0", not books.disagreements)
    yield Line("outcomes", _counted(books.outcomes))
    yield Line("failed attempts", _counted(books.failures))
    yield Line("answered by another model", f"{books.fallbacks:,}, of these continued: {books.splices:,}")
    lost = sum(run.after.gauges.get(name, 0) for name in LOST)
    yield Line("lost records, lines, batches", f"{lost:g}", "0", not lost)
    errors = books.told["error"] + books.told["critical"]
    yield Line("errors in the log", str(errors), "0", not errors)


def _balanced(books: Accounts) -> bool:
    return books.recorded == books.asked - books.excused


def _end(run: Run) -> Iterator[Line]:
    if run.reloads:
        yield Line("reloads", str(run.reloaded), str(run.reloads), run.reloaded == run.reloads)
    yield Line("exit code after SIGTERM", str(run.code), "0", run.code == 0)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
