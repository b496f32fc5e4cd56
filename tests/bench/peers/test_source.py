"""Copies of Parshall's source, which runs are made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import engine
from bench.peers import PeerError
from bench.peers.source import copy_source

ROOT = Path(engine.__file__).parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout of git")


def test_a_copy_of_what_stands_there_now(tmp_path: Path) -> None:
    copy = copy_source("", tmp_path)
    assert copy.folder.parent == tmp_path / "sources"
    name = "bench/peers/__init__.py"
    assert (copy.folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert re.fullmatch(r"[0-9a-f]{10}(-dirty)?", copy.revision)
    assert copy_source("", tmp_path) is copy  # for all of a run


def test_a_copy_of_a_revision(tmp_path: Path) -> None:
    copy = copy_source("HEAD", tmp_path)
    assert (copy.folder / "engine" / "__init__.py").exists()
    assert not (copy.folder / "tests").exists()
    assert re.fullmatch(r"[0-9a-f]{10}", copy.revision)


@pytest.mark.parametrize("revision", ["no-such-branch", "--help"])
def test_a_revision_that_is_not_there_is_said(revision: str, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="there is no revision"):
        copy_source(revision, tmp_path)
    assert list((tmp_path / "sources").iterdir()) == []
