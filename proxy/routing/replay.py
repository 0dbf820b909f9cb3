"""Takes former decisions again under another configuration, and says what would have changed.

    record of the call log --grounds--> Router.decide_again --> the same model, another one, or a refusal

Nobody is called. What a model would have cost is the record's tokens at its price; how well it would have
answered, nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from proxy.errors import ApiError
from proxy.record import Grounds
from proxy.routing.explain import course
from proxy.routing.explain import described as trace
from proxy.routing.grounds import past
from proxy.routing.router import EXPLICIT, Router
from proxy.types import Classification, Features, Model, Price, RoutePlan, Usage

Cost = Callable[[Usage, Price], float | None]


class Stored(Struct):
    """What of a record is read. Everything else in it is passed over."""

    request_id: str
    requested_model: str = ""
    selected_model: str | None = None
    route: str = ""
    profile: str = ""
    plan: tuple[str, ...] = ()
    intents: dict[str, float] = {}
    difficulty: float | None = None
    scores: dict[str, float] = {}
    usage: Usage | None = None
    cost_usd: float | None = None
    grounds: Grounds | None = None
    prompt: str | None = None


class Again(Struct):
    """One decision, then and now."""

    request_id: str
    before: str
    """The model that was chosen: the first of the plan."""
    after: str | None
    """None: it would be refused."""
    route_before: str
    route_after: str = ""
    why: str = ""
    """Why the former model isn't the choice any more, or why the call would be refused."""
    cost_before: float | None = None
    cost_after: float | None = None
    intent_before: str | None = None
    intent_after: str | None = None

    @property
    def changed(self) -> bool:
        """Another model, or none."""
        return self.before != self.after


class Summary(Struct):
    """Over all records."""

    records: int = 0
    decided: int = 0
    changed: int = 0
    refused: int = 0
    reclassified: int = 0
    """Those whose words were kept."""
    undecided: Counter[str] = field(default_factory=Counter)
    """Why records could not be decided again -> how many."""
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(former model, present one) -> how many."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why -> how many."""
    compared: int = 0
    """Records whose cost is known before and after."""
    cost_before: float = 0.0
    cost_after: float = 0.0


class Replay:
    """One run over many records."""

    def __init__(
        self,
        router: Router,
        models: Iterable[Model],
        epoch: str,
        classify: Callable[[Features], Classification],
        cost: Cost,
    ) -> None:
        """`router` decides; `epoch` is the configuration that it was made of."""
        self._router = router
        self._models = {model.id: model for model in models}
        self.epoch = epoch
        self._classify = classify
        self._cost = cost
        self.summary = Summary()

    def take(self, line: bytes) -> Again | None:
        """Decides one record again; None when it can't be. Raises ValueError for what is no record."""
        try:
            stored = _decode(line)
        except msgspec.DecodeError as error:
            raise ValueError(f"is no call record: {error}") from None
        summary = self.summary
        summary.records += 1
        if reason := _undecidable(stored):
            summary.undecided[reason] += 1
            return None
        again = self._again(stored)
        summary.decided += 1
        if again.changed:
            summary.changed += 1
            summary.refused += again.after is None
            summary.moves[again.before, again.after or "refused"] += 1
            summary.reasons[again.why] += 1
        if again.cost_before is not None and again.cost_after is not None:
            summary.compared += 1
            summary.cost_before += again.cost_before
            summary.cost_after += again.cost_after
        return again

    def plan(self, stored: Stored, traced: bool = False) -> RoutePlan:
        """The decision on a record's grounds. Raises ApiError when nobody could serve it."""
        kept = stored.grounds
        assert kept is not None
        if stored.route == EXPLICIT:
            return self._router.named_again(stored.plan, stored.requested_model)
        same = kept.epoch == self.epoch
        intents, difficulty = stored.intents, stored.difficulty or 0.0
        if stored.prompt and not same:
            self.summary.reclassified += 1
            found = self._classify(Features(ask=stored.prompt, background=kept.background))
            intents, difficulty = dict(found.intents), found.difficulty
        ranking = stored.scores if same else None
        before = past(kept, stored.profile, intents, difficulty, ranking, stored.prompt or "")
        return self._router.decide_again(before, traced=traced)

    def _again(self, stored: Stored) -> Again:
        again = Again(
            request_id=stored.request_id,
            before=stored.plan[0],
            after=None,
            route_before=stored.route,
            intent_before=next(iter(stored.intents), None),
            cost_before=stored.cost_usd,
        )
        try:
            plan = self.plan(stored)
        except ApiError as error:
            again.why = error.message
            return again
        again.after, again.route_after = plan.models[0], plan.route
        again.intent_after = plan.classification.top if plan.classification else None
        # A fallback that answered would have been paid for then as now: the choices are compared.
        chosen = stored.selected_model == again.before
        again.cost_before = stored.cost_usd if chosen else self._priced(again.before, stored.usage)
        unchanged = again.before == again.after and chosen
        again.cost_after = again.cost_before if unchanged else self._priced(again.after, stored.usage)
        if again.changed:
            again.why = self._why(again.before, plan)
        return again

    def _priced(self, model: str, usage: Usage | None) -> float | None:
        known = self._models.get(model)
        if known is None or known.price is None or usage is None:
            return None
        return self._cost(usage, known.price)

    def _why(self, before: str, plan: RoutePlan) -> str:
        if before not in self._models:
            return f"{before} is not ready here"
        if before not in plan.models:
            return f"{before} can't serve it here"
        if plan.route.startswith("rule:"):
            return f"{plan.route} holds"
        if plan.route == "sticky":
            return "the conversation's model stays"
        return "another total is higher"


def _undecidable(stored: Stored) -> str:
    if not stored.plan or not stored.route:
        return "it was refused before it was routed"
    if stored.grounds is None:
        return "its grounds were not kept"
    if stored.route != EXPLICIT and not stored.intents:
        return "its intents were not kept"
    return ""


_decode = msgspec.json.Decoder(Stored).decode


def decided_again(replay: Replay, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """A record's decision as `replay`'s configuration takes it, and what came of it: as a traced reply tells.

    None where it can't be taken. `same_configuration`: it is the one that was in force, and this the very
    decision.
    """
    stored = msgspec.convert(record, Stored)
    if stored.grounds is None or _undecidable(stored):
        return None
    same = {"same_configuration": replay.epoch == stored.grounds.epoch}
    try:
        return {**same, **trace(replay.plan(stored, traced=True)), **course(record)}
    except ApiError as error:
        return {**same, "refused": error.message, **course(record)}


def described(summary: Summary) -> Mapping[str, Any]:
    """As plain data."""
    return {
        "records": summary.records,
        "decided": summary.decided,
        "changed": summary.changed,
        "refused": summary.refused,
        "reclassified": summary.reclassified,
        "undecided": dict(summary.undecided),
        "moves": [{"from": a, "to": b, "calls": n} for (a, b), n in summary.moves.most_common()],
        "reasons": dict(summary.reasons.most_common()),
        "cost_usd": {
            "calls": summary.compared,
            "before": summary.cost_before,
            "after": summary.cost_after,
        },
    }
