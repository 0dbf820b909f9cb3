"""The parent of several workers; what it does with living ones is in tests/e2e/test_stopping.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_workers_that_can_not_start_are_not_started_again_and_again() -> None:
    command = [sys.executable, "-m", "tests.server.failing_worker"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 3
    assert "a worker ended with 3 instead of serving" in done.stderr


def test_workers_that_die_before_they_can_read_what_to_do_keep_nobody_waiting() -> None:
    command = [sys.executable, "-m", "tests.server.failing_worker", "/nonexistent/python"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 255
    assert "a worker ended with 255 instead of serving" in done.stderr


def test_a_question_without_an_answer_ends_nobody() -> None:
    command = [sys.executable, "-m", "tests.server.undecided"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout and parent.stderr
        assert [parent.stdout.readline() for _ in range(2)] == ["0 True\n", "1 True\n"]
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(20) == 0
        assert parent.stderr.read().count("KeyError: 'why'") == 2
