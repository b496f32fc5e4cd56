"""The scripts that set themselves up: what they decide, and once for real."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/environment.py, looking at an empty project."""
    spec = importlib.util.spec_from_file_location(
        "environment", ROOT / "scripts" / "environment.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "scripts").mkdir()
    for name in ("requirements.lock", "requirements-test.lock", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    (tmp_path / "scripts" / "environment.py").write_text("")
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(module, "ROOT", str(tmp_path))
    monkeypatch.setattr(module, "VENV", str(venv))
    monkeypatch.setattr(module, "VENV_PYTHON", str(venv / "bin" / "python"))
    return module


def stamp(environment: ModuleType, kind: str) -> None:
    Path(environment.stamp_path(kind)).write_text(environment.digest(kind) + "\n")


def test_without_a_stamp_nothing_is_current(environment: ModuleType) -> None:
    assert not environment.is_current("serve")
    assert not environment.is_current("test")


def test_a_stamp_skips_the_setup(environment: ModuleType) -> None:
    stamp(environment, "serve")

    assert environment.is_current("serve")
    assert not environment.is_current("test")


def test_an_environment_for_tests_serves_too(environment: ModuleType) -> None:
    stamp(environment, "test")

    assert environment.is_current("serve")


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml", "scripts/environment.py"])
def test_a_change_asks_for_a_new_setup(environment: ModuleType, name: str) -> None:
    stamp(environment, "serve")
    (Path(environment.ROOT) / name).write_text("changed")

    assert not environment.is_current("serve")


def test_an_environment_whose_python_has_gone_is_not_current(environment: ModuleType) -> None:
    stamp(environment, "serve")
    Path(environment.VENV_PYTHON).unlink()

    assert not environment.is_current("serve")
    assert not environment.is_usable()


def test_an_old_python_is_told_what_is_needed(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "MINIMUM", (99, 0))
    monkeypatch.setattr(environment, "NEWER_PYTHONS", ("no-such-python",))

    with pytest.raises(environment.SetupError, match="is needed"):
        environment.require_python()


def test_an_index_for_pip_is_said_to_uv(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/some/wheels")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)

    assert environment.call([sys.executable, "-c", "import os; print(os.environ['UV_FIND_LINKS'])"])
    assert "/some/wheels" in capfd.readouterr().err
    assert not environment.call(["/no/such/program"])


def test_an_interrupted_setup_says_so_and_is_not_current(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment.subprocess, "call", interrupt)
    with pytest.raises(SystemExit, match="130"):
        environment.run("serve", ["parshall"])

    assert "interrupted" in capsys.readouterr().err
    assert not environment.is_current("serve")


def test_help_needs_no_environment(tmp_path: Path) -> None:
    copy = tmp_path / "scripts"
    shutil.copytree(ROOT / "scripts", copy, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, str(copy / "test"), "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "--long" in done.stdout


@pytest.mark.long
def test_a_fresh_checkout_sets_itself_up(tmp_path: Path) -> None:
    clone = tmp_path / "parshall"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    for script, expected in (("serve", "Usage: parshall serve"), ("test", "scripts/test")):
        done = subprocess.run(
            [str(clone / "scripts" / script), "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    (stamped,) = clone.glob(".venv/*.stamp")
    assert stamped.name == "serve.stamp"
