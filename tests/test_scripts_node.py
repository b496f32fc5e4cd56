"""scripts/node_sdks.py: it installs what it can, says what it cannot, and stands in no way."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def node_sdks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, with an environment that is empty, on a machine without Node."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("node_sdks")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (tmp_path / "machine").mkdir()
    folder = venv / "node-sdks"
    for name, path in {
        "FOLDER": folder,
        "STAMP": folder / "stamp",
        "TRIED": folder / "tried",
        "NODE": folder / "node",
    }.items():
        monkeypatch.setattr(module, name, str(path))
    monkeypatch.setattr(module.environment, "VENV", str(venv))
    monkeypatch.setattr(module.environment, "VENV_PYTHON", str(venv / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "machine"))
    yield module
    for name in ("node_sdks", "environment"):
        sys.modules.pop(name, None)


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def machine(folder: Path, version: str, npm: str) -> None:
    """A machine's own Node and npm."""
    program(folder / "machine" / "node", f"echo {version}")
    program(folder / "machine" / "npm", npm)


def test_what_cannot_be_installed_is_said_once(
    node_sdks: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    node_sdks.install_missing()
    said = capfd.readouterr().err
    assert "cannot be installed (neither the machine nor the package index" in said
    assert node_sdks.TRIED in said
    node_sdks.install_missing()
    assert capfd.readouterr().err == ""


def test_a_machines_node_that_is_new_enough_is_used(
    node_sdks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    machine(tmp_path, "v24.1.0", f'echo "$PWD $@" >> {tmp_path}/calls')
    node_sdks.install_missing()
    node_sdks.install_missing()

    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [[node_sdks.FOLDER, "ci"]]
    assert Path(node_sdks.FOLDER, "package-lock.json").exists()
    assert Path(node_sdks.NODE).readlink() == tmp_path / "machine" / "node"
    assert Path(node_sdks.STAMP).exists()
    assert not Path(node_sdks.TRIED).exists()
    assert "cannot" not in capfd.readouterr().err


@pytest.mark.parametrize("version", ["v18.20.4", "nonsense", ""])
def test_another_node_is_installed_beside_an_old_one(
    node_sdks: ModuleType, tmp_path: Path, version: str
) -> None:
    machine(tmp_path, version, "exit 9")
    bin_folder = tmp_path / "venv" / "bin"
    program(
        bin_folder / "uv",
        f"for name in node npm; do echo '#!/bin/sh\necho v24.0.0' > {bin_folder}/$name; "
        f"/bin/chmod +x {bin_folder}/$name; done",
    )
    node_sdks.install_missing()

    assert Path(node_sdks.STAMP).exists()
    assert Path(node_sdks.NODE).readlink() == bin_folder / "node"


def test_an_npm_that_fails_is_no_failure(
    node_sdks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    machine(tmp_path, "v24.1.0", "exit 1")
    node_sdks.install_missing()

    assert "npm failed" in capfd.readouterr().err
    assert os.path.exists(node_sdks.TRIED)
