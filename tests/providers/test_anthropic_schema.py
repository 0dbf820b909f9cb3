"""Schemas within the limits of Anthropic's structured outputs."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.providers.anthropic_schema import strict


def closed(**members: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False} | members


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"type": "object"}, closed(), id="objects are closed"),
        pytest.param({"type": "object", "additionalProperties": True}, closed(), id="even open ones"),
        pytest.param({"type": ["object", "null"]}, closed(type=["object", "null"]), id="or nothing"),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}},
            closed(properties={"a": {"type": "array", "items": closed()}}),
            id="on every level",
        ),
        pytest.param(
            {"$defs": {"A": {"type": "object"}}, "$ref": "#/$defs/A"},
            {"$defs": {"A": closed()}, "$ref": "#/$defs/A"},
            id="in definitions",
        ),
        pytest.param(
            {"oneOf": [{"type": "object"}, {"type": "null"}]},
            {"anyOf": [closed(), {"type": "null"}]},
            id="oneOf",
        ),
        pytest.param(
            {"type": "integer", "minimum": 1, "maximum": 9, "description": "Size."},
            {"type": "integer", "description": "Size.\n\n(minimum: 1, maximum: 9)"},
            id="limits are told",
        ),
        pytest.param(
            {"type": "string", "pattern": "^a$"},
            {"type": "string", "description": '(pattern: "^a$")'},
            id="without a description, too",
        ),
        pytest.param(
            {"type": "string", "format": "date"}, {"type": "string", "format": "date"}, id="known formats"
        ),
        pytest.param(
            {"type": "string", "format": "color"},
            {"type": "string", "description": '(format: "color")'},
            id="unknown formats",
        ),
        pytest.param({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}, id="at least one"),
        pytest.param(
            {"type": "array", "minItems": 2},
            {"type": "array", "description": "(minItems: 2)"},
            id="at least two",
        ),
        pytest.param(
            {"type": "object", "properties": {"minimum": {"type": "integer"}}},
            closed(properties={"minimum": {"type": "integer"}}),
            id="a property may be called anything",
        ),
        pytest.param(
            {"$schema": "x", "$id": "y", "enum": [1, "a"]}, {"enum": [1, "a"]}, id="names are left out"
        ),
        pytest.param(
            {"type": "string", "format": {}, "minItems": []},
            {"type": "string", "description": "(format: {}, minItems: [])"},
            id="nonsense",
        ),
        pytest.param(True, True, id="anything goes"),
    ],
)
def test_strict(given: Any, expected: Any) -> None:
    assert strict(given) == expected
