"""How many tokens a text has, to within a few per cent, without a tokenizer.

    text -> UTF-8 -> one class letter per byte -> counts of letters and of neighbours -> weighted sum

Everything is done by `bytes.translate` and `bytes.count`, so that 500 characters take some 6 us and
texts past SAMPLED characters cost the same whatever their length. The weights were fitted by
non-negative least squares on texts and code in thirty languages; tests/bench/tokens.py prints how far off
they are.
"""

from __future__ import annotations

SAMPLED = 16_384
"""Characters above which a text is judged by its head, its tail and pieces between."""

_PIECE = 2_048
_PIECES = 6

_CLASSES = {
    "a": range(0x61, 0x7B),  # lower case
    "A": range(0x41, 0x5B),
    "0": range(0x30, 0x3A),
    " ": (0x20,),
    "n": (0x0A, 0x0D),
    "t": (0x09,),
    "c": range(0x80, 0xC0),  # continuation bytes
    "l": range(0xC0, 0xC4),  # Latin-1 letters
    "e": range(0xC4, 0xC6),  # Latin Extended-A
    "g": range(0xCC, 0xD0),  # Greek
    "r": range(0xD0, 0xD4),  # Cyrillic
    "h": range(0xD4, 0xD8),  # Hebrew, Armenian
    "s": range(0xD8, 0xDC),  # Arabic
    "i": (0xE0,),  # Devanagari, Thai and their neighbours
    "v": (0xE1,),  # Vietnamese letters, Georgian
    "p": (0xE2,),  # typographic punctuation, arrows, boxes
    "j": (0xE3,),  # kana, CJK punctuation
    "z": range(0xE4, 0xEA),  # Han
    "k": range(0xEA, 0xEE),  # Hangul
    "f": range(0xEE, 0xF0),  # full-width forms
    "x": range(0xF0, 0x100),  # emoji and other planes
}
_ANY_ASCII, _ANY_OTHER = ".", "m"
"""Punctuation, and whatever is left."""

_SMALL, _MARK, _LINE_END = 0.16, 0.33, 1.14
_CAPITAL, _CAMEL = 0.29, 1.0
_BLANK_RUN = 0.05
_LINE_END_AGAIN = 0.06
"""What a line end costs right behind another: up to sixteen are one token, and CR LF is one."""
_MERGED = _LINE_END - _LINE_END_AGAIN
_RULED, _RULE_AGAIN = 8, 2.5
"""Marks in a row, and what so many of the same are cheaper by than as many different ones."""
_RULES = tuple(mark * _RULED for mark in (b"-", b"=", b"_", b"*", b"#", b".", b"~", b"/", b"+"))
_PROSE_CAPITALS = 0.02
"""Capitals among all bytes up to which none of them is worth looking for within words."""
_WORD = 0.42
_DIGIT, _NUMBER = 0.37, 1.34
"""Tokens per occurrence in o200k_base; a word or number costs by its beginning and by its length."""

_OTHER_WEIGHTS = {
    b"l": 1.23,
    b"e": 1.13,
    b"g": 0.43,
    b"r": 0.33,
    b"h": 0.50,
    b"s": 0.38,
    b"i": 0.42,
    b"v": 0.15,
    b"p": 1.5,
    b"j": 0.73,
    b"z": 0.81,
    b"k": 0.80,
    b"f": 1.0,
    b"x": 2.0,
    b"m": 0.5,
}
"""Tokens of o200k_base per occurrence."""


def estimate(text: str) -> int:
    """Tokens of `text` in o200k_base, the vocabulary of current OpenAI models.

    The older cl100k_base needs about a tenth more for Latin text, a third more for Chinese and Japanese and
    twice as many for Arabic, Greek or Hindi.
    """
    length = len(text)
    if length <= SAMPLED:
        return round(_weigh(text))
    sample = "".join(text[start : start + _PIECE] for start in _starts(length))
    return round(_weigh(sample) * length / len(sample))


def _starts(length: int) -> range:
    """Where the pieces of a long text begin: the first at its head, the last at its tail."""
    step = (length - _PIECE) // (_PIECES - 1)
    return range(0, step * (_PIECES - 1) + 1, step)


def _weigh(text: str) -> float:
    raw = text.encode("utf-8", "replace")
    classes = raw.translate(_TABLE)
    count = classes.count
    total = _WORD * (b" " + raw).translate(_WORDS).count(b" a")
    total += _SMALL * count(b"a")
    total += _MARK * count(b".")
    if line_ends := count(b"n"):
        total += _LINE_END * line_ends - _MERGED * _repeated(classes)
    if _MARKS in classes:
        total -= _RULE_AGAIN * sum(map(raw.count, _RULES))
    if capitals := count(b"A"):
        total += _CAPITAL * capitals
        if capitals > _PROSE_CAPITALS * len(raw):
            total += _CAMEL * count(b"aA")
    if blanks := count(b"  "):
        total += _BLANK_RUN * blanks
    if digits := count(b"0"):
        total += _DIGIT * digits + _NUMBER * (count(b" 0") + count(b".0") + count(b"a0"))
    if len(raw) > len(text):
        count = raw.translate(_TABLE, _NOT_LEADING).count
        for letter, weight in _OTHER_WEIGHTS.items():
            total += weight * count(letter)
    return total


def _repeated(classes: bytes) -> int:
    """Line ends that follow another."""
    pairs = classes.count(b"nn")
    if not pairs or b"nnn" not in classes:
        return pairs
    return classes.count(b"n") - (b" " + classes).translate(_LINES).count(b" n")


def _classes() -> bytes:
    table = bytearray(_ANY_ASCII * 128 + _ANY_OTHER * 128, "ascii")
    for letter, members in _CLASSES.items():
        for byte in members:
            table[byte] = ord(letter)
    return bytes(table)


_TABLE = _classes()
_WORDS = _TABLE.translate(bytes(97 if byte in b"aA" else 32 for byte in range(256)))
_LINES = bytes(byte if byte == ord("n") else 32 for byte in range(256))
_MARKS = _ANY_ASCII.encode() * _RULED
_NOT_LEADING = bytes(range(0xC0))
"""ASCII and continuation bytes: what is left is one byte per character beyond ASCII."""
