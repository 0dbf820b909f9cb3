"""References to the environment, put in or told as missing."""

from __future__ import annotations

import pytest

from proxy.settings.reference import Reference, expand, is_whole, unset

ENVIRON = {"A": "one", "EMPTY": "", "TRICKY": "${A}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", Reference("one", ("A",))),
        ("x-${A}-${A}", Reference("x-one-one", ("A", "A"))),
        ("${NO}", Reference("", ("NO",), ("NO",))),
        ("${EMPTY}", Reference("", ("EMPTY",), ("EMPTY",))),
        ("${NO:-}", Reference("", ("NO",))),
        ("${NO:-two words}", Reference("two words", ("NO",))),
        ("${EMPTY:-two}", Reference("two", ("EMPTY",))),
        ("${A:-two}", Reference("one", ("A",))),
        ("${NO:-http://h:1/v1}", Reference("http://h:1/v1", ("NO",))),
        ("$${A} $A $", Reference("${A} $A $")),
        ("${TRICKY}", Reference("${A}", ("TRICKY",))),
    ],
)
def test_a_reference_becomes_its_variable(text: str, expected: Reference) -> None:
    assert expand(text, ENVIRON) == expected


@pytest.mark.parametrize("text", ["${}", "${A", "${1A}", "${A-b}", "${A:b}", "${A B}", "${"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        expand(text, ENVIRON)


def test_only_a_reference_alone_may_be_of_any_type() -> None:
    assert is_whole("${A}") and is_whole("${A:-1}")
    assert not is_whole("${A}0") and not is_whole("${A}${A}")


def test_a_reference_shows_its_names_and_never_its_text() -> None:
    assert repr(expand("${A}", ENVIRON)) == "Reference(names=('A',))"


def test_the_remedy_names_each_variable_once() -> None:
    assert unset(("A", "B", "A")) == "set A and B"
