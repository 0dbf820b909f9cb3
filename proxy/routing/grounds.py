"""What a decision was made of, kept with its call: enough to take it again, without the words.

RoutePlan --grounds--> Grounds (in the call log) --past--> Past --Router.decide_again--> RoutePlan
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.record import Grounds
from proxy.routing.climb import Past
from proxy.routing.effort import OWN
from proxy.routing.language import language
from proxy.routing.scoring import Ranking
from proxy.routing.standing import Stand
from proxy.routing.steering import Steering
from proxy.types import Classification, Features, Need, RoutePlan


def grounds(plan: RoutePlan, epoch: str) -> Grounds:
    """Of a plan that was made under the configuration `epoch`; all but its `standing`."""
    seen, facts = plan.classification, plan.features
    # By place, in the order of Grounds: by name it takes a microsecond more, and it is done for every call.
    return Grounds(
        epoch,
        facts.prompt_tokens,
        facts.completion_tokens,
        tuple(sorted(facts.needs)) if facts.needs else (),
        facts.turns,
        facts.tool_loop,
        facts.background,
        plan.language or (language(facts.ask) if facts.ask else ""),
        seen.evidence if seen else (),
        plan.headers,
        plan.incumbent,
        facts.repeats,
        facts.failed_tools,
        round(seen.struggle, 3) if seen and seen.struggle else 0.0,
        seen is not None and seen.leans,
        tuple(sorted(plan.shut)) if plan.shut else (),
        allowed=tuple(sorted(plan.allowed)) if plan.allowed is not None else None,
        tradeoff=plan.tradeoff,
        exploring=plan.exploring,
        lot=plan.lot,
        own_effort=plan.effort_why == OWN,
    )


def past(
    kept: Grounds,
    profile: str,
    intents: Mapping[str, float],
    difficulty: float,
    ranking: Ranking | None,
    ask: str = "",
) -> Past:
    """The grounds of a record with its profile, intents and difficulty; `ask`: its words, where kept."""
    return Past(
        profile=profile,
        features=Features(
            ask=ask,
            prompt_tokens=kept.prompt_tokens,
            completion_tokens=kept.completion_tokens,
            needs=frozenset(Need(need) for need in kept.needs),
            turns=kept.turns,
            tool_loop=kept.tool_loop,
            background=kept.background,
            repeats=kept.repeats,
            failed_tools=kept.failed_tools,
        ),
        classification=Classification(
            tuple(intents.items()), difficulty, tuple(kept.evidence), kept.struggle, kept.leans
        ),
        language=kept.language,
        headers=kept.headers,
        incumbent=kept.incumbent,
        shut=frozenset(kept.shut),
        standing={model: Stand(*terms) for model, terms in kept.standing.items()},
        ranking=ranking,
        steering=Steering(frozenset(kept.allowed) if kept.allowed is not None else None, kept.tradeoff),
        own_effort=kept.own_effort,
        draw=kept.lot.draw if kept.lot is not None else None,
    )
