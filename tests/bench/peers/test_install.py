"""Peers are installed once, whole or not at all, and what is missing is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.peers import ROWS, PeerError, find_installed, install_peer
from bench.peers.row import PeerRow, SystemProgram

SMG, PORTKEY = ROWS["smg"], ROWS["portkey"]

# What is installed by a tool that is not there: the program, and a line in a list of calls.
UV = """
echo "$@" >> $CALLS
test "$1" = venv || exit 0
mkdir -p environment/bin && touch environment/bin/smg
"""
NPM = """
echo "$@" >> $CALLS
mkdir -p node_modules/@portkey-ai/gateway/build
touch node_modules/@portkey-ai/gateway/build/start-server.js
"""


class Tools:
    """A machine whose tools are scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nCALLS={self.folder}/calls\nPATH=/usr/bin:/bin\n{text}\n")
        path.chmod(0o755)

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))  # uv may stand beside it
    return Tools(folder)


@pytest.mark.parametrize(
    ("row", "name", "script"), [(SMG, "uv", UV), (PORTKEY, "npm", NPM)], ids=["uv", "npm"]
)
def test_it_is_installed_once(
    row: PeerRow, name: str, script: str, tools: Tools, tmp_path: Path
) -> None:
    tools.add("node", "")
    tools.add(name, script)
    said: list[str] = []
    installed = install_peer(row, tmp_path, said.append)
    assert installed.program is not None
    assert installed.program.is_relative_to(tmp_path / "peers")
    assert installed.version == row.version
    assert said == [f"installing {row.name} {row.version} into {tmp_path} (this happens once)"]
    count = len(tools.calls())
    assert install_peer(row, tmp_path, said.append) == installed == find_installed(row, tmp_path)
    assert (len(tools.calls()), len(said)) == (count, 1)


def test_only_wheels_of_known_hashes_are_taken(tools: Tools, tmp_path: Path) -> None:
    tools.add("uv", UV)
    install_peer(SMG, tmp_path, print)
    assert "--require-hashes --only-binary :all:" in tools.calls()[-1]


def test_no_script_of_a_node_package_is_run(tools: Tools, tmp_path: Path) -> None:
    tools.add("node", "")
    tools.add("npm", NPM)
    installed = install_peer(PORTKEY, tmp_path, print)
    assert tools.calls() == ["ci --ignore-scripts --no-audit --no-fund --loglevel=error"]
    assert (installed.folder / "loopback.cjs").exists()


def test_another_lock_is_another_environment(tools: Tools, tmp_path: Path) -> None:
    tools.add("uv", UV)
    stamp = install_peer(SMG, tmp_path, print).folder / "stamp"
    stamp.write_text("of an older lock")
    with pytest.raises(PeerError, match="is not installed"):
        find_installed(SMG, tmp_path)
    install_peer(SMG, tmp_path, print)
    assert [call.split()[0] for call in tools.calls()] == ["venv", "pip", "venv", "pip"]


def test_what_failed_is_thrown_away_and_says_why(tools: Tools, tmp_path: Path) -> None:
    tools.add("uv", 'test "$1" = venv && exit 0\necho no route to host >&2\nexit 2')
    with pytest.raises(PeerError, match="no route to host") as refused:
        install_peer(SMG, tmp_path, print)
    assert "is it reachable?" in str(refused.value)
    assert list((tmp_path / "peers").iterdir()) == []


@pytest.mark.parametrize(
    ("row", "remedy"), [(SMG, "pip install uv"), (PORTKEY, "apt install nodejs npm")]
)
@pytest.mark.usefixtures("tools")
def test_a_missing_tool_is_said_with_its_remedy(row: PeerRow, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=remedy):
        install_peer(row, tmp_path, print)


def test_a_program_of_the_machine_that_is_missing(tmp_path: Path) -> None:
    row = PeerRow("squid", SystemProgram("no-such-proxy", "-v", "install it from somewhere"))
    with pytest.raises(PeerError, match="no-such-proxy is not installed: install it from"):
        install_peer(row, tmp_path, print)
