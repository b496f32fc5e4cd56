"""scripts/peers.py: it installs what it can, says what it cannot, and never stands in the way."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, on a machine that has none of the programs and no apt-get."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("peers")
    monkeypatch.setattr(module, "TRIED", str(tmp_path / "peers.tried"))
    monkeypatch.setattr(module, "NO_SERVICES", str(tmp_path / "policy-rc.d"))
    monkeypatch.setattr(module, "PACKAGES", {"no-such-server": "no-such-package"})
    monkeypatch.setenv("PATH", str(tmp_path))
    yield module
    for name in ("peers", "environment"):
        sys.modules.pop(name, None)


def apt_get(folder: Path, script: str) -> None:
    path = folder / "apt-get"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_what_cannot_be_installed_is_said_once(
    peers: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    peers.install_missing()
    said = capsys.readouterr().err
    assert "no-such-server cannot be installed (there is no apt-get)" in said
    assert peers.TRIED in said
    peers.install_missing()
    assert capsys.readouterr().err == ""


def test_an_installation_that_fails_is_no_failure(
    peers: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    apt_get(tmp_path, f'echo "$@" >> {tmp_path}/calls; exit 100')
    peers.install_missing()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["no-such-package", "update", "no-such-package"]
    assert "apt-get failed" in capfd.readouterr().err
    assert not Path(peers.NO_SERVICES).exists()


def test_services_stay_off_while_installing(
    peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    program = tmp_path / "no-such-server"
    apt_get(
        tmp_path, f"test -x {peers.NO_SERVICES} || exit 1; echo > {program}; chmod +x {program}"
    )
    # The fake runs by absolute paths: the machine's own tools are needed for chmod.
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    peers.install_missing()
    assert program.exists()
    assert not Path(peers.TRIED).exists()
    assert not Path(peers.NO_SERVICES).exists()


def test_without_root_nothing_is_tried(
    peers: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    apt_get(tmp_path, f"echo > {tmp_path}/called")
    peers.install_missing()
    assert "needs root" in capsys.readouterr().err
    assert not (tmp_path / "called").exists()
