"""The file in which disabled models outlast the proxy: written whole or not at all, read once, at start."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from proxy.server.orders import Orders, restored, stored
from proxy.settings.exchange import exchange

logger = logging.getLogger("kuro")


class OrdersFile:
    """One proxy's. Without a path nothing is kept."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None

    def read(self) -> Orders:
        """What was in force. A file that makes no sense is set aside, and said."""
        if self._path is None:
            return Orders()
        try:
            return restored(self._path.read_bytes(), time.time())
        except FileNotFoundError:
            return Orders()
        except OSError as error:
            logger.error("%s cannot be read: %s. No model is disabled.", self._path, error.strerror)
        except ValueError as error:
            logger.error(
                "%s makes no sense: %s. No model is disabled; the file is %s now.",
                self._path, error, self._set_aside(self._path),
            )  # fmt: skip
        return Orders()

    def write(self, orders: Orders) -> bool:
        """Whether these will be read at the next start."""
        if self._path is None:
            return False
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            exchange(self._path, stored(orders), mode=0o600)
        except OSError as error:
            logger.error("%s cannot be written, a restart forgets this: %s", self._path, error.strerror)
            return False
        return True

    def _set_aside(self, path: Path) -> str:
        aside = path.with_name(f"{path.name}.broken")
        try:
            path.replace(aside)
        except OSError as error:
            return f"left where it is ({error.strerror})"
        return aside.name
