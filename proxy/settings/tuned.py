"""Weights of profiles in routing.yml: exchanged by those that were found to be better, and put back.

    profiles.balanced  --write-->  the new ones, and in `worth` those that stood there before
                       <-restore-  the latter

Every other byte stays as it is. Both raise OSError, and ValueError where the file is written in a way that
doesn't allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from msgspec.structs import asdict

from proxy.routing.policy import Weights
from proxy.settings.document import parse
from proxy.settings.edit import put
from proxy.settings.exchange import exchange


def write(path: Path, profiles: Mapping[str, Weights], profile: str, new: Mapping[str, float]) -> None:
    """Gives a profile other weights. `profiles` are those in force."""
    _change(path, lambda text: _written(text, profiles, profile, new))


def restore(path: Path, profiles: Mapping[str, Weights], worth: Mapping[str, Weights]) -> None:
    """Gives every profile the weights that it had before the first of such changes."""
    _change(path, lambda text: _restored(text, profiles, worth))


def moved(profiles: Mapping[str, Weights], worth: Mapping[str, Weights]) -> dict[str, dict[str, float]]:
    """Profile -> the weights that it had, where it has others now."""
    return {name: asdict(former) for name, former in worth.items() if profiles.get(name) != former}


def _written(text: str, profiles: Mapping[str, Weights], profile: str, new: Mapping[str, float]) -> str:
    if not _members(text, "profiles"):
        for name, weights in profiles.items():  # or the others, which are built in, would be gone
            text = put(text, ("profiles", name), _spelt(weights))
    text = _exchanged(text, profile, asdict(profiles[profile]), new)
    if profile not in _members(text, "worth"):
        text = put(text, ("worth", profile), _spelt(profiles[profile]))
    return text


def _restored(text: str, profiles: Mapping[str, Weights], worth: Mapping[str, Weights]) -> str:
    for name, former in moved(profiles, worth).items():
        text = _exchanged(text, name, asdict(profiles[name]), former)
    return text


def _exchanged(text: str, profile: str, old: Mapping[str, float], new: Mapping[str, float]) -> str:
    for term, weight in new.items():
        if weight != old[term]:
            text = put(text, ("profiles", profile, term), f"{weight:g}")
    return text


def _change(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_bytes()
    text = before.decode()
    bom, text = text[: text.startswith("\ufeff")], text.removeprefix("\ufeff")
    exchange(path, (bom + change(text)).encode(), before=before)


def _spelt(weights: Weights) -> str:
    return "{" + ", ".join(f"{term}: {weight:g}" for term, weight in asdict(weights).items()) + "}"


def _members(text: str, name: str) -> Collection[str]:
    """Of that part of the file; none where there is no such part."""
    values = parse(text, lambda *_: None)
    return (values or {}).get(name) or ()
