"""Who may call: keys are known by their digests, compared in constant time, and never kept twice."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest

from proxy.errors import ApiError, ConfigError
from proxy.server.policy import AccessKey, AccessPolicy

ADMIN = "admin"
"""The name of `admin_key`."""
_SEEN_LIMIT = 1024
"""Spellings of good headers that are remembered; a caller with a key can make up others at will."""


class Keyring:
    """The keys that open a door. Without any, every caller may pass."""

    __slots__ = ("_names", "_seen")

    def __init__(self, keys: Iterable[AccessKey]) -> None:
        self._names = {_digest(key.key): key.name for key in keys}
        self._seen: dict[bytes, str] = {}
        """Digest of an `authorization` header that was good -> the key's name."""

    def authenticate(self, headers: Mapping[str, str]) -> str:
        """The name of the caller's key; "" when no keys are wanted. Raises ApiError 401.

        `headers` has lower-case names. The scheme is `Bearer` in any case (RFC 6750, RFC 9110).
        """
        if not self._names:
            return ""
        given = headers.get("authorization", "")
        seen = _digest(given)
        name = self._seen.get(seen)
        if name is None:
            name = self._name(_bearer(given))
            if len(self._seen) >= _SEEN_LIMIT:
                self._seen.clear()
            self._seen[seen] = name
        return name

    def find(self, key: str) -> str | None:
        """The name of this bare key; None: it is none of them."""
        # All are compared, so that the time taken says nothing of which came close.
        digest = _digest(key)
        found = [name for known, name in self._names.items() if compare_digest(known, digest)]
        return found[0] if found else None

    def _name(self, key: str | None) -> str:
        if not key:
            raise _unauthorized("An API key is needed: send `Authorization: Bearer KEY`.")
        name = self.find(key)
        if name is None:
            raise _unauthorized("This API key is not valid here.")
        return name


def admin_keyring(access: AccessPolicy) -> tuple[Keyring, str | None]:
    """The admin API's own door, and the key that was made for it when none is set: print it once."""
    made = None if access.admin_key or access.admin_keys else secrets.token_urlsafe(24)
    first = access.admin_key or made
    keys = [AccessKey(ADMIN, first)] if first else []
    return Keyring([*keys, *access.admin_keys]), made


def authenticate_admin(keyring: Keyring, headers: Mapping[str, str]) -> str:
    """The name of the admin key in `x-admin-key` or as bearer token. Raises ApiError 401."""
    if "x-admin-key" not in headers:
        return keyring.authenticate(headers)
    name = keyring.find(headers["x-admin-key"])
    if name is None:
        raise _unauthorized("This admin key is not valid.")
    return name


def check_listen(host: str, access: AccessPolicy) -> None:
    """Raises ConfigError if everybody would be served on an address that others can reach."""
    if not access.keys and not is_loopback(host):
        raise ConfigError([_OPEN_HOUSE.format(host=host)])


_OPEN_HOUSE = (
    "config/proxy.yml: keys: none is set, so only this machine may be served, but {host!r} can be "
    "reached from others: set a key, or listen on 127.0.0.1"
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, an address or `localhost`."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _bearer(header: str) -> str | None:
    scheme, _, key = header.strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers=(("www-authenticate", "Bearer"),))
