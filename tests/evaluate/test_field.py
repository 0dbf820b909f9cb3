"""Which models of the outcomes the registry has, and which two the curve runs between."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.evaluate.field import Field, ends, gather, known, named
from proxy.evaluate.rows import Graded
from proxy.types import Model

MODELS = (
    Model("groq/llama-70b", "groq", "llama-3.3-70b-versatile", aliases=("big",)),
    Model("openrouter/qwen", "openrouter", "qwen/qwen-2.5-7b"),
)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("groq/llama-70b", "groq/llama-70b"),
        ("LLaMA-70B", "groq/llama-70b"),
        ("big", "groq/llama-70b"),
        ("llama-3.3-70b-versatile", "groq/llama-70b"),
        ("qwen-2.5-7b", "openrouter/qwen"),
        ("gemma", None),
    ],
    ids=[
        "its id",
        "the end of its id, in any case",
        "an alias",
        "the upstream's",
        "the end of that",
        "nobody",
    ],
)
def test_a_model_is_known_by_its_names(name: str, id: str | None) -> None:
    assert known([name], MODELS) == ({id: name} if id else {})


def test_a_name_belongs_to_one_model() -> None:
    twins = (Model("a/m", "a", "m"), Model("b/m", "b", "m"))
    assert known(["m"], twins) == {"a/m": "m"}


def test_names_are_given_by_hand() -> None:
    given = named("groq/llama-70b=l70,weak=g,strong=l70", ["l70", "g"], MODELS)
    assert given == {"groq/llama-70b": "l70", "weak": "g", "strong": "l70"}
    assert named("", ["l70", "g"], MODELS) == {}


def test_every_wrong_name_is_told() -> None:
    with pytest.raises(ConfigError) as refused:
        named("gpt=l70,weak=x,strong=x", ["l70"], MODELS)
    assert refused.value.problems == (
        "--models: 'gpt' is no ready model of the registry, nor weak or strong",
        "--models: 'x' is none of the outcomes' models: l70",
        "--models: 'x' is none of the outcomes' models: l70",
        "--models: weak and strong are the same model",
    )


def test_the_curve_runs_from_the_cheapest_to_the_best() -> None:
    quality = {"a": [0.0, 1.0], "b": [1.0, 1.0], "c": [1.0, 1.0], "d": [0.0, 0.0]}
    cost = {"a": [1.0, 1.0], "b": [3.0, 3.0], "c": [2.0, 2.0], "d": [1.0, 1.0]}
    assert ends(quality, cost) == ("a", "c")


def test_rows_become_columns_and_roles_may_be_given() -> None:
    rows = [
        Graded({"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 3.0}, body={"prompt": "four"}),
        Graded(
            {"a": 1.0, "b": 0.5},
            {"a": 1.0, "b": 4.0},
            body={"messages": [{"content": "x"}, {"content": "yz"}]},
        ),
    ]
    field = gather(rows, {})
    assert field == Field({"a": [0, 1], "b": [1, 0.5]}, {"a": [1, 1], "b": [3, 4]}, [4, 4], "a", "b")
    assert (field.pair().gain, field.pair().extra) == ([1.0, -0.5], [2.0, 3.0])
    assert gather(rows, {"weak": "b", "strong": "a"}).pair().gain == [-1.0, 0.5]
