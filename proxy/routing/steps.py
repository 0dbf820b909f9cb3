"""The ladder's rungs. Each looks at the climb so far and answers with a choice, or passes.

    cache        the same request was decided a moment ago
    rules        an operator's condition holds
    judge        a small model says which intent this is; the scores are taken anew
    scoring      the best total among those that can serve it
    sticky       the conversation stays with its model
    escalation   the caller struggles: a better model is next
    explore      another model was drawn, to see what it makes of such asks
    default      the configured model, or the first that is ready

Sticky, escalation and explore may revise an earlier answer.

`STEPS` is the table; the order comes from `routing.yml`. What is remembered doesn't depend on circuits:
a ranking holds everybody who is able, and whose circuit is shut is looked at on every climb.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.lot import Lot
from proxy.routing import explore, judge, rules
from proxy.routing.climb import Climb
from proxy.routing.conversation import continues, switching
from proxy.routing.lexicon import COMPLAINT
from proxy.routing.memory import decision
from proxy.routing.policy import Step
from proxy.types import Choice, Incumbent, Judged, Need

REVISES = frozenset({Step.STICKY, Step.ESCALATION, Step.EXPLORE})
"""Rungs that are asked even when an earlier one has answered."""

_REPEATED = 2.0
"""What it adds that the ask was made before: less than it takes from it that the ask is to go on."""
_ALIKE = 0.02
"""Between whose merits there is less than this, answer alike."""
_BETTER = 0.005
"""What a better model must be better by, where next to nothing is missing to the best."""


def take(step: Step, climb: Climb) -> Choice | None:
    """Asks one rung; its answer becomes the climb's, and is remembered if it will hold for the next."""
    answer = STEPS[step](climb)
    if answer is not None:
        climb.choice = answer
        if climb.key and step in _DECIDES and climb.firm:
            memory, seen, ranking = climb.ground.memory, climb.classification, climb.ranked()
            decided = decision(
                answer.step,
                answer.model,
                climb.pool,
                climb.features,
                seen,
                ranking,
                memory.once,
                climb.spoken,
            )
            memory.decisions.put(climb.key, decided)
    return answer


def _cache(climb: Climb) -> Choice | None:
    hit = climb.ground.memory.decisions.get(climb.key) if climb.key else None
    if hit is None:
        return None
    if hit.step == Step.RULES and hit.model in climb.shut:
        return None
    climb.recall(hit)
    model = hit.model if hit.step == Step.RULES else climb.best()
    return Choice(hit.step, model, "cache") if model else None


def _rules(climb: Climb) -> Choice | None:
    prepared = climb.ground.rules
    if not prepared:
        return None
    for rule in rules.holding(prepared, climb):
        if climb.serves(rule.model):
            return Choice(Step.RULES, rule.model, f"rule:{rule.name}")
        if rule.model in climb.pool.ids:
            climb.firm = False
    return None


def _judge(climb: Climb) -> Choice | None:
    policy = climb.ground.policy.judge
    if not policy.enabled or not doubtful(climb):
        return None
    asked = climb.ground.models.get(policy.model)
    strict = asked is not None and Need.JSON_SCHEMA in asked.supports
    question = judge.question(climb.features, climb.ground.intents, policy.model, strict)
    verdict = climb.ground.memory.verdicts.get(question.key)
    if verdict is None:
        climb.question = question if climb.judging and _sits(climb, policy.model) else None
        return None
    before, leader = climb.classification, climb.best()
    climb.known = judge.apply(verdict, before)
    climb.judged = Judged(
        policy.model, verdict.intent, verdict.confidence, verdict.difficulty, before, leader
    )
    climb.ranking = None
    model = climb.best()
    return Choice(Step.JUDGE, model, "judge") if model else None


def doubtful(climb: Climb) -> bool:
    """There is somebody to choose from, nobody is at work on it, and the choice stands on the edge."""
    features, policy = climb.features, climb.ground.policy.judge
    if features.background is not None or features.tool_loop or len(climb.pool.candidates) < 2:
        return False
    first, second = (*climb.classification.intents, ("", 0.0))[:2]
    return first[1] - second[1] < policy.intent_margin or _close(climb, policy.model_margin)


def _close(climb: Climb, margin: float) -> bool:
    """The best model is less than the margin above the next one that answers otherwise: between those who
    answer alike no judge can choose."""
    if margin <= 0.0:
        return False
    totals = [(total, model) for model, total in climb.ranked().items() if model not in climb.shut]
    near = [model for total, model in totals if totals[0][0] - total < margin]
    if len(near) < 2:
        return False
    merits = climb.merits()
    return any(abs(merits[model] - merits[near[0]]) > _ALIKE for model in near[1:])


def _sits(climb: Climb, model: str) -> bool:
    """The judge is ready, its circuit admits a question, and the caller lets it see the request."""
    return model in climb.ground.ids and model not in climb.shut and climb.steering.permits(model)


def _scoring(climb: Climb) -> Choice | None:
    model = climb.best()
    return Choice(Step.SCORING, model, "score") if model else None


def _sticky(climb: Climb) -> Choice | None:
    incumbent, choice = climb.incumbent, climb.choice
    if incumbent is None or climb.features.background is not None:
        return None
    if choice is not None and choice.model == incumbent.model == incumbent.floor:
        return None
    keeper = _keeper(climb, incumbent)
    if keeper is None or (choice is not None and choice.model == keeper) or not _stays(climb, keeper):
        return None
    return Choice(Step.STICKY, keeper, "sticky")


def _keeper(climb: Climb, incumbent: Incumbent) -> str | None:
    """Who would keep the conversation: whoever is at work with tools; else the model that the task was meant
    for, which another may have stood in for; None: it can't serve this."""
    same = not climb.features.tool_loop and continues(incumbent, climb.features, climb.classification)
    if same and climb.serves(incumbent.floor):
        return incumbent.floor
    return incumbent.model if climb.serves(incumbent.model) else None


def _stays(climb: Climb, keeper: str) -> bool:
    """In a tool loop always; else unless a rule spoke or a newcomer is worth the change."""
    choice = climb.choice
    if climb.features.tool_loop:
        return True
    if choice is not None and choice.step == Step.RULES:
        return False
    newcomer = choice.model if choice else _scored(climb)
    if newcomer is None:
        return True
    lead, asked = leads(climb, newcomer, keeper)
    return lead <= asked or lesser(climb, newcomer, keeper)


def leads(climb: Climb, newcomer: str, keeper: str) -> tuple[float, float]:
    """By how much a newcomer's total is above the keeper's, and how much it takes to be worth the change:
    the margin, and what goes with the prompt cache."""
    totals, incumbent = climb.ranked(), climb.incumbent
    assert incumbent is not None
    asked = climb.ground.policy.sticky.margin
    if incumbent.cached and keeper == incumbent.model:
        kept = next(candidate for candidate in climb.pool.candidates if candidate.id == keeper)
        stand = climb.view.standing[newcomer]
        prompt = climb.features.prompt_tokens
        asked += switching(kept, stand, incumbent.cached, prompt, climb.expected, climb.weights)
    return totals[newcomer] - totals[keeper], asked


def lesser(climb: Climb, newcomer: str, keeper: str) -> bool:
    """The same task goes on, and the newcomer would do it worse."""
    incumbent = climb.incumbent
    if incumbent is None or not continues(incumbent, climb.features, climb.classification):
        return False
    merits = climb.merits()
    return merits[newcomer] < merits[keeper]


def _escalation(climb: Climb) -> Choice | None:
    """The best total among those who are better, by enough, than whoever answered last."""
    choice = climb.choice
    if choice is None or not struggles(climb) or choice.step == Step.RULES:
        return None
    merits, incumbent = climb.merits(), climb.incumbent
    last = incumbent.model if incumbent is not None and incumbent.model in merits else choice.model
    healthy = [model for model in climb.ranked() if model not in climb.shut]
    most = max([merits[model] for model in healthy], default=0.0)
    least = merits[last] + max(_BETTER, climb.ground.policy.escalation.reach * (most - merits[last]))
    if merits[choice.model] >= least:
        return None
    model = next((model for model in healthy if merits[model] >= least), None)
    return Choice(Step.ESCALATION, model, str(Step.ESCALATION)) if model else None


def struggles(climb: Climb) -> bool:
    """The answer before this one didn't do, by what the caller or its tools say of it."""
    features, incumbent = climb.features, climb.incumbent
    if features.turns < 2 and not features.tool_loop and incumbent is None:
        return False  # the most common case: nothing went before
    policy = climb.ground.policy.escalation
    if not policy.enabled or features.background is not None:
        return False
    if incumbent is not None and incumbent.again:
        return True
    if features.tool_loop:
        failed = features.failed_tools
        # Whoever took over gets as many rounds of its own.
        return failed > 0 and failed % policy.failed_tools == 0
    repeated = _REPEATED if features.repeats else 0.0
    return features.turns > 1 and climb.classification.struggle + repeated >= COMPLAINT


def _explore(climb: Climb) -> Choice | None:
    """What was drawn, if that isn't the choice itself."""
    choice, odds = climb.choice, explore.chances(climb)
    if choice is None or not odds:
        return None
    model = choice.model if climb.draw is None else explore.drawn(odds, climb.draw)
    if model == choice.model:
        climb.lot = Lot(odds, climb.draw)
        return None
    climb.lot = Lot(odds, climb.draw, instead_of=choice.model)
    return Choice(Step.EXPLORE, model, str(Step.EXPLORE))


def _scored(climb: Climb) -> str | None:
    """Whom scoring will choose, when it stands higher on the ladder."""
    return climb.best() if Step.SCORING in climb.ground.policy.ladder else None


def default(climb: Climb) -> Choice | None:
    """The last rung: answers whenever anybody is able, also where no ladder names it."""
    wanted, pool = climb.ground.policy.default_model, climb.pool
    able = [candidate.id for candidate in pool.candidates]
    order = [wanted, *able] if wanted is not None and wanted in pool.ids else able
    healthy = [model for model in order if model not in climb.shut]
    first = next(iter(healthy or order), None)
    return Choice(Step.DEFAULT, first, "default") if first else None


STEPS: dict[Step, Callable[[Climb], Choice | None]] = {
    Step.CACHE: _cache,
    Step.RULES: _rules,
    Step.JUDGE: _judge,
    Step.SCORING: _scoring,
    Step.STICKY: _sticky,
    Step.ESCALATION: _escalation,
    Step.EXPLORE: _explore,
    Step.DEFAULT: default,
}
"""Every step has a rung."""

_DECIDES = frozenset({Step.RULES, Step.JUDGE, Step.SCORING})
"""Rungs whose answer depends on the request alone, circuits apart."""
