"""One value of a YAML file is set, and the rest of it stays as it is, comments and all."""

from __future__ import annotations

import pytest

from proxy.settings import ROUTING, default_directory
from proxy.settings.document import parse
from proxy.settings.edit import put


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("a: {b: 1,  c: 2}  # why\n", "a.b", "a: {b: 9,  c: 2}  # why\n"),
        ("a:\n  b: 1   # why\n  c: 2\n", "a.b", "a:\n  b: 9   # why\n  c: 2\n"),
        ("a: { c: 2 } # why\n", "a.b", "a: { c: 2, b: 9 } # why\n"),
        ("a: {}\n", "a.b", "a: {b: 9}\n"),
        ("a:\n  # first\n  c: 2\n", "a.b", "a:\n  # first\n  b: 9\n  c: 2\n"),
        ("c: 2", "a.b", "c: 2\na: {b: 9}\n"),
        ("x: ${H}\ny: {z: ${A:-é}, b: 1.50}\r\n# ü\n", "y.b", "x: ${H}\ny: {z: ${A:-é}, b: 9}\r\n# ü\n"),
        ('a: {"b": "1"}\n', "a.b", 'a: {"b": 9}\n'),
    ],
    ids=[
        "a flow mapping", "a block mapping", "a member more", "a first member", "a member more in a block",
        "a mapping more", "references and other characters before it", "in quotes",
    ],
)  # fmt: skip
def test_a_value_is_set_and_nothing_else(text: str, path: str, expected: str) -> None:
    assert put(text, path.split("."), "9") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n", "a: is no mapping that could be changed: write it as one"),
        ("a: {b: ${B}}\n", "a.b: comes from the environment: change it there"),
        ("x: &x {b: 1}\na: *x\n", "a.b: can't be changed where it stands (an alias?): write it out"),
        ("a: {b: 1\n", "line 2: not YAML"),
    ],
    ids=["no mapping", "a reference", "an alias", "no YAML"],
)
def test_what_cannot_be_set_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as refused:
        put(text, ("a", "b"), "9")
    assert str(refused.value).startswith(problem)


def test_the_shipped_file_changes_in_one_place() -> None:
    text = (default_directory() / ROUTING).read_text("utf-8")
    changed = put(text, ("profiles", "fast", "cost"), "0.2")
    assert changed == text.replace("latency: 3.0, cost: 0.1}", "latency: 3.0, cost: 0.2}")
    told = put(changed, ("worth", "fast"), "{quality: 1.5}")
    assert told == changed.replace("worth: {}", "worth: {fast: {quality: 1.5}}")
    assert parse(told, lambda *_: None)["worth"] == {"fast": {"quality": 1.5}}
