"""Options of the whole suite: `--long` also runs the tests that take minutes."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
SKIPPED = "takes minutes: run with --long"
ADMIN_KEY = "of-the-operator-of-all-tests-and-of-nobody-else"
"""Of the operator."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", default=False, help="also run tests marked `long`"
    )


# A machine that has more to do than these tests is no failure of theirs.
settings.register_profile("overloaded", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("overloaded")


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The only authority that is trusted, where a test names no other; no server is of it.

    HTTP clients read the machine's 140 authorities each time one is made, for 45 ms, and most SDKs
    make two; but all that tests talk to is either not TLS or of an authority that a test made.
    """
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_operator() -> Iterator[None]:
    """A server that is started with a file takes its operator's credential of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARSHALL_ADMIN_KEY", ADMIN_KEY)
        yield


@pytest.fixture(params=["prior-knowledge", "off"], ids=["http2", "http1"])
def each_protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Gateways of `tests.gateways` speak HTTP/2 to their provider, then HTTP/1.1."""
    http2: str = request.param
    monkeypatch.setattr("tests.gateways.HTTP2", http2)
    return http2


def pytest_configure(config: pytest.Config) -> None:
    """Let each worker begin its imports with other files, which it compiles for all.

    All of them import every test. Where nothing is compiled yet they would, side by side, rewrite
    the assertions of the same files: 15 s of CPU for each worker.
    """
    worker: dict[str, str | int] | None = getattr(config, "workerinput", None)
    if worker is None:
        return
    send_what_is_shown(config)
    number, count = int(str(worker["workerid"]).removeprefix("gw")), int(worker["workercount"])
    asked = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    files = sorted(file for path in asked for file in path.rglob("test_*.py"))
    with nothing_to_free():
        for file in (file for file in files[number::count] if file.is_relative_to(ROOT)):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            with suppress(Exception, pytest.skip.Exception):  # who collects it says what is wrong
                import_module(name)


@contextmanager
def nothing_to_free() -> Iterator[None]:
    """Look for no cycles while there are ever more modules and tests, all of which stay: that took
    a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with nothing_to_free():
        return (yield)


def send_what_is_shown(config: pytest.Config) -> None:
    """Spare a worker and who listens to it three messages a test that would change nothing there.

    Of what a test sends, nobody shows that it begins, and that its fixtures were made and ended
    well only where times or single tests are listed. Each message costs both of them CPU time.
    """
    option = config.option
    if option.durations is not None or option.xmlpath or option.verbose > 0:
        return
    is_sender = "WorkerInteractor"  # its module has no name to import it by
    (sender,) = [p for p in config.pluginmanager.get_plugins() if type(p).__name__ == is_sender]
    send = sender.sendevent

    def send_if_shown(name: str, **message: Any) -> None:
        if name == "logstart":
            return
        if name == "testreport":
            report = message["data"]
            if report["outcome"] == "passed":
                if report["when"] != "call" and not report["sections"]:
                    return
                report["keywords"] = {}  # what `-k` selects by: it has been selected
        send(name, **message)

    sender.sendevent = send_if_shown


def pytest_collection_finish() -> None:
    """Look no more through what stays: garbage collections cost tests a tenth of their time."""
    gc.collect()
    gc.freeze()


SLOWEST = (
    "tests/test_quality.py",
    "tests/test_readme.py",
    "tests/frontends/test_serving.py",
    "tests/e2e/test_kill.py",
    "tests/bench/test_front_cost.py",
    "tests/bench/test_pair_cost.py",
    "tests/bench/test_body_stall.py",
    "tests/frontends/test_cli_bench.py",
    "tests/engine/ledger/test_workloads.py",
    "tests/faults/test_journal_faults.py",
)
"""They begin first: a worker that began one of them last would be waited for."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(SLOWEST))
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.skip(reason=SKIPPED))
