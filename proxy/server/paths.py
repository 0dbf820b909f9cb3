"""Paths below /admin/v1/models: an id may hold slashes, and is one segment all the same.

    /admin/v1/models/groq/llama/disable --folded--> /admin/v1/models/groq%2Fllama/disable --plain--> as it was

What is `%2F` in a request arrives as a slash: here `%2F` is ours alone.
"""

from __future__ import annotations

MODELS = "/admin/v1/models/"
SLASH = "%2F"
"""What a slash in a model's id is in a path whose segments mean something."""
VERBS = frozenset(("circuit", "disable", "enable"))
"""What may follow a model's id."""


def folded(path: str) -> str:
    """A path whose id is one segment; other paths as they are."""
    if not path.startswith(MODELS):
        return path
    rest = path.removeprefix(MODELS).rstrip("/")
    model, slash, verb = rest.rpartition("/")
    if verb not in VERBS:
        model, slash, verb = rest, "", ""
    return f"{MODELS}{model.replace('/', SLASH)}{slash}{verb}"


def unreadable(name: str) -> str:
    """How a model's name ends that no path can hold; nothing when one can."""
    _, slash, end = name.rpartition("/")
    return slash + end if slash and (not end or end in VERBS) else ""


def plain(path: str) -> str:
    """The path, or a segment of it, for a reader."""
    return path.replace(SLASH, "/")
