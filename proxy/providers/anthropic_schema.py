"""A JSON schema -> the part of JSON schema that Anthropic's structured outputs accept.

Objects are closed, and what the grammar can't hold to (`minimum`, `pattern`, ...) is told to the model in
the description instead, as Anthropic's own SDK does.
"""

from __future__ import annotations

import json
from typing import Any

Schema = dict[str, Any]

_KEPT = frozenset({"type", "enum", "const", "$ref", "title", "description", "default", "required"})
_NESTED = frozenset({"properties", "$defs", "definitions"})
_LISTS = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_SILENT = frozenset({"$schema", "$id", "additionalProperties", "examples", "strict"})
"""Left out without a word."""


def strict(schema: Any) -> Any:
    """The schema within those limits."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    told: Schema = {}
    for key, value in schema.items():
        if key in _NESTED and isinstance(value, dict):
            made[key] = {name: strict(member) for name, member in value.items()}
        elif key in _LISTS and isinstance(value, list):
            made[_LISTS[key]] = [strict(member) for member in value]
        elif key == "items":
            made[key] = strict(value)
        elif key in _KEPT or _holds(key, value):
            made[key] = value
        elif key not in _SILENT:
            told[key] = value
    if _is_object(schema):
        made["additionalProperties"] = False
    return made | _description(made.get("description"), told)


def _holds(key: str, value: Any) -> bool:
    return (key == "format" and isinstance(value, str) and value in _FORMATS) or (
        key == "minItems" and value in (0, 1)
    )


def _is_object(schema: Schema) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _description(given: Any, told: Schema) -> Schema:
    if not told:
        return {}
    limits = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items())
    return {"description": f"{given}\n\n({limits})" if isinstance(given, str) and given else f"({limits})"}
