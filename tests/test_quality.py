"""Lint, structured-concurrency lint, formatting and types, each as a test."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.concurrency import CONCURRENT

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SOURCES = ("engine", "frontends", "bench", "tests", "scripts")
SCRIPTS = ("scripts/serve", "scripts/test")

CHECKS = {
    "ruff check": ("ruff", "check"),
    "ruff format": ("ruff", "format", "--check"),
    # ASYNC9 is off by default. ASYNC127 asks for another HTTP client than the one we pin.
    "flake8-async": (
        "python",
        "-m",
        "tests.async_lint",
        "--disable=ASYNC9,ASYNC127",
        "--startable-in-context-manager=keep_fresh",
    ),
    # Hooks of web frameworks and fakes in tests are async whether or not they wait (ASYNC124).
    "flake8-async, hooks": (
        "python",
        "-m",
        "tests.async_lint",
        "--disable=ASYNC9,ASYNC127,ASYNC124",
        "--startable-in-context-manager=keep_fresh",
    ),
    "mypy --strict": ("mypy",),
}


def run(name: str, *arguments: str | Path) -> tuple[int, str]:
    program, *options = CHECKS[name]
    # flake8-async takes a fifth of a second a file and one core: it gets the files in two halves.
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


def async_files(*folders: str) -> list[str | Path]:
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if CONCURRENT.search(path.read_text())
    ]


def digest(name: str, path: str | Path) -> str:
    """Of all that decides what flake8-async says of a file, which is checked by itself."""
    versions = (sys.version, version("flake8-async"), version("libcst"))
    state = hashlib.sha256(repr((versions, CHECKS[name])).encode())
    ours = [ROOT / "tests" / name for name in ("async_lint.py", "concurrency.py")]
    for source in (*ours, Path(path)):
        state.update(hashlib.sha256(source.read_bytes()).digest())
    return state.hexdigest()


@pytest.mark.parametrize("name", CHECKS)
def test_quality(name: str, cache: pytest.Cache) -> None:
    """As ruff and mypy do, flake8-async passes over files that passed just as they are."""
    files = targets(name)
    by_file = name.startswith("flake8-async")
    digests = {path: digest(name, path) for path in files} if by_file else {}
    passed = set(cache.get(f"quality/{name}", []))
    left = [path for path in files if digests.get(path) not in passed]
    if by_file and not left:
        return

    code, output = run(name, *left)

    if code != 0:
        pytest.fail(f"{name}:\n{output}", pytrace=False)
    if by_file:
        cache.set(f"quality/{name}", sorted(digests.values()))


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


EVERY_KIND_OF_FAULT = """import time
import trio
from trio import fail_after as in_time
async def unshielded():
    try:
        await trio.sleep(1)
    except BaseException:
        pass
    finally:
        await trio.sleep(1)
async def in_a_nursery():
    async with trio.open_nursery() as nursery:
        nursery.start(unshielded)
        yield 1
async def waiting(timeout):
    with trio.move_on_after(10):
        pass
    while True:
        await trio.sleep(90_000)
    trio.sleep(3)  # noqa: ASYNC105
    trio.sleep(3)
    time.sleep(3)
async def without():
    return open("file")
class Holder:
    # whatever has attributes that visitors wait for
    @property
    def inner(self):
        async def nested(items):
            if items:
                await trio.sleep(1)
            elif (later := [await item async for item in items if item]):
                return later
            else:
                yield [x for x in items]
        return nested
    async def __aenter__(self):
        while True:
            try:
                for _ in range(3):
                    continue
            except ValueError:
                raise
            except trio.Cancelled:
                await trio.sleep(1)
            else:
                break
    async def matching(self, kind):
        match kind:
            case "a":
                await trio.sleep(1)
            case _ if kind:
                yield lambda: kind
        with trio.fail_after(3) as scope, trio.CancelScope():
            assert kind and scope or await kind
def of_no_interest(items):
    def nested():
        return [item for item in items]
    return nested
@decorated
class OfNoInterest:
    def method(self):
        with nothing:
            pass
def that_waits_for_nothing():
    with in_time(3):
        pass
async def behind_all_of_them():
    @decorated(by=[lambda: one for one in two])
    def nested():
        with in_time(3):
            pass
    async def within(): pass
    yield nested
"""


@pytest.mark.parametrize(
    "option",
    ["--disable=ASYNC9", "--disable-noqa", "--disable=ASYNC127"],  # the last turns on ASYNC9
)
def test_one_tree_for_all_visitors_shows_all_faults(tmp_path: Path, option: str) -> None:
    """tests/async_lint.py says what flake8-async says."""
    planted = tmp_path / "planted.py"
    planted.write_text(EVERY_KIND_OF_FAULT)
    said = [
        subprocess.run(
            [*command, option, planted], cwd=ROOT, capture_output=True, text=True, check=False
        )
        for command in ([BIN / "flake8-async"], [BIN / "python", "-m", "tests.async_lint"])
    ]
    theirs, ours = said
    assert len(theirs.stdout.splitlines()) >= 10, theirs
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), ours.stderr
