"""Whom to trust: TLS contexts for HTTP/1.1."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

import certifi

PORTS = {"http": 80, "https": 443}
"""Of a URL that names none."""


def tls_context(verify: bool | str = True) -> ssl.SSLContext:
    """Verifying by the usual authorities, by a bundle (a file or folder), or not at all."""
    if verify is True:
        return _usual_context()
    if isinstance(verify, str):
        folder = Path(verify).is_dir()
        context = ssl.create_default_context(
            cafile=None if folder else verify, capath=verify if folder else None
        )
    else:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=1)
def _usual_context() -> ssl.SSLContext:
    """The system's authorities and certifi's, or those that SSL_CERT_FILE or SSL_CERT_DIR name.

    Shared: reading them takes 10 ms and a megabyte.
    """
    context = ssl.create_default_context()
    known = ssl.get_default_verify_paths()
    if known.cafile in (None, known.openssl_cafile) and known.capath in (None, known.openssl_capath):
        context.load_verify_locations(certifi.where())  # a slim image has none of its own
    context.set_alpn_protocols(["http/1.1"])
    return context
