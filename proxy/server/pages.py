"""/admin/: the page, three files that come with the package. It needs no key, but shows nothing without one.

The policy lets it load nothing from elsewhere, and nobody frame it; what it asks of the API carries the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException

_HERE = Path(__file__).parent / "page"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
"""Ending -> media type; litestar adds the charset."""
_FILES = {
    path.name: (path.read_bytes(), _TYPES[path.suffix[1:]])
    for path in sorted(_HERE.iterdir())
    if path.suffix[1:] in _TYPES
}
_INDEX = "index.html"
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@get("/admin", include_in_schema=False, sync_to_thread=False)
def show_page() -> Response[bytes]:
    """The page itself."""
    return _file(_INDEX)


@get("/admin/{name:str}", include_in_schema=False, sync_to_thread=False)
def show_file(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What it is made of."""
    name = request.path_params["name"]
    if name not in _FILES or name == _INDEX:
        raise NotFoundException
    return _file(name)


def _file(name: str) -> Response[bytes]:
    content, media_type = _FILES[name]
    return Response(content, media_type=media_type, headers=_HEADERS)


page_routes = (show_page, show_file)
