"""What config/intents.yml says, as values: the file is a direct image of `Lexicon`.

words:      {name: [[plain words], ...]}   a pattern may be <name>, any of them
intents:    {name: {description, default, prior, difficulty, completion_tokens, needs, chores, patterns, ...}}
follow_up:  [patterns]                     asks that lean on the conversation
struggle:   {patterns, facts}              asks that complain of the answer before them
difficulty: {patterns, facts}              what makes an ask harder or easier
"""

from __future__ import annotations

from msgspec import Struct

from proxy.types import Need

COMPLAINT = 1.0
"""Log-odds of `struggle` from which an ask is taken for a complaint."""


class Pattern(Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of evidence in the words of an ask. A plain string in YAML is its `re` alone."""

    re: str
    """RE2 syntax, case-insensitive, found anywhere in a passage of the ask (a sentence, or a few short ones);
    `<name>` stands for any of these `words`, `^<name>` for one of them at the passage's beginning. No gaps.
    Latin letters match with and without their accents."""
    near: str | None = None
    """A second one that must stand in the same passage: cheaper than `.*` between the two."""
    weight: float = 1.0
    """Log-odds, natural: 1 is a hint, 2 strong, 4 nearly certain, below 0 it speaks against."""
    name: str = ""
    """For the trace."""


class Fact(Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of structural evidence: it holds while `over` < value <= `under`."""

    fact: str
    """A name of FACTS."""
    over: float = 0.0
    under: float = float("inf")
    weight: float = 1.0
    """Log-odds, as a pattern's."""


class IntentSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What intents.yml says of one intent."""

    description: str = ""
    default: bool = False
    """The intent of requests that nothing speaks for; exactly one has it."""
    prior: float = 0.0
    """Log-odds before any evidence."""
    difficulty: float = 0.4
    """0..1: how hard such asks are on the whole."""
    completion_tokens: int = 300
    """Tokens that an answer usually has: what a call is expected to cost, and how long to take."""
    needs: tuple[Need, ...] = ()
    """What a model must support to serve this intent at all."""
    lasting: bool = False
    """Where the system prompt asks for it, every turn is of it: what the turn says is the material."""
    chores: tuple[str, ...] = ()
    """Background chores (`Features.background`) that are of this kind."""
    patterns: tuple[Pattern | str, ...] = ()
    facts: tuple[Fact, ...] = ()
    examples: tuple[str, ...] = ()
    """Typical asks, five to ten: asks like them are of this intent (see `likeness`)."""


class Leaning(Struct, frozen=True, forbid_unknown_fields=True):
    """What speaks for something (weight above 0) or against it, whatever the intent: that the ask is harder
    than its intent is on the whole, or that it complains."""

    patterns: tuple[Pattern | str, ...] = ()
    facts: tuple[Fact, ...] = ()


class Lexicon(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of intents.yml."""

    intents: dict[str, IntentSpec]
    words: dict[str, tuple[tuple[str, ...], ...]] = {}
    """Lines of plain words that a pattern names as `<name>`; a trailing `*` leaves the ending open."""
    follow_up: tuple[Pattern | str, ...] = ()
    """Asks that mean nothing without the conversation: `go on`, `now in Rust`, `thanks`."""
    struggle: Leaning = Leaning()
    """Asks that say that the answer before them didn't do: `that's wrong`, `it still fails`."""
    difficulty: Leaning = Leaning()
