"""`make soak`: twenty minutes of mixed load, then the table. Exit code 1 when a line of it is missed.

python -m tests.soak [--minutes 20] [--rate 120] [--callers 40] [--no-reload] [--samples FILE.csv]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.soak.run import Options, soak
from tests.soak.verdict import shown, verdict
from tests.soak.watch import save


def main() -> int:
    """Runs it; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20, help="of load, the warm-up included")
    parser.add_argument("--warm-up", type=float, help="minutes that don't count; a quarter when not given")
    parser.add_argument("--rate", type=float, default=120, help="calls a second")
    parser.add_argument("--callers", type=int, default=40)
    parser.add_argument("--faults", type=float, default=0.1, help="share of the upstream's answers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reload", type=float, default=60, help="seconds between two reloads")
    parser.add_argument("--no-reload", action="store_const", dest="reload", const=0.0)
    parser.add_argument("--samples", type=Path, help="where to write all samples, as CSV")
    parser.add_argument("--place", type=Path, help="keep the configuration and the log there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kuro-soak-") as place:
        options = Options(
            place=given.place or Path(place),
            seconds=given.minutes * 60,
            warm_up=(given.minutes / 4 if given.warm_up is None else given.warm_up) * 60,
            rate=given.rate,
            callers=given.callers,
            faults=given.faults,
            seed=given.seed,
            reload=given.reload,
        )
        run = uvloop.run(soak(options))
    if given.samples:
        save(run.samples, given.samples)
    lines = verdict(run)
    print("\n" + shown(lines))
    for problem in run.accounts.problems:
        print(problem, file=sys.stderr)
    return 1 if any(line.kept is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
