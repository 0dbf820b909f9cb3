"""routing.yml -> the routing policy, with every model, intent and profile that it names known to exist."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from proxy.routing.policy import Condition, EffortPolicy, JudgePolicy, RoutingPolicy, Rule, Step, Weights
from proxy.settings.reader import Reader, did_you_mean, shown
from proxy.settings.registry_checks import NAME, NAME_RULE

BALANCED = "balanced"
"""The profile of plain `auto`."""


class RuleEntry(Struct, frozen=True):
    """An item of `rules`. Of several models the first that is ready is meant."""

    name: str
    model: str | tuple[str, ...]
    when: Condition = Condition()


class RulesEntry(Struct, frozen=True):
    """The part of the file whose shape is not the policy's."""

    rules: tuple[RuleEntry, ...] = ()


class Known(Struct, frozen=True):
    """What may be named."""

    models: Mapping[str, str]
    """Every id and alias of the registry -> the id."""
    ready: Collection[str]
    thinks: bool
    """Some ready model can be told how hard to think."""
    intents: Collection[str]


def assemble(document: Any, reader: Reader, known: Known) -> tuple[RoutingPolicy, tuple[str, ...]]:
    """The policy, and warnings about what it names that is left out."""
    policy = reader.struct(_without(document, "rules"), RoutingPolicy)
    entries = reader.struct(_only(document, "rules"), RulesEntry).rules
    policy = replace(policy, rules=tuple(_rules(entries, known.models)))
    _check_ladder(policy.ladder, reader)
    _check_profiles(policy.profiles, reader)
    _check_worth(policy, reader)
    _check_rules(entries, policy.profiles, reader, known)
    _check_effort(policy.effort, reader)
    return _resolved(policy, entries, reader, known)


def _without(document: Any, name: str) -> Any:
    return {k: v for k, v in document.items() if k != name} if isinstance(document, dict) else document


def _only(document: Any, name: str) -> Any:
    return {name: document[name]} if isinstance(document, dict) and name in document else None


def _rules(entries: Iterable[RuleEntry], models: Mapping[str, str]) -> Iterator[Rule]:
    """A rule for each model of an entry: rules whose model isn't ready are passed over."""
    for entry in entries:
        when = replace(entry.when, headers={k.lower(): v for k, v in entry.when.headers.items()})
        for name in _listed(entry.model):
            yield Rule(name=entry.name, when=when, model=models.get(name, name))


def _listed(model: str | tuple[str, ...]) -> tuple[str, ...]:
    return (model,) if isinstance(model, str) else model


def _check_ladder(ladder: tuple[Step, ...], reader: Reader) -> None:
    for i, step in enumerate(ladder):
        if step in ladder[:i]:
            reader.problem(f"ladder[{i}]", f"{str(step)!r} stands twice: remove one")
    if Step.SCORING not in ladder and Step.DEFAULT not in ladder and reader.sound("ladder"):
        reader.problem("ladder", "can end without an answer: add 'scoring' or 'default'")


def _check_profiles(profiles: Mapping[str, Weights], reader: Reader) -> None:
    if BALANCED not in profiles:
        reader.problem("profiles", f"{BALANCED!r} is missing: it is what plain `auto` uses")
    for name, weights in profiles.items():
        at = f"profiles.{name}"
        if not NAME.fullmatch(name):
            reader.problem(at, f"the name {NAME_RULE}")
        if not any(getattr(weights, term) for term in Weights.__struct_fields__):
            reader.problem(at, "all weights are 0: give one of them some weight")


def _check_worth(policy: RoutingPolicy, reader: Reader) -> None:
    for name, weights in policy.worth.items():
        _check_named(name, f"worth.{name}", "a profile", policy.profiles, reader)
        if not weights.quality:
            reader.problem(f"worth.{name}.quality", "is 0: worth is measured in units of quality")


def _check_rules(
    entries: tuple[RuleEntry, ...], profiles: Collection[str], reader: Reader, known: Known
) -> None:
    seen: dict[str, str] = {}
    for i, rule in enumerate(entries):
        at = f"rules[{i}]"
        if rule.name and not NAME.fullmatch(rule.name):
            reader.problem(f"{at}.name", f"{shown(rule.name)} {NAME_RULE}")
        elif rule.name in seen:
            reader.problem(
                f"{at}.name", f"{rule.name!r} is already the name of {seen[rule.name]}: rename one"
            )
        seen.setdefault(rule.name, at)
        if isinstance(rule.model, tuple) and not rule.model:
            reader.problem(f"{at}.model", "names no model")
        _check_named(rule.model, f"{at}.model", "a model", known.models, reader)
        _check_named(rule.when.intent, f"{at}.when.intent", "an intent", known.intents, reader)
        _check_named(rule.when.profile, f"{at}.when.profile", "a profile", profiles, reader)
        _check_order(rule.when, f"{at}.when", reader)
        for name in rule.when.headers:
            if name.lower() == "content-length":
                # A head is read once for all requests of a connection that differ in nothing but this.
                reader.problem(
                    f"{at}.when.headers.{name}",
                    "rules aren't told a body's length: use min_prompt_tokens or max_prompt_tokens",
                )


def _check_named(
    names: str | tuple[str, ...], at: str, what: str, known: Collection[str], reader: Reader
) -> None:
    """Every name is known. Where nothing is known, its own file has a problem already."""
    for i, name in enumerate(_listed(names)):
        if name and known and name not in known:
            place = at if isinstance(names, str) else f"{at}[{i}]"
            reader.problem(place, f"{shown(name)} is not {what}{did_you_mean(name, known)}")


def _check_order(when: Condition, at: str, reader: Reader) -> None:
    for name in ("prompt_tokens", "difficulty"):
        low, high = getattr(when, f"min_{name}"), getattr(when, f"max_{name}")
        if low is not None and high is not None and low > high:
            reader.problem(f"{at}.min_{name}", f"{low:g} is above max_{name}, {high:g}: it can never hold")


def _check_effort(effort: EffortPolicy, reader: Reader) -> None:
    if effort.low > effort.high:
        reader.problem("effort.low", f"{effort.low:g} is above high, {effort.high:g}: lower it")


def _resolved(
    policy: RoutingPolicy, entries: tuple[RuleEntry, ...], reader: Reader, known: Known
) -> tuple[RoutingPolicy, tuple[str, ...]]:
    """The policy with ids for names, without what isn't ready; and what a reader should know of that."""
    warnings: list[str] = []
    for entry in entries:
        if not any(known.models.get(name) in known.ready for name in _listed(entry.model)):
            warnings.append(f"rule {entry.name!r} never holds: none of its models is ready")
    default, judge = policy.default_model, policy.judge
    if default is not None:
        _check_named(default, "default_model", "a model", known.models, reader)
        default = known.models.get(default)
        if default not in known.ready:
            warnings.append(
                f"default_model {policy.default_model!r} is left out: the first ready model stands in"
            )
            default = None
    judge = _judge(judge, reader, known, warnings.append)
    if policy.adapt.trials and not policy.explore.share:
        warnings.append(
            "adapt.trials: nothing can be learned while explore.share is 0: nothing is left to chance"
        )
    if policy.explore.share and Step.EXPLORE not in policy.ladder:
        warnings.append("explore.share: nobody is drawn, for `ladder` lacks 'explore': add it behind sticky")
    if policy.effort.enabled and not known.thinks:
        warnings.append(
            "effort.enabled: no ready model has levels of reasoning_effort, so nobody is told any"
        )
    return replace(policy, default_model=default, judge=judge), tuple(warnings)


def _judge(judge: JudgePolicy, reader: Reader, known: Known, warn: Callable[[str], None]) -> JudgePolicy:
    _check_named(judge.model, "judge.model", "a model", known.models, reader)
    if not judge.enabled:
        return judge
    if not judge.model:
        reader.problem("judge.model", "is missing: name a small fast model, or set enabled: false")
    elif known.models.get(judge.model) not in known.ready:
        warn(f"judge.model {judge.model!r} is left out: nobody is asked")
        return replace(judge, enabled=False)
    return replace(judge, model=known.models.get(judge.model, judge.model))
