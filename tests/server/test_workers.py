"""The parent of several workers; what it does with living ones is in tests/e2e/test_stopping.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_workers_that_can_not_start_are_not_started_again_and_again() -> None:
    command = [sys.executable, "-m", "tests.server.failing_worker"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 3
    assert "a worker ended with 3 instead of serving" in done.stderr
