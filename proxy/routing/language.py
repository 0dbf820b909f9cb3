"""Which language a text is in, told by its script and, for Latin letters, by its commonest words."""

from __future__ import annotations

from struct import Struct

UNKNOWN = "und"

_LOOKED_AT = 180
"""Characters that are looked at; more change nothing."""

_SCRIPTS = (
    # leading UTF-8 bytes, what one character weighs beside one Latin letter, language
    (range(0xE4, 0xEA), 3.0, "zh"),
    (range(0xEB, 0xEE), 3.0, "ko"),
    (range(0xD0, 0xD4), 1.5, "ru"),
    (range(0xD8, 0xDC), 1.5, "ar"),
    (range(0xE0, 0xE1), 2.0, "hi"),
    (range(0xCE, 0xD0), 1.5, "el"),
    (range(0xD7, 0xD8), 1.5, "he"),
)
_KANA = (b"\xe3\x81", b"\xe3\x82", b"\xe3\x83")
_INDIC = {
    # second byte after 0xE0, halved
    0xA4: "hi",
    0xA6: "bn",
    0xA8: "pa",
    0xAA: "gu",
    0xAC: "or",
    0xAE: "ta",
    0xB0: "te",
    0xB2: "kn",
    0xB4: "ml",
    0xB6: "si",
    0xB8: "th",
    0xBA: "lo",
}
_UKRAINIAN = "іїєґІЇЄҐ"
_PERSIAN = "پچژگ"

_WORDS = {
    "en": "the and of to is in that it for you with are this what how can my i on be have do we from please"
    " which your an not will would if when why who",
    "de": "der die das und ist nicht ein eine einen den dem zu mit für auf wie was ich du sie es im von wir"
    " bitte kann auch sich werden warum wer",
    "es": "el los las una de que en es por para con un del se lo como más qué cómo mi yo esta este cuál por"
    " favor al hay son",
    "fr": "le les une des est et en dans pour que qui sur un du de avec il elle je vous ce cette quel quelle"
    " comment pas au aux la mon sont",
    "pt": "os as uma um de do da dos das que em é para com não como mais por você meu minha qual no na isso"
    " são eu ao",
    "it": "il lo gli una di che è per con non un del della dei come mi sono cosa qual questo questa nel alla"
    " più perché ho",
    "nl": "de het een en van is dat in op te met voor niet zijn ik je hoe wat naar aan deze dit er kan wij"
    " maar waarom graag ook",
    "tr": "bir ve bu için ile ne nasıl mı mi da de çok en daha olarak gibi olan kadar bana ben sen nedir var"
    " hangi neden şu lütfen ama",
    "pl": "na do nie się że to jest jak co dla po od za przez czy mi są ten ta jestem proszę oraz"
    " tego które gdzie",
}
_MARKS = {
    "de": "ßäöü",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "fr": "êœùû",
    "pl": "łąęśżźćń",
    "tr": "ışğİ",
    "it": "òì",
}
"""Letters that hardly any other of these languages has: two words' worth of evidence."""


def language(text: str) -> str:
    """ISO 639-1 of `text`'s beginning, `und` when there is no evidence."""
    text = text[:_LOOKED_AT]
    if text.isascii():
        return _latin(text.lower(), marked=False)
    found = _script(text.encode("utf-8", "replace"))
    if found is None:
        return _latin(text.lower(), marked=True)
    if found == "ru" and any(letter in text for letter in _UKRAINIAN):
        return "uk"
    if found == "ar" and any(letter in text for letter in _PERSIAN):
        return "fa"
    return found


def _script(raw: bytes) -> str | None:
    """The language that stands for the prevailing script, None for Latin."""
    leading = raw.translate(_LEADS, _CONTINUATIONS).count
    best, weight = None, float(leading(b"a"))
    for lead, each, name in _BY_LEAD:
        if (here := each * leading(lead)) > weight:
            best, weight = name, here
    kana = sum(raw.count(pair) for pair in _KANA) if b"\xe3" in raw else 0
    if kana and (best == "zh" or 3.0 * kana > weight):
        return "ja"
    if best == "hi":
        return _INDIC.get(raw[raw.index(b"\xe0") + 1] & 0xFE, UNKNOWN)
    return best


def _latin(text: str, marked: bool) -> str:
    points = sum(map(_POINTS.__getitem__, _KNOWN.intersection(text.split())))
    if marked:
        points += sum(
            _MARK << _LANES[name] for name, letters in _MARKS.items() if any(map(text.__contains__, letters))
        )
    scores = _SCORES.unpack(points.to_bytes(_SCORES.size, "little"))
    best = max(scores)
    return _LANGUAGES[scores.index(best)] if best else UNKNOWN


def _leads() -> bytes:
    table = bytearray(256)
    for byte in (*range(0x41, 0x5B), *range(0x61, 0x7B), *range(0xC3, 0xC8)):
        table[byte] = ord("a")
    for number, (leads, _, _) in enumerate(_SCRIPTS):
        for byte in leads:
            table[byte] = ord("0") + number
    return bytes(table)


def _points() -> dict[str, int]:
    """Each word's points in the lanes of its languages; a word that several share says less of each."""
    owners: dict[str, list[str]] = {}
    for name, words in _WORDS.items():
        for word in dict.fromkeys(words.split()):
            owners.setdefault(word, []).append(name)
    return {
        word: sum(_WORD // len(names) << _LANES[name] for name in names) for word, names in owners.items()
    }


_LEADS = _leads()
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_BY_LEAD = tuple((b"%d" % number, each, name) for number, (_, each, name) in enumerate(_SCRIPTS))
_LANGUAGES = tuple(_WORDS)
_SCORES = Struct(f"<{len(_LANGUAGES)}H")
_LANES = {name: 16 * number for number, name in enumerate(_LANGUAGES)}
"""All languages' points are one number, sixteen bits for each: a word is one addition, whoever shares it, and
in which order they come makes no difference."""
_WORD = 60
"""A word's points, which up to six languages share without a remainder."""
_MARK = 2 * _WORD
_POINTS = _points()
_KNOWN = frozenset(_POINTS)
