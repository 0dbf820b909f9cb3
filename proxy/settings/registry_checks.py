"""What must hold of model_registry.yml beyond its shape: names, addresses, headers, limits, references.

Each check adds a problem that says where it stands and what to do, and never ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlsplit

from proxy.server.paths import MODELS, unreadable
from proxy.settings.entries import ModelEntry, ProviderEntry, RegistryFile, TimeoutsEntry
from proxy.settings.loops import loops
from proxy.settings.reader import Reader, did_you_mean, shown
from proxy.types import SIMULATED, Timeouts

AUTO = "auto"

_UNCHANGED = ("messages", "model", "stream")
"""Fields of a body that have the same name everywhere."""


# --- providers -----------------------------------------------------------------------------------


def check_filled(file: RegistryFile, reader: Reader) -> None:
    """There is a provider and a model at all."""
    for name in ("providers", "models"):
        if not getattr(file, name):
            reader.problem(name, "is empty: add one, or start from what `kuro init DIR` writes")


def check_provider(
    name: str, entry: ProviderEntry, reader: Reader, dialects: Collection[str], timeouts: Timeouts
) -> None:
    """Name, dialect, address, key, headers and limits of one provider."""
    at = f"providers.{name}"
    if not NAME.fullmatch(name):
        reader.problem(at, f"the name {NAME_RULE}")
    if entry.dialect and entry.dialect not in dialects:
        known = did_you_mean(entry.dialect, dialects)
        reader.problem(f"{at}.dialect", f"{shown(entry.dialect)} is not a dialect{known}")
    _check_url(entry, at, reader)
    if entry.api_key is not None and not TOKEN.fullmatch(entry.api_key.text):
        reader.problem(f"{at}.api_key", TOKEN_RULE)
    _check_headers(entry, at, reader)
    _check_rename(entry, at, reader)
    check_timeouts(entry.timeouts, timeouts, f"{at}.timeouts", reader)


def _check_url(entry: ProviderEntry, at: str, reader: Reader) -> None:
    if entry.dialect == SIMULATED or entry.base_url.missing:
        return
    if not entry.base_url.text:
        reader.problem(f"{at}.base_url", "is missing")
        return
    wrong = wrong_url(entry.base_url.text)
    if wrong:
        # The URL itself is not quoted: what is wrong with it may be a password.
        reader.problem(f"{at}.base_url", wrong)


def wrong_url(url: str) -> str:
    """What is wrong with an address and what to do, or nothing. Quotes none of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL: write it as https://api.example.com/v1"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "needs a scheme and a host: write it as https://api.example.com/v1"
    if parts.username is not None or parts.password is not None:
        return "must not hold credentials: use api_key or headers"
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        return "must not have a query or fragment: end it with the path, such as /v1"
    return "" if _URL_TEXT.fullmatch(url) else "holds blanks or control characters: remove them"


def _check_headers(entry: ProviderEntry, at: str, reader: Reader) -> None:
    for name, value in entry.headers.items():
        place = f"{at}.headers.{name}"
        if not _HEADER.fullmatch(name):
            reader.problem(f"{at}.headers", f"{shown(name)} is no HTTP header name: mend it")
        elif name.lower() in _OURS:
            reader.problem(place, f"{name} is set by the proxy: remove it")
        if not _HEADER_VALUE.fullmatch(value.text):
            reader.problem(place, "the value holds a line break or another control character: remove it")
    for i, name in enumerate(entry.forward_headers):
        if not _HEADER.fullmatch(name):
            reader.problem(f"{at}.forward_headers[{i}]", f"{shown(name)} is no HTTP header name: mend it")
        elif name.lower() in _NEVER_FORWARDED:
            reader.problem(f"{at}.forward_headers[{i}]", f"{name} never leaves the proxy: remove it")


def _check_rename(entry: ProviderEntry, at: str, reader: Reader) -> None:
    if entry.rename and entry.dialect != "openai":
        reader.problem(f"{at}.rename", f"is for the dialect openai: {entry.dialect} has its own names")
    for name in _UNCHANGED:
        if name in entry.rename or name in entry.rename.values():
            reader.problem(f"{at}.rename", f"{name} is called so everywhere: remove it")


def check_timeouts(entry: TimeoutsEntry, base: Timeouts, at: str, reader: Reader) -> None:
    """Each limit fits into the total; said where it was set, not where it is inherited."""
    merged = entry.over(base)
    for name in ("connect", "first_token"):
        limit = getattr(merged, name)
        given = getattr(entry, name) is not None or entry.total is not None
        if given and limit > merged.total:
            reader.problem(
                f"{at}.{name}", f"{limit:g} s is more than the total of {merged.total:g} s: lower it"
            )


# --- models --------------------------------------------------------------------------------------


def claim_names(models: tuple[ModelEntry, ...], reader: Reader) -> dict[str, str]:
    """Every id and alias -> the id; each is checked to be well formed and to stand once."""
    taken: dict[str, str] = {}
    names: dict[str, str] = {}
    for i, model in enumerate(models):
        if _claim(model.id, f"models[{i}].id", taken, reader):
            names[model.id] = model.id
    for i, model in enumerate(models):
        for j, alias in enumerate(model.aliases):
            if _claim(alias, f"models[{i}].aliases[{j}]", taken, reader):
                names[alias] = model.id
    return names


def _claim(name: str, at: str, taken: dict[str, str], reader: Reader) -> bool:
    if not name and at.endswith(".id"):
        return False  # missing, and said so
    if not NAME.fullmatch(name):
        reader.problem(at, f"{shown(name)} {NAME_RULE}")
    elif name == AUTO or name.startswith(f"{AUTO}:"):
        reader.problem(at, f"{name!r} is what callers ask the router for: choose another name")
    elif end := unreadable(name):
        reader.problem(
            at, f"{name!r} ends in {end!r}, which means something else in paths below {MODELS}: rename it"
        )
    elif name in taken:
        reader.problem(at, f"{name!r} is already {taken[name]}: every id and alias stands once")
    else:
        taken[name] = at
        return True
    return False


def check_model(
    model: ModelEntry,
    at: str,
    file: RegistryFile,
    reader: Reader,
    intents: Collection[str],
    timeouts: Timeouts,
) -> None:
    """What one model refers to, and its limits."""
    provider = file.providers.get(model.provider)
    if provider is None and model.provider and file.providers:
        known = did_you_mean(model.provider, file.providers)
        reader.problem(f"{at}.provider", f"{shown(model.provider)} is not a provider{known}")
    for intent in model.capabilities:
        if intents and intent not in intents:
            known = did_you_mean(intent, intents)
            reader.problem(f"{at}.capabilities.{intent}", f"{shown(intent)} is not an intent{known}")
    if (model.max_output_tokens or 0) > model.context_window and reader.sound(f"{at}.context_window"):
        reader.problem(
            f"{at}.max_output_tokens",
            f"{model.max_output_tokens} is more than the context_window of {model.context_window}: lower it",
        )
    base = provider.timeouts.over(timeouts) if provider else timeouts
    check_timeouts(model.timeouts, base, f"{at}.timeouts", reader)


def check_fallbacks(models: tuple[ModelEntry, ...], names: Mapping[str, str], reader: Reader) -> None:
    """Fallbacks name models of the file and never come back to where they began."""
    follows: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for i, model in enumerate(models):
        places.setdefault(model.id, f"models[{i}].fallback")
        follows.setdefault(model.id, [])
        for j, name, known in _resolved(model, names):
            if not known:
                remedy = did_you_mean(name, names)
                reader.problem(f"models[{i}].fallback[{j}]", f"{shown(name)} is not a model{remedy}")
            else:
                follows[model.id].append(known)
    for loop in loops(follows):
        path = " -> ".join((*loop, loop[0]))
        reader.problem(places[loop[0]], f"falls back in a circle, {path}: take one of them out")


def _resolved(model: ModelEntry, names: Mapping[str, str]) -> Iterator[tuple[int, str, str | None]]:
    for j, name in enumerate(model.fallback):
        yield j, name, names.get(name)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
NAME_RULE = "must be 1 to 128 of A-Z a-z 0-9 . _ : / @ + -, and begin with a letter or digit"
TOKEN = re.compile(r"[!-~]*")
TOKEN_RULE = "holds a blank, a line break or another character that no key has: remove it"
_URL_TEXT = re.compile(r"[!-~]+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_OURS = frozenset(
    {"host", "content-length", "content-type", "connection", "transfer-encoding", "accept-encoding"}
)
_NEVER_FORWARDED = _OURS | {"authorization", "cookie", "x-session-id", "x-admin-key", "proxy-authorization"}
