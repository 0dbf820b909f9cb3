"""Exchanges a file for another in one step: whole or not at all, whoever reads it, and whatever fails.

path --follow links--> file     beside it, .NAME.xxxxxxxx: written, on the disk, owner and mode as they were
                       file <--rename--   the folder on the disk; where anything fails the other is gone
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_IMODE
from tempfile import mkstemp


def exchange(path: Path, data: bytes, *, mode: int | None = None, before: bytes | None = None) -> None:
    """The file holds `data` from now on; a link to it stays one.

    `mode` is its own from now on; None: as it was, and its owner's alone where there was none. `before` is
    what it was made from: ValueError, when it holds something else by now. Raises OSError.
    """
    path = path.resolve()
    descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _take_after(path, file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if before is not None and path.read_bytes() != before:
            raise ValueError("was changed by somebody else meanwhile: try it again")
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _keep_name(path.parent)


def _take_after(path: Path, descriptor: int, mode: int | None) -> None:
    """Owner, group and mode of the file that goes: who could read it still can, and nobody else."""
    try:
        old = path.stat()
    except FileNotFoundError:
        old = None
    made = os.fstat(descriptor)
    if old is not None and (old.st_uid, old.st_gid) != (made.st_uid, made.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    if mode is None:
        mode = 0o600 if old is None else S_IMODE(old.st_mode)
    os.fchmod(descriptor, mode)


def _keep_name(folder: Path) -> None:
    """Until its folder is on the disk, a crash may bring the old file back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems can't, and need not
            raise
    finally:
        os.close(descriptor)
