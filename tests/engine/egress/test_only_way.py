"""What a user names is fetched in one place: everything else that dials is told by the operator."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
DIALS = {
    "open_tcp_stream",
    "open_ssl_over_tcp_stream",
    "getaddrinfo",
    "gethostbyname",
    "create_connection",
    "urlopen",
    "AsyncClient",
    "Client",
    "open_websocket_url",
}
DIALLING = {
    "engine/counting.py": "a provider",
    "engine/probing.py": "a provider",
    "engine/egress/reaching.py": "what a user has named",
    "engine/upstream/dial.py": "a provider",
    "engine/upstream/google_tokens.py": "Google's servers of tokens",
    "engine/upstream/provider_files.py": "a provider",
    "engine/upstream/tunnel.py": "a proxy of the operator's",
    "engine/notices.py": "the operator's receiver of notices",
    "frontends/server/binds.py": "the operator's own addresses, to listen at",
}
"""Who connects to somewhere, and who has named it."""


def dials(path: Path) -> bool:
    """Whether a module uses what connects to somewhere."""
    tree = ast.parse(path.read_bytes())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return not DIALS.isdisjoint(attributes | names)


def test_nobody_else_connects_to_anywhere() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("engine", "frontends")
        for path in (ROOT / folder).rglob("*.py")
        if dials(path)
    }

    assert found == set(DIALLING)
