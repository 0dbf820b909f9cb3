"""Where the proxy keeps what outlives it: the call log's database, and what an operator has set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def state_folder(environ: Mapping[str, str]) -> Path | None:
    """`kuro` in the user's state folder (XDG base directories); None where nobody is at home."""
    given, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if given.startswith("/"):  # a relative one is to be ignored
        return Path(given) / "kuro"
    return Path(home) / ".local" / "state" / "kuro" if home else None
