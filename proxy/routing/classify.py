"""Facts about a request -> its intents with confidences, and how hard it is.

    ask ------> sentences -> RE2 Sets ----> clues that hold \
    features -> structural facts ----------------------------> rules: log-odds per intent \
    context --> clues likewise, when the ask leans on it ----/                             > confidences
    system prompt -> clues likewise, when it gives one task -/                            /
    ask ------> hashed words -------------------------------> learned: log-probabilities  /      |
    ask ------> how alike it is to an intent's examples ----> the chance that it is one ----> its share

What speaks for what is config/intents.yml (`Lexicon`); this file is the engine and knows no intent by name.
The rules' evidence adds up in `combine`, `Blend` says what rules and learning count beside each other, and
`shares` makes confidences of that: neither has a veto. The same evidence is weighed once: short asks and
chatter hold the same few clues again and again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import exp, log
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace

from proxy.routing import blend, difficulty, semantic
from proxy.routing.difficulty import Lesson
from proxy.routing.facts import FACTS, stretches
from proxy.routing.glossary import FOLLOW_UP, HARDNESS, OF_CONVERSATIONS, STRUGGLE, check, readers
from proxy.routing.lexicon import COMPLAINT, Fact, IntentSpec, Leaning, Lexicon, Pattern
from proxy.routing.likeness import by_examples
from proxy.routing.reader import Clue
from proxy.routing.semantic import words
from proxy.routing.struggle import unquoted
from proxy.types import Classification, Features

__all__ = ["FACTS", "Classifier", "Fact", "IntentSpec", "Leaning", "Lexicon", "Pattern", "classifier"]

FLOOR = 0.04
"""Confidence below which an intent is not mentioned."""

_REPEAT = 0.6
"""What each further piece of evidence counts beside the one before it: they are seldom independent."""

_DECAY = 0.6
"""What a user turn counts beside the one after it."""

_SHORT = 90
"""Characters up to which an ask may mean nothing without the conversation."""

_TINY = 20
"""Bytes of one that says nothing by itself: `both`, `B`, `with rhymes`."""

_SAYS = 0.5
"""What an ask's own evidence must count, for the ask to say something by itself."""

_TASK, _ALONE = 1.8, 1.0
"""Log-odds from which instructions give a task, and by how much it must lead: who lists all that an assistant
can do gives none."""

_UNCLEAR, _CLEAR = 1.0, 2.5
"""Log-odds of an ask's leading intent: up to the first it says little, from the second on it speaks for
itself."""

WEIGHED = 256
"""Combinations of evidence whose result is kept."""

_SHARE = itemgetter(0)


Confidences = tuple[tuple[str, float], ...]
"""(Intent, 0..1), best first."""


class _Told(Struct, frozen=True):
    """What evidence makes of an ask."""

    intents: Confidences
    odds: float
    """Log-odds of its difficulty, by its intents and the lexicon."""
    labels: tuple[str, ...]


class _Weighed(Struct, frozen=True):
    """An ask's own evidence: log-odds by intent, of its difficulty and of its being a complaint."""

    sums: dict[str, float]
    marks: float
    struggle: float
    follows: bool
    """It says itself that it goes on."""
    labels: tuple[str, ...]
    own: tuple[str, ...]
    """Those that say something of the ask where there is nothing to go on with."""


def classifier(lexicon: Lexicon, source: str = "intents.yml") -> Classifier:
    """The classifier of a lexicon; the latest is kept, because whoever has checked a configuration uses it
    next, and a reload seldom touches its intents. Raises ConfigError, as `Classifier` does."""
    for known, built in _latest:
        if known == lexicon:
            return built
    built = Classifier(lexicon, source)
    _latest[:] = [(lexicon, built)]
    return built


class Classifier:
    """Judges features by a lexicon. Immutable once built, safe to share."""

    def __init__(self, lexicon: Lexicon, source: str = "intents.yml", lesson: Lesson | None = None) -> None:
        """`lesson`: what outcomes taught of difficulty; None: what comes with the package. Raises ConfigError
        naming every pattern, fact and default that can't be used."""
        check(lexicon, source)
        self._specs = lexicon.intents
        self._reader, self._listener = readers(lexicon, source)
        self._default = next(name for name, spec in self._specs.items() if spec.default)
        self._chores = {chore: name for name, spec in self._specs.items() for chore in spec.chores}
        # What is known by its examples alone has no part in what the rest leaves open.
        self._priors = [(name, spec.prior) for name, spec in self._specs.items() if _by_rules(spec)]
        owners = [(name, spec.facts) for name, spec in lexicon.intents.items()]
        others = ((STRUGGLE, lexicon.struggle.facts), (HARDNESS, lexicon.difficulty.facts))
        self._facts = stretches((*owners, *others))
        self._weighed = lru_cache(WEIGHED)(self._weigh)
        self._task = lru_cache(WEIGHED)(self._told_to)
        self._lesson = lesson or difficulty.shipped()
        self._blend = blend.shipped()
        learned = semantic.shipped()
        # What was learned tells these intents apart; a lexicon without some of them asks other questions.
        self._semantic = learned if self._specs.keys() >= set(learned.intents) else None
        self._unlearned = -log(len(learned.intents))
        self._likeness = by_examples({name: spec.examples for name, spec in self._specs.items()})

    def classify(self, features: Features) -> Classification:
        """Intents by confidence, best first, never empty."""
        if features.background is not None:
            intent = self._chores.get(features.background, self._default)
            return Classification(((intent, 1.0),), self._specs[intent].difficulty / 2, ("background",))
        weighed = self._in_own_words(self._read(features), features)
        sums, trust, leans, spoke = weighed.sums, 1.0, False, weighed.own
        if features.context:
            sums, trust, leans = self._in_context(weighed, features)
            spoke = weighed.labels
        listed = self._listed(features.ask)
        if task := self._task(features.instructions):
            sums, trust = _on_material(task, sums, trust, self._default)
            spoke = (*spoke, f"instructions:{max(task, key=task.__getitem__)}")
        meant = self._meant(listed, trust) if features.ask else {}
        told = self._judged(sums, meant, self._blend.learned * trust, weighed.marks, spoke)
        if self._likeness is not None and features.ask:
            told = self._shared(told, self._alike(features, listed, meant, trust), weighed.marks)
        hard = difficulty.share(told.odds + self._lesson.odds(features.ask))
        return Classification(told.intents, hard, told.labels, weighed.struggle, leans)

    def rules(self, features: Features) -> dict[str, float]:
        """Log-odds of every intent by the lexicon alone, as far as the ask itself goes."""
        sums = self._read(features).sums
        return {name: prior + sums.get(name, 0.0) for name, prior in self._priors}

    def _read(self, features: Features) -> _Weighed:
        found = self._reader.read(features.ask)
        if features.turns > 1:
            found |= self._listener.read(features.ask)
        places = [bisect_left(edges, read(features)) for read, edges, _ in self._facts]
        return self._weighed(tuple(found), tuple(found.values()), *places)

    def _listed(self, ask: str) -> list[str]:
        """The words of an ask, if somebody here reads them."""
        return words(ask) if self._semantic is not None or self._likeness is not None else []

    def _told_to(self, instructions: str) -> dict[str, float]:
        """What a system prompt says of every turn, as log-odds; nothing, unless it clearly gives one task."""
        found = self._reader.read(instructions)
        evidence = _by_owner(found, found.values())
        sums = {name: combine(weights) for name, weights in evidence.items() if name in self._specs}
        first, second, *_ = (*sorted(sums, key=sums.__getitem__, reverse=True), "", "")
        if not first or not self._specs[first].lasting:
            return {}
        clear = sums[first] >= _TASK and sums[first] - sums.get(second, 0.0) >= _ALONE
        return sums if clear else {}

    def _in_own_words(self, weighed: _Weighed, features: Features) -> _Weighed:
        """A first turn complains of no answer of ours, and what is quoted tells what others complained of."""
        if features.turns < 2:
            return replace(weighed, struggle=0.0) if weighed.struggle else weighed
        if weighed.struggle < COMPLAINT or (own := unquoted(features.ask)) == features.ask:
            return weighed
        return replace(weighed, struggle=self._read(replace(features, ask=own)).struggle)

    def _meant(self, listed: list[str], trust: float) -> dict[str, float]:
        """What was learned of each intent, as log-probabilities; nothing where the ask says nothing by
        itself."""
        return self._semantic.of(listed) if self._semantic is not None and trust else {}

    def _weigh(self, clues: tuple[Clue, ...], places: tuple[float, ...], *stretches: int) -> _Weighed:
        """What these clues at these places say, together with the facts at theirs."""
        evidence = _by_owner(clues, places)
        for (_, _, held), stretch in zip(self._facts, stretches, strict=True):
            for owner, weight in held[stretch]:
                evidence.setdefault(owner, []).append(weight)
        marks, struggle = combine(evidence.pop(HARDNESS, ())), combine(evidence.pop(STRUGGLE, ()))
        follows = evidence.pop(FOLLOW_UP, None) is not None
        sums = {name: combine(weights) for name, weights in evidence.items()}
        labels = tuple([clue.label for clue in clues])
        own = tuple([clue.label for clue in clues if clue.owner not in OF_CONVERSATIONS])
        return _Weighed(sums, marks, struggle, follows, labels, own)

    def _judged(
        self,
        sums: Mapping[str, float],
        meant: Mapping[str, float],
        learned: float,
        marks: float,
        labels: tuple[str, ...],
    ) -> _Told:
        told = sums.get
        if meant:
            counts, else_ = self._blend.rules, self._unlearned * self._blend.learned / learned
            listed = [
                (counts * (prior + told(name, 0.0)) + learned * meant.get(name, else_), name)
                for name, prior in self._priors
            ]
            labels = _with_meant(labels, max(meant, key=meant.__getitem__))
        else:
            counts = self._blend.alone
            listed = [(counts * (prior + told(name, 0.0)), name) for name, prior in self._priors]
        return self._told(shares(listed), marks, labels)

    def _told(self, confidences: Confidences, marks: float, labels: tuple[str, ...]) -> _Told:
        usual = difficulty.usual([(share, self._specs[name].difficulty) for name, share in confidences])
        return _Told(confidences, usual + marks, labels)

    def _alike(
        self, features: Features, listed: list[str], meant: Mapping[str, float], trust: float
    ) -> dict[str, float]:
        """The chance of each intent by its examples; where the ask says little, the turn before it tells."""
        assert self._likeness is not None
        chances = self._likeness.read(listed, meant or None)
        if features.context and sum(chances.values()) < _SAYS and len(features.ask) <= _SHORT:
            before = self._likeness.read(words(features.context[0]))
            chances = {
                name: trust * chances.get(name, 0.0) + (1.0 - trust) * before.get(name, 0.0)
                for name in {**chances, **before}
            }
        return chances

    def _shared(self, told: _Told, chances: Mapping[str, float], marks: float) -> _Told:
        """The confidences, of which each intent has its chance by examples first."""
        chances = {name: chance for name, chance in chances.items() if chance >= FLOOR}
        if not chances:
            return told
        rest = 1.0 - sum(chances.values())
        mixed = {name: rest * share for name, share in told.intents}
        for name, chance in chances.items():
            mixed[name] = mixed.get(name, 0.0) + chance
        listed = [(share, name) for name, share in mixed.items() if share >= FLOOR]
        ranked = tuple([(name, share) for share, name in sorted(listed, key=_SHARE, reverse=True)])
        return self._told(ranked, marks, (*told.labels, *[f"examples:{name}" for name in chances]))

    def _in_context(self, weighed: _Weighed, features: Features) -> tuple[dict[str, float], float, bool]:
        """What the ask says, mixed with what the turns before it said, by how much it leans on them; what its
        words count by themselves (0..1); and whether that is next to nothing."""
        sums = weighed.sums
        own, lean = _lean(features, weighed.follows, max(sums.values(), default=0.0))
        mixed = {name: own * total for name, total in sums.items()}
        # `thanks`, `go on`, `that's wrong` mean what the conversation means: only the turns before it tell.
        means_it = lean and (weighed.follows or weighed.struggle >= COMPLAINT)
        for turn in features.context if lean else ():
            found = self._reader.read(turn)
            evidence = _by_owner(found, found.values())
            said = [name for name in evidence if name in self._specs]
            for name in said:
                mixed[name] = mixed.get(name, 0.0) + lean * combine(evidence[name])
            # Who says nothing stands in nobody's way.
            lean *= _DECAY if said else 1.0
        return mixed, 0.0 if means_it else own, own < _SAYS


def combine(weights: Sequence[float]) -> float:
    """Log-odds of several pieces of evidence: the strongest counts whole, each further one less.

    For and against are added up apart, so that many hints never drown one objection.
    """
    if len(weights) == 1:
        return weights[0]
    ranked = sorted(weights)
    against, factor = 0.0, 1.0
    for weight in ranked:
        if weight >= 0.0:
            break
        against += factor * weight
        factor *= _REPEAT
    speaking, factor = 0.0, 1.0
    for weight in reversed(ranked):
        if weight <= 0.0:
            break
        speaking += factor * weight
        factor *= _REPEAT
    return against + speaking


@lru_cache(WEIGHED)
def _with_meant(labels: tuple[str, ...], intent: str) -> tuple[str, ...]:
    """One object for equal ones, which thousands of remembered decisions have in common."""
    return (*labels, f"semantic:{intent}")


def shares(sums: Sequence[tuple[float, str]]) -> tuple[tuple[str, float], ...]:
    """(Log-odds, name) -> confidences that add up to 1, best first, without those below FLOOR.

    Of equals the one listed first stays first.
    """
    top = max(sums)[0]
    raw = [(exp(total - top), name) for total, name in sums]
    whole = sum([share for share, _ in raw])
    least = FLOOR * whole
    listed = sorted([pair for pair in raw if pair[0] >= least], key=_SHARE, reverse=True)
    return tuple([(name, share / whole) for share, name in listed])


def _lean(features: Features, follows: bool, strongest: float) -> tuple[float, float]:
    """What the ask's own evidence and that of the turn before it count (0..1 each).

    An ask that says itself that it goes on (`now in Rust`, `thanks`) means what the conversation means,
    unless it is long or clear enough to stand alone; any short and unclear one leans on it, too.
    """
    length = len(features.ask)
    if follows and length <= _SHORT:
        return (0.25, 1.0) if strongest < _CLEAR else (0.6, 0.8)
    if strongest < _UNCLEAR and len(features.ask.encode("utf-8", "replace")) <= _TINY:
        return 0.25, 1.0
    if length <= _SHORT:
        return 1.0, 0.7 if strongest < _UNCLEAR else 0.2
    return 1.0, 0.2 if strongest < _UNCLEAR else 0.0


def _on_material(
    task: Mapping[str, float], sums: Mapping[str, float], trust: float, talk: str
) -> tuple[dict[str, float], float]:
    """What a turn's own evidence and the learned pass count where there is a task: the turn is what it is
    done to, unless it clearly asks for something else, and more than to `talk`."""
    own = 0.2 if max([total for name, total in sums.items() if name != talk], default=0.0) < _CLEAR else 0.6
    mixed = {name: own * sums.get(name, 0.0) + task.get(name, 0.0) for name in {**sums, **task}}
    return mixed, min(trust, own)


def _by_rules(spec: IntentSpec) -> bool:
    return bool(spec.patterns or spec.facts or spec.default or not spec.examples)


def _by_owner(clues: Iterable[Clue], places: Iterable[float]) -> dict[str, list[float]]:
    evidence: dict[str, list[float]] = {}
    for clue, place in zip(clues, places, strict=True):
        evidence.setdefault(clue.owner, []).append(place * clue.weight)
    return evidence


_latest: list[tuple[Lexicon, Classifier]] = []
