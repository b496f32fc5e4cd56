"""What the API says of itself, over HTTP: `/openapi.json`, and a page of it at `/docs`.

The page is Swagger UI, of files that are installed with the gateway: it asks nobody else for
anything, and its policy lets it ask nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import orjson
import trio
from quart import Blueprint, Quart, Response

from engine.errors import NotFoundError
from frontends.connection import current_entry

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Parshall</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<noscript>This page shows <a href="openapi.json">openapi.json</a>, by JavaScript.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  filter: true,
  validatorUrl: null,
});
"""
_PACKAGE: Final = "flask_swagger_ui"
"""Only its files are used: it is not imported."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """What the page is made of: a text of ours, or a file of Swagger UI's."""

    content_type: str
    text: str | None = None


FILES: Final[Mapping[str, PageFile]] = {
    "start.js": PageFile("text/javascript; charset=utf-8", _START),
    "swagger-ui-bundle.js": PageFile("text/javascript; charset=utf-8"),
    "swagger-ui.css": PageFile("text/css; charset=utf-8"),
    "favicon-32x32.png": PageFile("image/png"),
}


class DocumentationRoutes:
    """The routes of one app, and what it says of all of its routes."""

    def __init__(self, app: Quart) -> None:
        self._app = app
        self._document: bytes | None = None

    def blueprint(self) -> Blueprint:
        """What an app registers."""
        routes = Blueprint("documentation", __name__)
        routes.get("/openapi.json")(self.show_document)
        routes.get("/docs")(self.show_page)
        routes.get("/docs/<name>")(self.show_file)
        return routes

    async def show_document(self) -> Response:
        """The OpenAPI document of the app's routes."""
        if self._document is None:
            self._document = await trio.to_thread.run_sync(self._make)
        return Response(self._document, content_type="application/json")

    async def show_page(self) -> Response:
        """The page that shows it."""
        current_entry().page = True
        return Response(_PAGE, content_type="text/html; charset=utf-8")

    async def show_file(self, name: str) -> Response:
        """A file of the page. Raises NotFoundError: it has none of that name."""
        file = FILES.get(name)
        if file is None:
            raise NotFoundError("There is no such file.")
        current_entry().page = True
        data = file.text.encode() if file.text is not None else await _installed(name)
        return Response(data, content_type=file.content_type)

    def _make(self) -> bytes:
        # All that is said of routes: a server that nobody asks is spared it.
        from frontends.reference.build import document

        rules = self._app.url_map.iter_rules()
        routes = {(m, rule.rule) for rule in rules for m in (rule.methods or set()) - {"HEAD"}}
        return orjson.dumps(document(routes))


async def _installed(name: str) -> bytes:
    """A file of Swagger UI's, as it is installed."""
    found = find_spec(_PACKAGE)
    assert found is not None, f"{_PACKAGE} is a dependency"
    assert found.origin is not None, f"{_PACKAGE} is a package of files"
    return await trio.Path(found.origin).parent.joinpath("dist", name).read_bytes()
