"""Where the plain routes bring what concerns every process: asks the office, and words what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.errors import ApiError
from proxy.office import Asked, Verdict
from proxy.reload import Ask
from proxy.server.health import Heard, Look
from proxy.server.learned import Forget, Forgotten, Restore
from proxy.server.link import Reach
from proxy.server.orders import Command, Ruling
from proxy.server.state import Rated


class Desk:
    """One process's. Every question may wait for the other workers."""

    def __init__(self, ask: Ask, epoch: Callable[[], str]) -> None:
        """`epoch` is that of the configuration in force."""
        self._ask = ask
        self._epoch = epoch

    async def reload(self, by: str, dry_run: bool) -> dict[str, Any]:
        """For the admin of this name. Raises ApiError 422 with every problem."""
        answer = await self._ask(_asked(by, dry_run), Reach.PARENT if dry_run else Reach.ALL)
        return {**shown(answer.said, dry_run), "silent": answer.silent}

    async def compare(self, by: str) -> dict[str, Any]:
        """The files beside what is in force."""
        answer = await self._ask(_asked(by, dry_run=True), Reach.PARENT)
        return compared(answer.said, self._epoch())

    async def order(self, command: Command) -> tuple[Ruling, tuple[str, ...]]:
        """What came of it, and who has not said in time that it is done."""
        answer = await self._ask(command, Reach.ALL)
        return answer.said, answer.silent

    async def restore(self, by: str) -> dict[str, Any]:
        """Has the weights of profiles put back, for the admin of this name. Raises ApiError 422 where that
        can't be done."""
        answer = await self._ask(Restore(by), Reach.ALL)
        return {**shown(answer.said), "silent": answer.silent}

    async def forget(self, wanted: Forget) -> Forgotten:
        """What every worker has forgotten."""
        answer = await self._ask(wanted, Reach.ALL)
        return Forgotten(answer.heard, answer.silent)

    async def look(self) -> Heard:
        """How the models are doing in every worker."""
        answer = await self._ask(Look(), Reach.SERVING)
        return Heard(answer.heard, answer.silent)

    async def learn(self, rated: Rated) -> None:
        """Every worker learns from a caller's feedback."""
        await self._ask(rated, Reach.SERVING)


def _asked(by: str, dry_run: bool) -> Asked:
    return Asked(f"admin key {by}", dry_run)


def compared(verdict: Verdict, epoch: str) -> dict[str, Any]:
    """The files beside what is in force, `epoch`, for the admin API."""
    report = verdict.report
    return {
        "object": "registry_diff",
        "result": report.result,
        "in_force": epoch,
        "on_disk": None if report.problems else report.epoch,
        "problems": report.problems,
        "warnings": report.warnings,
        "differences": verdict.differences,
        "needs_restart": report.changes.needs_restart,
    }


def shown(verdict: Verdict, dry_run: bool = False) -> dict[str, Any]:
    """The answer to the admin API. Raises ApiError 422 with every problem."""
    report = verdict.report
    if report.result == "refused":
        said = "The configuration stays as it was:\n" + "\n".join(report.problems)
        raise ApiError(422, said, code="invalid_config")
    found = report.changes
    return {
        "object": "reload",
        "result": report.result,
        "dry_run": dry_run,
        "epoch": report.epoch,
        "epoch_before": report.epoch_before,
        "models": {"added": found.added, "removed": found.removed, "changed": found.changed},
        "other": found.other,
        "needs_restart": found.needs_restart,
        "warnings": report.warnings,
    }
