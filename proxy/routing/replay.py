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
from proxy.routing.pool import unfit
from proxy.routing.router import EXPLICIT, Router
from proxy.types import Classification, Features, Model, Price, RoutePlan, Usage

Cost = Callable[[Usage, Price], float | None]

REFUSED = "refused"
"""In place of a model."""


class Stored(Struct):
    """What of a record is read. Everything else in it is passed over."""

    request_id: str
    time: float = 0.0
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
    wasted_usd: float = 0.0
    session: str = ""
    key_id: str = ""
    grounds: Grounds | None = None
    prompt: str | None = None


class Again(Struct):
    """One decision, then and now."""

    request_id: str
    before: str | None = None
    """The model that was chosen: the first of the plan. None: it was refused then."""
    after: str | None = None
    """None: it would be refused."""
    route_before: str = ""
    route_after: str = ""
    undecided: str = ""
    """Why it can't be decided again; then nothing else is known of it."""
    why: str = ""
    """Why the former model isn't the choice any more, or why the call would be refused."""
    refusal: str = ""
    """The code of that refusal."""
    plan: tuple[str, ...] = ()
    """As it is now."""
    reordered: bool = False
    """The same choice, with other fallbacks behind it or in another order."""
    left_out: dict[str, str] = {}
    """Models of the former plan that are not in this one -> why."""
    skipped: tuple[str, ...] = ()
    """Models of this plan that could not have been asked then: their circuits were shut."""
    cost_before: float | None = None
    cost_after: float | None = None
    intent_before: str | None = None
    intent_after: str | None = None

    @property
    def changed(self) -> bool:
        """Another model, or none."""
        return not self.undecided and self.before != self.after


class Summary(Struct):
    """Over all records."""

    records: int = 0
    decided: int = 0
    changed: int = 0
    refused: int = 0
    reordered: int = 0
    reclassified: int = 0
    """Under another configuration, those whose words were kept ..."""
    unread: int = 0
    """... and those whose former intents had to do."""
    undecided: Counter[str] = field(default_factory=Counter)
    """Why records could not be decided again -> how many."""
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(former model, present one) -> how many."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why -> how many."""
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(model of a former plan, why it is in the present one no more) -> how many."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Model whose circuit was shut, though the present plan has it -> how many."""
    compared: int = 0
    """Records whose cost is known before and after."""
    cost_before: float = 0.0
    cost_after: float = 0.0

    def add(self, again: Again) -> None:
        """One more."""
        self.records += 1
        if again.undecided:
            self.undecided[again.undecided] += 1
            return
        self.decided += 1
        self.reordered += again.reordered
        if again.changed:
            self.changed += 1
            self.refused += again.after is None
            self.moves[again.before or REFUSED, again.after or REFUSED] += 1
            self.reasons[again.refusal or _plainly(again.why)] += 1
        self.left_out.update((model, _plainly(why)) for model, why in again.left_out.items())
        self.skipped.update(again.skipped)
        if again.cost_before is not None and again.cost_after is not None:
            self.compared += 1
            self.cost_before += again.cost_before
            self.cost_after += again.cost_after


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

    def take(self, line: bytes, since: float | None = None) -> Again | None:
        """Decides one record again; None when it arrived before `since`, Unix time.

        Raises ValueError for what is no record.
        """
        try:
            stored = _decode(line)
        except msgspec.DecodeError as error:
            raise ValueError(f"is no call record: {error}") from None
        if since is not None and stored.time < since:
            return None
        reason = _undecidable(stored)
        again = Again(stored.request_id, undecided=reason) if reason else self._again(stored)
        self.summary.add(again)
        return again

    def plan(self, stored: Stored, traced: bool = False) -> RoutePlan:
        """The decision on a record's grounds. Raises ApiError when nobody could serve it."""
        kept = stored.grounds
        assert kept is not None
        if stored.route == EXPLICIT:
            return self._router.named_again(stored.plan, stored.requested_model)
        same = kept.epoch == self.epoch
        intents, difficulty = stored.intents, stored.difficulty or 0.0
        if not same:
            self.summary.reclassified += bool(stored.prompt)
            self.summary.unread += not stored.prompt
        if stored.prompt and not same:
            found = self._classify(Features(ask=stored.prompt, background=kept.background))
            intents, difficulty = dict(found.intents), found.difficulty
        ranking = stored.scores if same else None
        before = past(kept, stored.profile, intents, difficulty, ranking, stored.prompt or "")
        return self._router.decide_again(before, traced=traced)

    def undrawn(self, stored: Stored) -> RoutePlan:
        """The decision that the weights in force here take on a record's grounds, with every term, and with
        nothing left to chance. Raises ApiError when nobody could serve it."""
        kept = stored.grounds
        assert kept is not None
        bare = msgspec.structs.replace(kept, lot=None)
        before = past(bare, stored.profile, stored.intents, stored.difficulty or 0.0, None)
        return self._router.decide_again(before, traced=True)

    def _again(self, stored: Stored) -> Again:
        before = stored.plan[0]
        again = Again(
            request_id=stored.request_id,
            before=before,
            route_before=stored.route,
            intent_before=next(iter(stored.intents), None),
            cost_before=stored.cost_usd,
        )
        try:
            plan = self.plan(stored)
        except ApiError as error:
            again.why, again.refusal = error.message, error.code or str(error.status)
            return again
        again.after, again.route_after, again.plan = plan.models[0], plan.route, plan.models
        again.reordered = before == again.after and stored.plan != plan.models
        again.left_out = {m: self._unable(m, plan) for m in stored.plan if m not in plan.models}
        again.skipped = tuple(model for model in plan.models if model in plan.shut)
        again.intent_after = plan.classification.top if plan.classification else None
        # A fallback that answered would have been paid for then as now: the choices are compared.
        chosen = stored.selected_model == before
        again.cost_before = stored.cost_usd if chosen else self._priced(before, stored.usage)
        unchanged = before == again.after and chosen
        again.cost_after = again.cost_before if unchanged else self._priced(again.after, stored.usage)
        if again.changed:
            again.why = self._why(before, plan)
        return again

    def _unable(self, model: str, plan: RoutePlan) -> str:
        """Why a model is in a plan no more."""
        known = self._models.get(model)
        if known is None:
            return "is not ready here"
        if plan.allowed is not None and model not in plan.allowed:
            return "the caller does not allow it"
        return "the caller did not name it" if plan.explicit else unfit(known, plan.features)

    def _priced(self, model: str, usage: Usage | None) -> float | None:
        known = self._models.get(model)
        if known is None or known.price is None or usage is None:
            return None
        return self._cost(usage, known.price)

    def _why(self, before: str, plan: RoutePlan) -> str:
        if before not in plan.models:
            return f"{before} {self._unable(before, plan)}"
        if plan.route.startswith("rule:"):
            return f"{plan.route} holds"
        if plan.lot is not None and plan.lot.instead_of:
            return "another was drawn"
        if plan.route == "sticky":
            return "the conversation's model stays"
        return "another total is higher"


def _plainly(why: str) -> str:
    """Without by how much, which differs from record to record."""
    return why.partition(" by ")[0]


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
        "reordered": summary.reordered,
        "reclassified": summary.reclassified,
        "unread": summary.unread,
        "undecided": dict(summary.undecided),
        "moves": [{"from": a, "to": b, "calls": n} for (a, b), n in summary.moves.most_common()],
        "reasons": dict(summary.reasons.most_common()),
        "left_out": [
            {"model": model, "reason": why, "calls": n} for (model, why), n in summary.left_out.most_common()
        ],
        "skipped": dict(summary.skipped.most_common()),
        "cost_usd": {
            "calls": summary.compared,
            "before": summary.cost_before,
            "after": summary.cost_after,
        },
    }
