"""Tries other weights on the proxy's own call log now and then, and takes those that are shown to be better.

    every `adapt.trials` hours, each profile: kuro tune --calls --write --better--> an audit line, a reload

It is tried in a process of its own, at a low priority, that no call waits for; a thread waits for it.
Who looks often enough finds gains in noise. So a trial looks at the calls since the weights were changed
last, for what a change was made of proves no other, only at twice as many as the trial before it, and with
intervals that cover 99 %.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from proxy.office import Asked, Keeper
from proxy.server.audit import done_by_itself

logger = logging.getLogger("kuro")

BY = "trial"
LOOK = 1.0
"""Seconds between two looks at whether it is time."""
HOUR = 3600.0
SURE = "99"
"""Percent that intervals cover."""


class Trials:
    """In the only process, or in the parent of several."""

    def __init__(self, keeper: Keeper, config: Path | None, ask: Callable[[Asked], object]) -> None:
        """`ask` is called from the thread. Without a place of its own nothing is tried."""
        self._keeper = keeper
        self._config = config
        self._ask = ask
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        """Of a trial that is under way."""
        self._since: dict[str, float] = {}
        """Profile -> Unix time of its last change here ..."""
        self._least: dict[str, int] = {}
        """... and how many calls it takes until the next trial."""
        self._thread = threading.Thread(target=self._run, name="kuro-trials", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def stop(self) -> None:
        """No more; one that is under way is given up."""
        self._over.set()
        process = self._process
        if process is not None:
            process.terminate()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._over.wait(LOOK):
            policy = self._keeper.settings.routing.adapt
            due = self._config is not None and policy.enabled and not policy.frozen and policy.trials > 0.0
            if due and time.monotonic() - last >= policy.trials * HOUR:
                self._try_all()
                last = time.monotonic()

    def _try_all(self) -> None:
        better = [self._try(profile) for profile in list(self._keeper.settings.routing.profiles)]
        if any(better):
            self._ask(Asked(BY))

    def _try(self, profile: str) -> bool:
        """Whether it has other weights now."""
        began = time.time()
        code, said, complaint = self._tune(profile)
        if code not in (0, 1):
            if not self._over.is_set():
                logger.info("no trial of the weights of %s: %s", profile, complaint, extra={"event": BY})
            return False
        card: Mapping[str, Any] = msgspec.json.decode(said)
        result = "changed" if card["better"] else "unchanged"
        done_by_itself(
            BY, "tune weights", profile, result, old=card["old"]["weights"], new=card["new"]["weights"],
            gain=card["gain"], calls=card["judged"], why=card["why"],
        )  # fmt: skip
        self._least[profile] = 2 * (card["searched"] + card["judged"])
        if card["better"]:
            self._since[profile], self._least[profile] = began, 0
        return bool(card["better"])

    def _tune(self, profile: str) -> tuple[int, bytes, str]:
        """Exit code, standard output, and the last line of what it complains of."""
        command = [sys.executable, "-m", "proxy", "tune", "--config", str(self._config), "--calls"]
        command += ["--gently", "--sure", SURE, "--profile", profile, "--write", "--json"]
        command += ["--least", str(self._least.get(profile, 0))]
        if profile in self._since:
            command += ["--since", f"{self._since[profile]:.3f}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
            self._process = process
            if self._over.is_set():
                process.terminate()
            said, complaint = process.communicate()
        self._process = None
        lines = complaint.decode(errors="replace").strip().splitlines()
        return process.returncode, said, lines[-1] if lines else f"exit code {process.returncode}"
