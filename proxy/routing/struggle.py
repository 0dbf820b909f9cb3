"""Signs in a conversation that its answers don't do, beside what the ask says of them itself.

    the ask says what the turn before it said                   repeats
    user, assistant -> tool: error, assistant -> tool: error    failed_rounds

What words complain is the lexicon's (`struggle` in intents.yml); that the same messages came again, only
whoever remembers the conversation knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.routing.ask import text_of

MOST = 12
"""Rounds that are counted."""

_LONG_ENOUGH = 24
"""Bytes of a repeated ask: `yes` and `continue` may come as often as they like."""
_ALIKE = 0.8
"""Share of the words of two asks that are in both, from which one repeats the other."""
_FEW = 5
"""Words up to which only the very same ones count."""
_LONGEST = 2_000
"""Characters of asks that are compared word by word."""

_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|^>.*?$"
    r"""|"[^"\n]{1,400}"|“[^”\n]{1,400}”|„[^“”\n]{1,400}[“”]|«[^»\n]{1,400}»|「[^」]{1,400}」|『[^』]{1,400}』"""
    r"|(?<!\w)['‘](?=\w)(?:[^'’\n]|\b['’]\b){1,400}['’](?!\w)",
    re.DOTALL | re.MULTILINE,
)

_EDGE = 240
"""Characters of a result's head and tail that tell of an error."""

_ERROR = re.compile(
    r"[\s\[({<\"'*#`-]*(?:the |tool |command |execution |request )*"
    r"(?:[a-z_.]*(?:error|exception)\b(?!\"?\s*:\s*(?:null|none|false|0\b|\"\"|[\[{]\s*[\]}]))"
    r"|traceback \(most|failed\b|failure\b|fatal:|panic:|denied\b"
    r"|permission denied|no such file|command not found|file not found|timed? ?out|cannot |could not "
    r"|unable to |invalid |tool_use_error)",
    re.IGNORECASE,
)
_EXIT = re.compile(
    r"exit(?:ed)?(?: with)?(?: code| status)?\W{0,3}[1-9]\d{0,2}\b|command not found|traceback \(most"
    r"|[\"']is_?error[\"']: ?true",
    re.IGNORECASE,
)


def unquoted(ask: str) -> str:
    """An ask without what it quotes: of a story, a colleague, a program."""
    return _QUOTED.sub(" ", ask)


def repeats(ask: str, before: str) -> bool:
    """Whether two asks that follow each other say the same, give or take a few words."""
    if len(ask.encode("utf-8", "replace")) < _LONG_ENOUGH or not before:
        return False
    if ask == before:
        return True
    if not 0.5 < len(ask) / len(before) < 2.0 or len(ask) > _LONGEST:
        return False
    one, other = _words(ask), _words(before)
    if len(one) < _FEW or len(other) < _FEW:
        return one == other
    return len(one & other) >= _ALIKE * len(one | other)


def failed_rounds(messages: Sequence[Mapping[str, Any]]) -> int:
    """In a tool loop: of the latest rounds, those in a row whose every result is an error. At most MOST."""
    rounds, failed, results = 0, 0, 0
    for message in reversed(messages):
        outcomes = list(_outcomes(message))
        if outcomes:
            results += len(outcomes)
            failed += sum(outcomes)
            if failed < results:
                return rounds
        elif results:
            rounds += 1
            failed = results = 0
            if rounds == MOST:
                return rounds
        if not outcomes and message.get("role") != "assistant":
            break
    return rounds


def _outcomes(message: Mapping[str, Any]) -> Iterable[bool]:
    """Of each tool's result in a message, whether it is an error."""
    content = message.get("content")
    if message.get("role") in ("tool", "function"):
        yield _is_error(text_of(content))
    elif message.get("role") == "user" and isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and part.get("type") == "tool_result":
                yield part.get("is_error") is True or _is_error(text_of(part.get("content")))


def _is_error(text: str) -> bool:
    head = text[:_EDGE]
    return _ERROR.match(head) is not None or _EXIT.search(f"{head}\n{text[-_EDGE:]}") is not None


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
