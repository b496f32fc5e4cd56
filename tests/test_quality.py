"""Lint, structured-concurrency lint, formatting and types, each as a test."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SOURCES = ("engine", "frontends", "bench", "tests", "scripts")
SCRIPTS = ("scripts/serve", "scripts/test")

CHECKS = {
    "ruff check": ("ruff", "check"),
    "ruff format": ("ruff", "format", "--check"),
    # ASYNC9 is off by default. ASYNC127 asks for another HTTP client than the one we pin.
    "flake8-async": ("flake8-async", "--disable=ASYNC9,ASYNC127"),
    # Hooks of web frameworks and fakes in tests are async whether or not they wait (ASYNC124).
    "flake8-async, hooks": ("flake8-async", "--disable=ASYNC9,ASYNC127,ASYNC124"),
    "mypy --strict": ("mypy",),
}


def run(name: str, *arguments: str | Path) -> tuple[int, str]:
    program, *options = CHECKS[name]
    # flake8-async takes a second a file and one core: it is given the files in two halves.
    halves = [arguments[::2], arguments[1::2]] if len(arguments) > 10 else [arguments]

    def check(files: tuple[str | Path, ...]) -> tuple[int, str]:
        command = [BIN / program, *options, *files]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(check, halves))
    return max(code for code, _ in results), "".join(output for _, output in results)


def targets(name: str) -> list[str | Path]:
    """What the whole-project run of a check is given."""
    match name:
        case "mypy --strict":
            return []  # pyproject.toml names the packages
        case "flake8-async":  # takes files, no folders
            return async_files("engine", "bench")
        case "flake8-async, hooks":
            return async_files("frontends", "tests")
        case _:
            return [*SOURCES, *SCRIPTS]


# A file with none of these holds nothing that flake8-async looks for; two thirds of ours.
CONCURRENT = re.compile(r"\basync\b|\btrio\b|\bBaseException\b|\bexcept:")


def async_files(*folders: str) -> list[str | Path]:
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if CONCURRENT.search(path.read_text())
    ]


@pytest.mark.parametrize("name", CHECKS)
def test_quality(name: str) -> None:
    code, output = run(name, *targets(name))

    if code != 0:
        pytest.fail(f"{name}:\n{output}", pytrace=False)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ruff check", "import os\n"),
        ("ruff format", "x = {  'a':1 }\n"),
        (
            "flake8-async",
            """import trio
async def f():
    try:
        await trio.sleep(1)
    finally:
        await trio.sleep(1)
""",
        ),
        ("mypy --strict", 'def f() -> int:\n    return "one"\n'),
    ],
)
def test_each_check_finds_a_planted_fault(tmp_path: Path, name: str, source: str) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(source)

    code, output = run(name, planted)

    assert code != 0, output
    assert "planted.py" in output
