"""What the four files hold, as a short digest: whether they are others than a moment ago."""

from __future__ import annotations

import stat
from hashlib import blake2b
from pathlib import Path

from proxy.settings import FILES, default_directory

Stamp = tuple[int, int, int, int]

_SIZE = 16
"""Bytes of one file's digest."""
_NONE = bytes(_SIZE)


class Footprint:
    """Looks at a directory's files. Reads only those whose times, size or inode are others than before."""

    def __init__(self, directory: Path | None) -> None:
        place = default_directory() if directory is None else directory
        self._paths = tuple(place / name for name in FILES)
        self._known: dict[Path, tuple[Stamp, bytes]] = {}

    def __call__(self) -> bytes:
        """Changes with the content of any of them; what can't be read as a file counts as none."""
        return b"".join(self._digest(path) for path in self._paths)

    def _digest(self, path: Path) -> bytes:
        try:
            seen = path.stat()
            if not stat.S_ISREG(seen.st_mode):
                return _NONE
            # Symbolic links are followed: Kubernetes exchanges a folder behind one.
            stamp = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = self._known[path] = stamp, blake2b(path.read_bytes(), digest_size=_SIZE).digest()
        except OSError:
            return _NONE
        return known[1]


def vanished(before: bytes, now: bytes) -> tuple[str, ...]:
    """The files that could be read at the first of two footprints, and can't any more."""
    places = range(0, len(before), _SIZE)
    gone = [before[at : at + _SIZE] != _NONE == now[at : at + _SIZE] for at in places]
    return tuple(name for name, is_gone in zip(FILES, gone, strict=False) if is_gone)
