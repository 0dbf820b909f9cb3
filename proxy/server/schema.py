"""GET /admin/v1/openapi.json: everything below /admin/v1, as OpenAPI, behind the same key as JSON alone.

Viewers are not served: they load scripts from elsewhere. litestar derives the schema from the routes; what it
can't know is added here: how refusals look, which keys open a route, which verb stands behind an id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from litestar import Request, Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from proxy import __version__
from proxy.server.guards import knows_its_query, needs_admin_key

PATH = "/openapi.json"

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "description": "What is wrong, and the remedy."},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "The field or parameter it is about."},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_KEYS = {
    "admin": {"type": "apiKey", "in": "header", "name": "x-admin-key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def admin_schema() -> OpenAPIConfig:
    """What litestar is told of it."""
    return OpenAPIConfig(
        title="Kuro proxy, admin API",
        version=__version__,
        use_handler_docstrings=True,
        render_plugins=[Tidied(path=PATH)],
        openapi_router=Router(
            "/admin/v1",
            route_handlers=[],
            guards=[needs_admin_key, knows_its_query],
            after_request=_only_our_own_404,
            include_in_schema=False,
        ),
    )


class Tidied(JsonRenderPlugin):
    """litestar's schema, completed."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The JSON."""
        return super().render(request, tidied(openapi_schema))


def tidied(schema: dict[str, Any]) -> dict[str, Any]:
    """The same with summaries, refusals and keys."""
    for operation in _operations(schema):
        summary = operation.get("description", operation["summary"]).partition("\n")[0]
        operation["summary"] = summary.rstrip(".")
        good = {status: said for status, said in operation["responses"].items() if status.startswith("2")}
        operation["responses"] = {
            **good,
            "401": _refusal("No admin key, or a wrong one"),
            "default": _refusal("It can't be done; nothing was changed"),
        }
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Error"] = _ERROR
    components["securitySchemes"] = _KEYS
    schema["security"] = [{name: []} for name in _KEYS]
    return schema


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in schema["paths"].values():
        yield from (each for each in methods.values() if isinstance(each, dict) and "responses" in each)


def _refusal(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": description, "content": content}


def _only_our_own_404(response: Response[Any]) -> Response[Any]:
    """litestar answers unknown pages beside the schema with HTML of its own."""
    if response.status_code == 404:
        raise NotFoundException
    return response
