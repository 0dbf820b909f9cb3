"""The bodies that the load sends: `model: auto`, about 500 characters, of every kind that is classified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path
from random import Random

PROMPTS = (
    "Write a Python function that reads a CSV file of orders and returns the ten customers who spent most. ",
    "Explain step by step why the sum of two odd numbers is always even, and give a proof by contradiction. ",
    "Translate the following paragraph into French, keeping its tone: the market opens at dawn and is loud. ",
    "Summarise the minutes of yesterday's meeting in five bullet points, with owner and date for each task. ",
    "Hey, how are you doing today? I just came back from a long walk in the rain and wanted to chat a bit. ",
    "Extract every name, date and amount from this invoice and give them to me as one JSON object only. ",
    "Write a short poem about a lighthouse keeper who is afraid of the dark, in four stanzas that rhyme. ",
    "Who was the first woman to win a Nobel Prize, in which year was it, and what did she win it for? ",
)
_FILLER = (
    "Please take into account that the reader is new to the subject and would like to understand the "
    "reasons, not only the result. Keep it short where that is possible, name what you assume, and say so "
    "plainly when something can't be known from what is given here. If there are several good ways, choose "
    "one of them and tell in a sentence why it was preferred to the others, so that I can decide otherwise. "
    "Thank you very much."
)
LENGTH = 500
"""Characters of a prompt."""
EXEMPLARS = Path(__file__).parents[1] / "train" / "exemplars"


def texts(salt: int = 0) -> Iterator[str]:
    """Prompts without end; half of them are unique, so that no decision is remembered for those.

    Another salt makes other unique ones.
    """
    for number, prompt in zip(count(), cycle(PROMPTS), strict=False):
        # Eight prompts in turn: it is the round, not the number, that decides whether one repeats.
        said = (prompt + _FILLER)[:LENGTH]
        yield said if number // len(PROMPTS) % 2 else f"{_unique(salt + number)} {said}"[:LENGTH]


def bodies(model: str, *, stream: bool = False, marker: str = "", salt: int = 0) -> Iterator[bytes]:
    """Request bodies without end."""
    for text in texts(salt):
        message = {"role": "user", "content": f"{text} {marker}".rstrip()}
        value = {"model": model, "messages": [message], "stream": stream, "temperature": 0.7}
        yield json.dumps(value).encode()


def body(model: str, *turns: str) -> bytes:
    """A request body with these turns, the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": turn} for at, turn in enumerate(turns)]
    return json.dumps({"model": model, "messages": messages}).encode()


def unseen(number: int) -> Iterator[bytes]:
    """Bodies of 500 characters, no two alike in a sentence: the first half of one exemplar, the second of
    another, in thirteen languages; the same ones every time."""
    chance = Random(1)
    exemplars = [line.split() for page in sorted(EXEMPLARS.glob("*.txt")) for line in _asks(page)]
    for _ in range(number):
        said = ""
        while len(said) < LENGTH:
            one, other = chance.choices(exemplars, k=2)
            said += " ".join((*one[: (len(one) + 1) // 2], *other[len(other) // 2 :])) + ". "
        yield body("auto", said[:LENGTH])


def _asks(page: Path) -> list[str]:
    return [line for line in page.read_text("utf-8").splitlines() if line.strip() and line[0] not in "=#"]


_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _unique(number: int) -> str:
    """A word of letters alone: digits might be normalised away."""
    word = ""
    while number or not word:
        number, letter = divmod(number, len(_LETTERS))
        word += _LETTERS[letter]
    return f"Project {word}:"
