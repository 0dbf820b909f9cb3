"""A decision for people: one sheet of plain text, with bars.

what was asked    tokens, language, turns, needs
Intents           by confidence
What spoke ...    patterns that matched, by intent
Ladder            each rung: its answer, or why it passed
Scores            every candidate, term by term, with the terms' weights
Left out          who can't serve it, and why
Plan              who is asked in which order, and why it stands there
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from proxy.commands.columns import table

Decision = Mapping[str, Any]
"""As `proxy.routing.explain.decide` gives it."""

EIGHTHS = " ▏▎▍▌▋▊▉█"
HASHES = " #"
"""What bars are drawn with: finely, and where the terminal speaks no Unicode."""

_SHORTEST_BAR, _LONGEST_BAR = 4, 30
_BY = {"explicit": "the caller"}
_UNKNOWN = ("", "und")
_INDENT = "  "


def sheet(decision: Decision, width: int = 100, marks: str = EIGHTHS) -> str:
    """The whole sheet, without a line end at its end. `width` in characters; a table may need more."""
    room = max(width, 40)
    sections = {
        "": _asked(decision),
        "Intents": _intents(decision, room, marks),
        "What spoke for and against": _spoke(decision, room),
        "Ladder": _ladder(decision),
        "Scores": _scores(decision, room, marks),
        "Left out": [f"{model}: {reason}" for model, reason in decision["filtered"].items()],
        f"Plan, by {_BY.get(decision['step'], decision['step'])}": _plan(decision),
    }
    said = []
    for title, lines in sections.items():
        if lines:
            said.append("\n".join([title, *(_INDENT + line for line in lines)] if title else lines))
    return "\n\n".join(said)


def bar(share: float, length: int, marks: str = EIGHTHS) -> str:
    """A bar of at most `length` characters for a share, 0..1; no blanks behind it."""
    steps = len(marks) - 1
    full, rest = divmod(round(min(max(share, 0.0), 1.0) * length * steps), steps)
    return (marks[-1] * full + marks[rest]).rstrip()


def _asked(decision: Decision) -> list[str]:
    features = decision["features"]
    turns = features["turns"]
    facts = [
        f"about {features['prompt_tokens']:,} tokens",
        _answer(features["expected_tokens"], features["completion_tokens"]),
        f"language {features['language']}" if features["language"] not in _UNKNOWN else "",
        f"{turns:,} turns" if turns > 1 else "",
        f"code {features['code_share']:.0%}" if features["code_share"] else "",
        f"needs {', '.join(features['needs'])}" if features["needs"] else "",
        "a tool's result" if features["tool_loop"] else "",
        f"a chore: {features['background']}" if features["background"] else "",
    ]
    steering = [f"{name} {_listed(value)}" for name, value in decision["steering"].items()]
    return [", ".join(fact for fact in (*facts, *steering) if fact)]


def _answer(expected: int, limit: int) -> str:
    sizes = [f"about {expected:,}" if expected else "", f"at most {limit:,}" if limit else ""]
    told = ", ".join(filter(None, sizes))
    return f"an answer of {told}" if told else ""


def _listed(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _intents(decision: Decision, room: int, marks: str) -> list[str]:
    intents: Mapping[str, float] = decision["intents"]
    if not intents:
        return []
    names = max(map(len, (*intents, "difficulty")))
    length = min(_LONGEST_BAR, room - names - 12)
    lines = [f"{name:{names}}  {share:4.2f}  {bar(share, length, marks)}" for name, share in intents.items()]
    lines.append(f"{'difficulty':{names}}  {decision['difficulty']:4.2f}")
    if effort := decision["effort"]:
        lines.append(f"{'effort':{names}}  {effort['level'] or 'as the model likes'}: {effort['why']}")
    return lines


def _spoke(decision: Decision, room: int) -> list[str]:
    """Pieces of evidence by what they speak for or against, in the order in which that came up."""
    owned: dict[str, list[str]] = {}
    for label in decision["evidence"]:
        owner, _, name = label.partition(":")
        owned.setdefault(owner, []).append(name)
    names = max(map(len, owned), default=0)
    lines = []
    for owner, found in owned.items():
        lines += wrap(
            ", ".join(found),
            room - len(_INDENT),
            initial_indent=f"{owner:{names}}  ",
            subsequent_indent=" " * (names + 2),
            break_on_hyphens=False,
        )
    return lines


def _ladder(decision: Decision) -> list[str]:
    rungs = decision["rungs"]
    rows = [(rung["step"], f"{rung['took_us']:.0f} us", rung["answer"]) for rung in rungs]
    return table(rows, (False, True, False)) if rows else []


def _scores(decision: Decision, room: int, marks: str) -> list[str]:
    scores: Mapping[str, Mapping[str, float]] = decision["scores"]
    if not scores:
        return []
    best = next(iter(scores.values()))
    terms = [term for term in best if term != "total"]
    weights: Mapping[str, float] = decision["weights"]
    head = ("model", *terms, "total", "behind")
    weighed = (
        f"weights ({decision['profile']})",
        *(f"x {weights[term]:g}" if term in weights else "" for term in terms),
        "",
        "",
    )
    totals = [its["total"] for its in scores.values()]
    rows = [
        (model, *(f"{its[term]:.3f}" for term in (*terms, "total")), f"{totals[0] - its['total']:.3f}")
        for model, its in scores.items()
    ]
    lines = table([head, weighed, *rows], (False, *[True] * (len(terms) + 2)))
    length = min(_LONGEST_BAR, room - max(map(len, lines)) - 2 * len(_INDENT))
    least, most = min(0.0, *totals), max(0.0, *totals)
    if length < _SHORTEST_BAR or most == least:
        return lines
    bars = ["", "", *(bar((total - least) / (most - least), length, marks) for total in totals)]
    return [f"{line}  {drawn}".rstrip() for line, drawn in zip(lines, bars, strict=True)]


def _plan(decision: Decision) -> list[str]:
    origins, efforts = decision["origins"], (decision["effort"] or {}).get("models", {})
    rows = [
        (f"{place}.", model, origins.get(model, ""), f"effort {efforts[model]}" if model in efforts else "")
        for place, model in enumerate(decision["plan"], start=1)
    ]
    return table(rows, (True, False, False, False))
