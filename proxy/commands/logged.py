"""Calls of the log that callers judged, and whose models were left to chance: what can be learned from.

call log --records with feedback--> taken again by today's weights --> Drawn
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.commands.measuring import progress_bar
from proxy.commands.options import ALL
from proxy.errors import ApiError, ConfigError
from proxy.evaluate.drawn import Drawn, amiss, judged, rates
from proxy.record import Query
from proxy.routing.memory import Once
from proxy.routing.replay import Stored
from proxy.routing.scoring import felt
from proxy.settings import Settings
from proxy.telemetry.archive import ArchiveError, Reader
from proxy.types import RoutePlan

BY_SCORE = "score"
"""The route of a choice that weights decide."""


class _Asked(NamedTuple):
    """A call whose model was left to chance."""

    first: str
    odds: tuple[tuple[str, float], ...]
    judged: bool

    @property
    def chances(self) -> dict[str, float]:
        return dict(self.odds)


class Log(Struct, frozen=True):
    """What a call log tells."""

    file: str
    drawn: int
    """Calls whose model was left to chance, judged or not."""
    records: list[Stored]
    calls: list[Drawn]
    """Of those records, in the same order: the judged ones."""
    amiss: str
    """Why their chances can't be trusted; nothing: they can."""

    @property
    def told(self) -> str:
        """For a reader."""
        return f"of {self.drawn:,} calls that chance had a hand in, {len(self.calls):,} tell something"


def read(settings: Settings, file: str = "", since: float | None = None, profile: str | None = None) -> Log:
    """The log, or the configuration's own; of one profile, or of all. Raises ConfigError where there is
    nothing to be read."""
    name = file or settings.calls.file
    if name is None:
        raise ConfigError(["no call is kept: telemetry.calls is switched off in proxy.yml"])
    try:
        with Reader(Path(name)) as reader:
            asked, found = _drawn(reader, since, profile)
    except ArchiveError as error:
        raise ConfigError([str(error)]) from None
    often = rates((each.first, each.judged) for each in asked)
    pairs = []
    with progress_bar("calls", len(found)) as progress:
        for number, (stored, plan, score) in enumerate(_taken_again(settings, found), start=1):
            call = _call(stored, plan, score, often)
            if call is not None:
                pairs.append((stored, call))
            progress(number)
    return Log(
        file=name,
        drawn=len(asked),
        records=[stored for stored, _ in pairs],
        calls=[call for _, call in pairs],
        amiss=amiss([(each.first, each.chances) for each in asked]),
    )


def choices(settings: Settings, records: list[Stored]) -> list[str]:
    """Whom these settings ask first: they differ from those that took the records again in weights alone."""
    found = [(stored, 1.0) for stored in records]
    return [plan.models[0] for _, plan, _ in _taken_again(settings, found)]


def _drawn(
    reader: Reader, since: float | None, profile: str | None
) -> tuple[list[_Asked], list[tuple[Stored, float]]]:
    """Calls that were left to chance, without a dial of the caller's; and those of them that can be learned
    from, with their feedback. There may be hundreds of thousands of which nothing else is wanted."""
    asked, found, once = [], [], Once()
    for record, score in reader.scored(Query(since=since, limit=ALL)):
        stored = _decode(record)
        kept = stored.grounds
        if kept is None or kept.lot is None or kept.tradeoff is not None:
            continue
        if profile not in (None, stored.profile):
            continue
        odds = once(tuple(kept.lot.chances.items()))
        asked.append(_Asked(stored.plan[0], odds, score is not None))
        if score is not None and stored.cost_usd is not None and stored.intents:
            found.append((replace(stored, prompt=None), score))
    return asked, found


def _taken_again(
    settings: Settings, found: Sequence[tuple[Stored, float]]
) -> Iterator[tuple[Stored, RoutePlan, float]]:
    """By the weights of `settings`."""
    from proxy.routers import replayer

    replay = replayer(settings)
    for stored, score in found:
        try:
            yield stored, replay.undrawn(stored), score
        except ApiError:
            continue  # nobody is left who could serve it


def _call(stored: Stored, plan: RoutePlan, score: float, often: Callable[[str], float]) -> Drawn | None:
    """None where it isn't known what today's choice would have made of it."""
    odds, choice = judged(_chances(stored), often), plan.models[0]
    terms = {scored.model: scored.terms for scored in plan.scores if scored.model not in plan.shut}
    if choice not in odds or choice not in terms:
        return None
    cost = (stored.cost_usd or 0.0) + stored.wasted_usd
    return Drawn(
        chances=odds,
        model=stored.plan[0],
        quality=min(max(score, 0.0), 1.0),
        cost=cost,
        paid=felt(cost),
        terms=dict(terms),
        choice=choice,
        scored=plan.route == BY_SCORE,
        intent=next(iter(stored.intents)),
        conversation=f"{stored.key_id} {stored.session or stored.request_id}",
    )


def _chances(stored: Stored) -> dict[str, float]:
    assert stored.grounds is not None and stored.grounds.lot is not None
    return dict(stored.grounds.lot.chances)


_decode = msgspec.json.Decoder(Stored).decode
