"""What the API says of itself is served, and its page asks nobody else for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest
import trio
from click.testing import CliRunner

from frontends.cli import main
from frontends.documentation import FILES
from frontends.headers import PAGE_POLICY, SECURITY
from frontends.reference.build import all_routes, document
from tests.frontends.apps import Front, open_front

ELSEWHERE = re.compile(r"(?:https?:)?//[a-z0-9]|@import|url\(", re.IGNORECASE)
INLINE = re.compile(r"""url\((['"]?)data:.*?\1\)|/\*.*?\*/""", re.DOTALL)
NO_KEY = {"authorization": ""}


async def test_the_document_and_its_page_are_for_everybody(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        document = await front.client.get("/openapi.json", headers=NO_KEY)
        assert document.headers["content-type"] == "application/json"
        assert len(document.json()["paths"]) > 100

        page = await front.client.get("/docs", headers=NO_KEY)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_the_command_line_writes_the_same_document(tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["openapi"])
    assert printed.exit_code == 0
    assert orjson.loads(printed.stdout) == document(all_routes())

    file = tmp_path / "openapi.json"
    assert CliRunner().invoke(main, ["openapi", "--output", str(file)]).output == ""
    assert file.read_text() == printed.stdout
    nowhere = CliRunner().invoke(main, ["openapi", "--output", str(tmp_path / "no" / "where")])
    assert nowhere.exit_code == 1
    assert "Traceback" not in nowhere.output


async def test_the_page_is_made_of_what_is_served_here(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        page = (await front.client.get("/docs")).text
        assert ELSEWHERE.search(page) is None
        named = re.findall(r'(?:src|href)="([^"]*)"', page)
        assert set(named) == {*(f"docs/{name}" for name in FILES), "openapi.json"}
        for name in named:
            answer = await front.client.get(f"/{name}", headers=NO_KEY)
            assert answer.status_code == 200, name
            assert answer.content
        start = (await front.client.get("/docs/start.js")).text
        assert ELSEWHERE.search(start) is None
        styles = (await front.client.get("/docs/swagger-ui.css")).text
        assert ELSEWHERE.search(INLINE.sub("", styles)) is None


async def test_only_the_page_may_run_scripts_and_only_its_own(tmp_path: Path) -> None:
    directives = dict(each.split(" ", 1) for each in PAGE_POLICY.decode().split("; "))
    assert directives["default-src"] == "'none'"
    allowed = {source for sources in directives.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "data:", "'unsafe-inline'"}
    assert "'unsafe-inline'" not in directives["script-src"]
    sandboxed = dict(SECURITY)[b"content-security-policy"].decode()
    async with open_front(tmp_path) as front:
        for path in ("/docs", *(f"/docs/{name}" for name in FILES)):
            headers = (await front.client.get(path)).headers
            assert headers["content-security-policy"] == PAGE_POLICY.decode(), path
            assert headers["x-content-type-options"] == "nosniff"
        for path in ("/openapi.json", "/v1/models", "/docs/nothing", "/docs/../docs2"):
            headers = (await front.client.get(path)).headers
            assert headers["content-security-policy"] == sandboxed, path


@pytest.mark.parametrize("name", ["index.html", "..%2F__init__.py", "%2Fetc%2Fpasswd", "start.js/"])
async def test_nothing_else_is_served(tmp_path: Path, name: str) -> None:
    async with open_front(tmp_path) as front:
        answer = await front.client.get(f"/docs/{name}")
        assert answer.status_code in (400, 404)
        assert set(answer.json()) == {"error"}


@pytest.mark.long
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser")
async def test_a_browser_shows_every_family(tmp_path: Path) -> None:
    async with open_front(tmp_path) as front:
        shown = await _in_a_browser(front, tmp_path)
        tags = (await front.client.get("/openapi.json")).json()["tags"]
    for tag in tags:
        assert f'data-tag="{tag["name"]}"' in shown, tag
    assert "Failed to load" not in shown


async def _in_a_browser(front: Front, folder: Path) -> str:
    """What `/docs` has become after its scripts have run."""
    done = await trio.run_process(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'browser'}",
            "--virtual-time-budget=15000",
            "--dump-dom",
            f"{front.client.base_url}/docs",
        ],
        capture_stdout=True,
        stderr=subprocess.DEVNULL,
    )
    return done.stdout.decode()
