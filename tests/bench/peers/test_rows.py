"""The table of peers: every version pinned, all on loopback, nothing of a registry."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from string import Template
from typing import Any

import pytest

from bench.peers import DEFAULT_PEERS, ROWS, PeerRow
from bench.peers.row import NodePackages, PythonPackages

PACKAGED = {
    name: row
    for name, row in ROWS.items()
    if isinstance(row.install, PythonPackages | NodePackages)
}
VALUES = dict.fromkeys(
    (
        "port",
        "port2",
        "provider",
        "provider_address",
        "folder",
        "installed",
        "program",
        "python",
        "prelude",
    ),
    "0",
)


def read(name: str) -> str:
    return files("bench.peers").joinpath(name).read_text()


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_templates_name_only_what_there_is(row: PeerRow) -> None:
    texts = [row.base_url]
    if row.program is not None:
        texts += row.program.command
        texts += row.program.environment.values()
        texts += row.program.files.values()
        texts += [word for command in row.program.admin for word in command]
    for text in texts:
        Template(text).substitute(VALUES)
    for _, value in row.headers:
        Template(value).substitute(VALUES, key="k")


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_says_who_can_ask_what_through_it(row: PeerRow) -> None:
    assert row.models.keys() <= row.protocols
    assert row.protocols
    assert row.http
    assert row.notes


@pytest.mark.parametrize("row", PACKAGED.values(), ids=PACKAGED)
def test_packages_are_pinned_with_their_hashes(row: PeerRow) -> None:
    match row.install:
        case PythonPackages(lock=lock):
            text = read(lock)
            assert f"\n{row.name}=={row.version} " in "\n" + text
            entries = re.split(r"\n(?! )", text.strip())
            for entry in entries:
                assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==[0-9][^ ]* ", entry), entry
                assert "--hash=sha256:" in entry, entry
        case NodePackages(manifests=[manifest, lock, *_]):
            wanted: dict[str, Any] = json.loads(read(manifest))
            [version] = wanted["dependencies"].values()
            assert version == row.version
            exact = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
            for pin in [*wanted["dependencies"].values(), *wanted["overrides"].values()]:
                assert exact.fullmatch(pin), pin
            for path, package in json.loads(read(lock))["packages"].items():
                if path:
                    assert package["integrity"].startswith("sha512-"), path
                    assert "resolved" not in package, "where it came from stays out of it"


def test_whoever_is_in_the_table_by_default_is_a_row() -> None:
    assert set(DEFAULT_PEERS) <= set(ROWS)
    assert DEFAULT_PEERS[0] == "direct"
