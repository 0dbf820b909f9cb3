"""How far the token estimate is from a real tokenizer, by language, script and kind of code.

    python tests/bench/tokens.py RANKS [RANKS ...] [--texts FILE ...] [--code FOLDER ...] [--catalogs FOLDER]

RANKS is an encoding that lies on this disk, `dist/ranks/o200k_base.js` of the npm package js-tiktoken say:
nothing is fetched. It needs `pip install tiktoken`, as nothing else here does. `--texts` are JSON lines with
`prompt` and perhaps `lang`; `--code` is searched for source files; `--catalogs` holds gettext catalogues
(`LANG/LC_MESSAGES/*.mo`), prose in languages that are hard to come by.
"""

from __future__ import annotations

import argparse
import base64
import gettext
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import tiktoken

from proxy.routing.tokens import estimate

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
LANGUAGES = ("de", "fr", "es", "pt", "it", "nl", "sv", "cs", "fi", "pl", "tr", "vi")
LANGUAGES += ("ru", "uk", "el", "he", "ar", "hi", "th", "ko", "ja", "zh_CN")
SUFFIXES = (".py", ".js", ".go", ".h", ".c", ".json", ".html", ".css", ".sql", ".sh", ".md", ".rst", ".yml")
LENGTHS = (150, 400, 1000, 2500)
PIECES = 60
"""Characters of a piece, and pieces of each kind."""


def encoding(path: Path) -> tiktoken.Encoding:
    """The encoding in a ranks file of js-tiktoken."""
    text = path.read_text("utf-8")
    packed = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return tiktoken.Encoding(
        path.stem,
        pat_str=packed["pat_str"],
        mergeable_ranks=_unpacked(packed["bpe_ranks"]),
        special_tokens={},
    )


def _unpacked(ranks: str) -> dict[bytes, int]:
    """Tokens with their ranks; packed, a line is `! first-rank token token ...`."""
    unpacked = {}
    for line in filter(None, ranks.split("\n")):
        _, first, *tokens = line.split(" ")
        unpacked.update({base64.b64decode(token): int(first) + n for n, token in enumerate(tokens)})
    return unpacked


def pieces(kind: str, text: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Random pieces of a text, when it is long enough to have some."""
    if len(text) > 2 * LENGTHS[-1]:
        for _ in range(PIECES):
            length = chance.choice(LENGTHS)
            start = chance.randrange(len(text) - length)
            yield kind, text[start : start + length]


def prompts(path: Path) -> dict[str, str]:
    """The prompts of a JSON lines file by language, joined."""
    grouped = defaultdict(list)
    for line in filter(None, path.read_text("utf-8").split("\n")):
        row = json.loads(line)
        grouped[f"prompts {row.get('lang', path.stem)}"].append(row["prompt"][:3000])
    return {kind: "\n".join(texts) for kind, texts in grouped.items()}


def catalogues(root: Path) -> dict[str, str]:
    """The long messages of each language's gettext catalogues, joined."""
    return {
        f"prose {name}": "\n".join(
            text for path in sorted(root.glob(f"{name}*/LC_MESSAGES/*.mo"))[:60] for text in _messages(path)
        )
        for name in LANGUAGES
    }


def _messages(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            catalogue = vars(gettext.GNUTranslations(file))["_catalog"]
    except (OSError, UnicodeDecodeError):
        return []  # not every catalogue is in the encoding that it names
    pairs = ((key, text) for key, text in catalogue.items() if isinstance(key, str) and isinstance(text, str))
    return [text for key, text in pairs if key and text != key and len(text) > 40]


def sources(root: Path, chance: random.Random) -> dict[str, str]:
    """Source files under a folder by suffix, joined."""
    found = {}
    for suffix in SUFFIXES:
        paths = sorted(root.rglob(f"*{suffix}"))
        chosen = chance.sample(paths, min(60, len(paths)))
        texts = [path.read_text("utf-8", errors="ignore")[:20_000] for path in chosen if path.is_file()]
        found[f"code {suffix}"] = "\n".join(texts)
    return found


def measure(known: list[tiktoken.Encoding], samples: list[tuple[str, str]]) -> None:
    """Prints the table: mean of |error|, and the error of all pieces of a kind together."""
    errors: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    totals: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for kind, text in samples:
        guess = estimate(text)
        for each in known:
            tokens = len(each.encode(text, disallowed_special=()))
            errors[kind][each.name].append(abs(guess / tokens - 1))
            totals[kind][each.name][0] += guess
            totals[kind][each.name][1] += tokens
    header = "".join(f"| {each.name} mean error | in total " for each in known)
    print(f"| kind {header}|\n|---{'|---|---' * len(known)}|")
    for kind in errors:
        cells = "".join(
            f"| {statistics.mean(errors[kind][each.name]):.0%} "
            f"| {totals[kind][each.name][0] / totals[kind][each.name][1] - 1:+.0%} "
            for each in known
        )
        print(f"| {kind} {cells}|")
    for each in known:
        mean = statistics.mean(statistics.mean(by_name[each.name]) for by_name in errors.values())
        print(f"\n{each.name}: {mean:.1%} on average over {len(errors)} kinds, {len(samples)} pieces")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ranks", nargs="+", type=Path)
    parser.add_argument("--texts", nargs="*", type=Path, default=sorted(DATA.glob("*.jsonl")))
    parser.add_argument("--code", nargs="*", type=Path, default=[ROOT])
    parser.add_argument("--catalogs", type=Path, default=Path("/usr/share/locale"))
    options = parser.parse_args()
    chance = random.Random(7)
    corpora: dict[str, str] = {}
    for path in options.texts:
        corpora |= prompts(path)
    corpora |= catalogues(options.catalogs)
    for root in options.code:
        for kind, text in sources(root, chance).items():
            corpora[kind] = f"{corpora.get(kind, '')}\n{text}"
    samples = [piece for kind, text in corpora.items() for piece in pieces(kind, text, chance)]
    measure([encoding(path) for path in options.ranks], [pair for pair in samples if pair[1].strip()])


if __name__ == "__main__":
    main()
