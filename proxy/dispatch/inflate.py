"""Undoes a content-encoding piece by piece, so that no body can unfold to more than was asked for.

We ask for `identity`; this is for upstreams that compress all the same.
"""

from __future__ import annotations

import zlib

from proxy.dispatch.trouble import Http1Error, Trouble

STEP = 64 * 1024
"""Bytes that one `pull` gives at most."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""zlib's window bits for the three wrappings of one format."""

_CODINGS: dict[str, int | None] = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": None}
"""`deflate` means zlib (RFC 9110, section 8.4.1.2), but some send the raw format: its first bytes tell."""

_FOREIGN = frozenset(("br", "zstd", "compress", "x-compress", "dcb", "dcz"))
"""Names that may be said: an unknown one is the upstream's own words."""


class Inflate:
    """One body: `feed` what came, `pull` until it gives nothing, `finish` at the end."""

    def __init__(self, coding: str) -> None:
        """Raises Http1Error for a coding that can't be undone."""
        if coding not in _CODINGS:
            known = coding if coding in _FOREIGN else "of an unknown name"
            raise Http1Error(Trouble.BAD_RESPONSE, f"a content-encoding ({known}) that was not asked for")
        self._bits = _CODINGS[coding]
        self._stream: zlib._Decompress | None = None
        self._input = b""
        self._empty = True
        """Nothing has come out of the present member."""
        self._full = False
        """The last pull was cut off: zlib may hold more although it took all of its input."""

    def feed(self, data: bytes) -> None:
        """More of the body as it came."""
        self._input += data

    def pull(self) -> bytes:
        """Up to STEP bytes; none when more must be fed first. Raises Http1Error for what isn't the coding."""
        while self._input or self._full:
            stream = self._stream or self._begin()
            if stream is None:
                return b""
            try:
                data = stream.decompress(self._input, STEP)
            except zlib.error:
                raise Http1Error(Trouble.BAD_RESPONSE, "the body is not what its coding says") from None
            self._full = len(data) == STEP and not stream.eof
            self._input = stream.unused_data if stream.eof else stream.unconsumed_tail
            self._empty &= not data
            if stream.eof:
                self._stream = None  # Another gzip member may follow.
                if self._empty and self._input:
                    raise Http1Error(Trouble.BAD_RESPONSE, "an empty member before the compressed body's end")
            if data:
                return data
        return b""

    def finish(self) -> None:
        """Raises Http1Error when the end is missing."""
        if self._stream is not None or self._input:
            raise Http1Error(Trouble.TRUNCATED, "the compressed body is cut off")

    def _begin(self) -> zlib._Decompress | None:
        if self._bits is None:
            if len(self._input) < 2:
                return None
            self._bits = _ZLIB if int.from_bytes(self._input[:2], "big") % 31 == 0 else _RAW
        self._empty = True
        self._stream = zlib.decompressobj(self._bits)
        return self._stream
