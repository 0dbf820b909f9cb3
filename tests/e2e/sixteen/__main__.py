"""The sixteen faults for an operator, a line for each: `python -m tests.e2e.sixteen [--full]`.

`--full` waits out the silences and outages at their real length: about six minutes instead of half of one.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict

import pytest

FAULTS = (
    "429 with Retry-After: 2, once",
    "429 without the header, always",
    "500, once",
    "503, always",
    "a reset before the headers",
    "accepts and never answers",
    "headers at once, the first token too late",
    "cut after 40 of 60 words",
    "silence after 20 words",
    "an event that is not JSON",
    "no [DONE]",
    "context_length_exceeded",
    "a content filter",
    "cut, and the fallback refuses prefill",
    "503 for a minute, then healthy",
    "503 always: whose model, usage and cost",
)
_NUMBER = re.compile(r"::test_(\d\d)_")


class Report:
    """A pytest plugin that keeps each fault's results and prints its line when the next one begins."""

    def __init__(self) -> None:
        self.told = 0
        self.seconds: dict[int, float] = defaultdict(float)
        self.tests: dict[int, int] = defaultdict(int)
        self.failed: dict[int, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: _number(item.nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        number = _number(report.nodeid)
        self.tell(number - 1)
        self.seconds[number] += report.duration
        self.tests[number] += report.when == "call"
        if report.failed:
            self.failed[number].append(f"{report.nodeid.partition('::')[2]}\n{report.longreprtext}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(report.longrepr, file=sys.stderr)

    def tell(self, last: int) -> None:
        for number in range(self.told + 1, last + 1):
            print(self.line(number), flush=True)
        self.told = max(self.told, last)

    def line(self, number: int) -> str:
        verdict = "FAILED" if number in self.failed else "passed" if self.tests[number] else "not run"
        counted = f"{self.tests[number]} tests, {self.seconds[number]:.1f} s"
        return f"{number:2}  {verdict:7}  {FAULTS[number - 1]:42} {counted}"


def _number(nodeid: str) -> int:
    found = _NUMBER.search(nodeid)
    assert found is not None, nodeid
    return int(found[1])


def main() -> int:
    report = Report()
    full = "--full" in sys.argv[1:]
    options = ["--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist"]
    chosen = [] if full else ["-m", "not slow"]
    # The project's own options speak of output, which is this file's business here.
    code = pytest.main(["-o", "addopts=", *options, *chosen, "tests/e2e/sixteen"], [report])
    report.tell(len(FAULTS))
    for failures in report.failed.values():
        print(*failures, sep="\n", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
