"""What a conversation leaves behind for its next turn, and what it costs to leave its model.

    plan, who answered --follow--> Held --meet--> Incumbent of the next turn
                                                    |
    newcomer - incumbent  <=  margin + switching? --+--> it stays, and always while at work with tools

A task is a conversation for as long as the same intent leads: within it nobody goes to a lesser model but
for need. Its first turn is nobody's: a request without an answer in it continues nothing.
"""

from __future__ import annotations

from zlib import crc32

from msgspec import Struct

from proxy.effort import Effort
from proxy.routing.policy import Step, StickyPolicy, Weights
from proxy.routing.scoring import felt, promptness
from proxy.routing.standing import PATIENCE, Candidate, Stand
from proxy.types import Classification, Features, Incumbent, Need, RoutePlan

CACHEABLE = 1_024
"""Tokens below which no provider keeps a prompt: OpenAI's and Anthropic's least."""
PREFILL = 11_000.0
"""Tokens a second that a provider reads which it doesn't have in its cache: Anthropic tells of 100,000 whose
first token came 9 s sooner from the cache (https://www.anthropic.com/news/prompt-caching)."""


class Held(Struct, frozen=True, gc=False):
    """How a turn that was answered left its conversation."""

    model: str
    floor: str
    task: str
    """As in an `Incumbent`."""
    tokens: int
    """Of the prompt."""
    asked: int
    """Knows the same messages again; 0: they would be no sign of anything."""
    at: float
    """On the clock of whoever remembers."""
    effort: Effort | None = None
    """How hard the turn was to be thought about."""
    turns: int = 1
    """Of the conversation that were answered, this one included, as far as whoever planned it knew."""


def conversation(session: str, profile: str) -> int:
    """Under which every process knows one: another profile is another conversation.

    Sessions are digests; what is taken of them is as good as a hash, while Python's own differs from process
    to process. A number, for there may be fifty thousand, and the text takes twice as much.
    """
    return int.from_bytes(f"{profile} {session}".encode(), "big") % _PRIME


def fingerprint(said: bytes, features: Features, named: bool) -> int:
    """Knows the same messages again, in every process, by what they `said` or, of long ones, by features. A
    first turn that comes twice may be two callers' own, unless they `named` the conversation: then nothing is
    known again, and it is 0. Who makes two that are alike deceives nobody but himself."""
    if features.turns < 2 and not named:
        return 0
    if not said:
        facts = f"{features.prompt_tokens} {features.turns} {features.ask}"
        said = facts.encode("utf-8", "surrogatepass")
    return crc32(said) & _SMALL or 1


def meet(held: Held, asked: int, now: float, policy: StickyPolicy) -> Incumbent:
    """Whom the next turn finds."""
    kept = held.tokens if now - held.at <= policy.prompt_cache and held.tokens >= CACHEABLE else 0
    again = asked != 0 and asked == held.asked
    return Incumbent(held.model, held.floor, held.task, kept, again, held.effort, held.turns)


def continues(incumbent: Incumbent, features: Features, seen: Classification) -> bool:
    """The turn goes on with the task of the turn before it."""
    if features.turns < 2 and not features.tool_loop and not incumbent.again:
        return False
    return seen.leans or seen.top == incumbent.task


def follow(plan: RoutePlan, model: str, hedged: bool, now: float) -> Held:
    """How a turn leaves its conversation that `model` answered, `hedged` if it was asked beside a late one.

    A hedge was quicker once, which is no reason to leave a model that has the whole prompt in its cache; but
    what it began with tools is its own.
    """
    planned, seen = plan.models[0], plan.classification
    assert seen is not None
    if hedged and Need.TOOLS not in plan.features.needs:
        model = planned
    before = plan.incumbent
    meant = plan.lot.instead_of or planned if plan.lot is not None else planned
    floor = before.floor if before is not None and _stands_in(plan, seen) else meant
    task = before.task if before is not None and continues(before, plan.features, seen) else seen.top
    turns = before.turns + 1 if before is not None else 1
    return Held(model, floor, task, plan.features.prompt_tokens, plan.asked, now, plan.effort, turns)


def outlasts(held: Held, other: Held) -> bool:
    """Of two ends of one conversation, whether this one counts: the last turn of those who knew of it.

    A turn that was planned without knowing those before it, where another process had just answered them,
    must not have the conversation begin anew.
    """
    return (held.turns, held.at) >= (other.turns, other.at)


def _stands_in(plan: RoutePlan, seen: Classification) -> bool:
    """The plan's choice is no verdict on the model that the task was meant for: that one couldn't serve now,
    or another was at work."""
    before = plan.incumbent
    assert before is not None
    if plan.route == Step.ESCALATION or not continues(before, plan.features, seen):
        return False
    gone = before.floor in plan.shut or before.floor not in plan.ranking
    return gone or plan.features.tool_loop


def switching(
    incumbent: Candidate, newcomer: Stand, cached: int, prompt: int, answer: float, weights: Weights
) -> float:
    """What of a newcomer's lead is lost with the incumbent's cache: `cached` of the `prompt` tokens are read
    anew, at the full price, and the `answer` begins the later for it. 0 where the incumbent's provider keeps
    nothing."""
    price = incumbent.model.price
    if not cached or price is None or price.cached_input is None:
        return 0.0
    full = (prompt * price.input + answer * price.output) / 1e6
    spared = min(cached, prompt) * (price.input - price.cached_input) / 1e6
    soon = promptness(newcomer, answer)
    later = soon * PATIENCE / (PATIENCE + soon * cached / PREFILL)
    return weights.cost * (felt(full) - felt(full - spared)) + weights.latency * (soon - later)


_SMALL = 0x3FFF_FFFF
"""Integers up to this take the least memory, and there may be fifty thousand."""
_PRIME = (1 << 60) - 93
"""The greatest below 2^60, up to which they take the next least."""
