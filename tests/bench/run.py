"""`make bench`: kuro beside the raw floor, nginx and LiteLLM in the same run, as one table of ratios.

    python -m tests.bench.run [--only chat,stream] [--quick] [--rounds 5] [--output FILE] [--write]

Exit code 1 when an answer was wrong; a missed target is shown, not punished: the machine may be busy.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.contenders import MAKERS, ROOT, Process, stub
from tests.bench.scenarios import SCENARIOS, Bench, Row

PAGE = ROOT / "docs" / "measured.md"
HEADINGS = ("what", "kuro", "beside", "ratio", "target", "")


def main() -> int:
    """Runs the chosen scenarios; the process's exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are ended then, too
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kuro-bench-")))
        upstream = stack.enter_context(_stub())
        running = dict(_started(stack, upstream, place, options.contenders))
        rounds, scale = (2, 0.05) if options.quick else (options.rounds, 1.0)
        bench = Bench(running, upstream, place, rounds, scale)
        rows = list(_rows(bench, options.only))
    table = _table(rows, _machine(bench, options.quick))
    print(table, end="")
    if options.output:
        options.output.write_text(table, "utf-8")
    if options.write:
        put_into(PAGE, "bench", table)
    for problem in bench.problems:
        print(problem, file=sys.stderr)
    return 1 if bench.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__)
    parser.add_argument(
        "--only", type=_names(SCENARIOS), default=[*SCENARIOS], help=f"of {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--contenders", type=_names(MAKERS), default=[*MAKERS], help=f"of {', '.join(MAKERS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender; medians are shown")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the work: does it run at all")
    parser.add_argument("--output", type=Path, help="also write the table there, as markdown")
    parser.add_argument("--write", action="store_true", help="also put the table into docs/measured.md")
    return parser.parse_args()


def put_into(page: Path, name: str, table: str) -> None:
    """Replaces what stands between the page's two marks `name: ...` and `/name`, which are comments. Raises
    ValueError where they aren't."""
    text = page.read_text("utf-8")
    start, end = text.index("\n", text.index(f"<!-- {name}:")) + 1, text.index(f"<!-- /{name} -->")
    page.write_text(f"{text[:start]}\n{table}\n{text[end:]}", "utf-8")


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """An argparse type: comma-separated members of `known`."""

    def convert(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
        return names

    return convert


@contextmanager
def _stub() -> Iterator[int]:
    child, port = stub()
    try:
        yield port
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _started(stack: ExitStack, upstream: int, place: Path, names: list[str]) -> Iterator[tuple[str, Process]]:
    """The contenders that are there, each stopped at the end."""
    for name in dict.fromkeys(["kuro", *names]):
        process = MAKERS[name](upstream, place)
        if process is None:
            _tell(f"{name} is not installed: left out (`make bench-peers` installs it)")
            continue
        stack.callback(process.stop)
        process.start()
        _tell(f"{name} answers after {process.started_in:.2f} s")
        yield name, process


def _rows(bench: Bench, names: list[str]) -> Iterator[Row]:
    for name in names:
        began = time.perf_counter()
        yield from SCENARIOS[name](bench)
        _tell(f"{name} took {time.perf_counter() - began:.0f} s")


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _machine(bench: Bench, quick: bool) -> str:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    load = os.getloadavg()[0]
    rounds = f"{bench.rounds} rounds" + (", QUICK: figures mean little" if quick else "")
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} x {cpu}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {rounds}, load average {load:.1f} at the end."
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _table(rows: Sequence[Row], footer: str) -> str:
    """Markdown that can be read as it is, too."""
    verdicts = {True: "ok", False: "missed", None: ""}
    lines = [HEADINGS, *((r.what, r.kuro, r.beside, r.ratio, r.target, verdicts[r.kept]) for r in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([shown[0], rule, *shown[1:], "", footer, ""])


if __name__ == "__main__":
    sys.exit(main())
