"""Brings asks and patterns to one spelling, and asks into passages.

Latin text loses case and accents (`Übersetze` -> `ubersetze`) and is plain ASCII afterwards, so that RE2's
ASCII word boundaries hold for it; other scripts keep their letters in lower case.
"""

from __future__ import annotations

import re
import unicodedata

_LATIN_SHARE = 0.65
"""ASCII characters among all, above which a text is Latin and is folded to ASCII."""

_FEW = 64
_LATIN_ENDS = "\u0250"
"""In a text of few characters (`sí`) accents may be most of it: that no other letters are there tells."""

_UNDECOMPOSED = {"ß": "ss", "ı": "i", "ł": "l", "ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "’": "'", "ё": "е"}
"""What Unicode does not take apart."""

_ENDS = (b".", b"?", b"!", b";")
_WIDE_ENDS = tuple(mark.encode() for mark in "。？！；؟।")

_SEPARATE = 4
_SHORTEST, _MOST = 160, 24
"""Up to _SEPARATE sentences stand alone; of more, neighbours are joined to passages of _SHORTEST bytes or
more, at most about _MOST of them."""

_EDGE, _MIDDLE, _BULK = 1.0, 0.5, 0.3
_BULKY = 2_000
"""What a passage's evidence counts: people say what they want at the beginning and at the end of an ask;
the middle is often material, and of asks past _BULKY bytes it nearly always is."""

_ESCAPE_OR_LETTER = re.compile(r"\\[pPx]\{[^}]*\}|\\.|[A-Z]|[^\x00-\x7f]", re.DOTALL)


def fold(text: str) -> bytes:
    """`text` as patterns and words are looked for in it, UTF-8."""
    if text.isascii():
        return text.lower().encode()
    text = text.lower()
    for letter, plain in _UNDECOMPOSED.items():
        text = text.replace(letter, plain)
    if len(text.encode("ascii", "ignore")) < _LATIN_SHARE * len(text) and not _short_latin(text):
        return text.encode("utf-8", "replace")
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore")


def _short_latin(text: str) -> bool:
    return len(text) <= _FEW and max(text) < _LATIN_ENDS


def fold_pattern(pattern: str) -> str:
    """A regular expression with its letters folded as `fold` folds texts."""
    return _ESCAPE_OR_LETTER.sub(lambda found: _fold_letter(found[0]), pattern)


def passages(folded: bytes) -> list[tuple[float, bytes]]:
    """The passages of a folded text in order, each with what its evidence counts (0..1)."""
    marked = _with_line_ends(folded)
    if marked.count(b"\n") < _SEPARATE:
        return [(_EDGE, line) for part in marked.split(b"\n") if (line := part.strip())]
    parts = _joined(marked, max(_SHORTEST, len(folded) // _MOST))
    inner = _MIDDLE if len(folded) <= _BULKY else _BULK
    last = len(parts) - 1
    return [(_EDGE if place in (0, last) else inner, part) for place, part in enumerate(parts)]


def word_pattern(word: str) -> str:
    """The regular expression of a plain word or phrase; a trailing `*` leaves its ending open."""
    stem = fold_pattern(word.removesuffix("*"))
    body = re.sub(r"([.^$*+?{}()|\[\]\\])", r"\\\1", stem)
    start, end = _boundary(body[0], _BEFORE), _boundary(body[-1], _AFTER)
    return f"{start}{body}{'' if word.endswith('*') else end}"


def _with_line_ends(folded: bytes) -> bytes:
    """The text with a line end after every sentence, too."""
    for end in _ENDS:
        folded = folded.replace(end + b" ", end + b"\n")
    if not folded.isascii():
        for end in _WIDE_ENDS:
            folded = folded.replace(end, end + b"\n")
    return folded


def _joined(marked: bytes, least: int) -> list[bytes]:
    """Whole lines, as many together as make at least `least` bytes."""
    parts, start = [], 0
    while start < len(marked):
        cut = marked.find(b"\n", start + least)
        if cut < 0:
            cut = len(marked)
        if part := marked[start:cut].strip():
            parts.append(part)
        start = cut + 1
    return parts


def _fold_letter(found: str) -> str:
    if len(found) > 1:
        return found
    plain = _UNDECOMPOSED.get(found.lower(), found.lower())
    if plain.isascii():
        return plain
    base = unicodedata.normalize("NFKD", plain)[0]
    return base if base.isascii() and base.isalpha() else plain


def _boundary(letter: str, spelt_out: str) -> str:
    """What parts a word that begins or ends with `letter` from others: RE2's `\\b` knows ASCII only."""
    if letter.isascii():
        return r"\b" if letter.isalnum() else ""
    return spelt_out if "Ͱ" <= letter <= "ԯ" else ""


_BEFORE, _AFTER = r"(?:^|[ \"'(,:-])", r"(?:$|[ \"'),.:;!?-])"
"""Greek and Cyrillic words stand alone; other scripts glue particles to words or don't part them at all."""
