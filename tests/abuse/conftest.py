"""The gateway that is attacked, and what is checked after each case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.abuse.rig import PROMPT_CANARY, Rig, open_rig


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Our own server; with `--long` the same app on Hypercorn's protocols, too."""
    if "served_rig" in metafunc.fixturenames:
        servers = ["parshall", "hypercorn"] if metafunc.config.getoption("--long") else ["parshall"]
        metafunc.parametrize("served_rig", servers, indirect=True, scope="package")


@pytest.fixture(scope="package")
def served_rig(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    """One for all cases of a worker and a server."""
    with open_rig(tmp_path_factory.mktemp("abuse"), request.param) as rig:
        yield rig


@pytest.fixture
def rig(served_rig: Rig, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Afterwards: it serves, holds nothing, has logged no fault and nothing secret."""
    rig = served_rig
    begin, before = len(rig.logged()), rig.last_state
    yield rig
    assert rig.ask("/healthz", method="GET").status == 200
    after = rig.last_state = rig.state()
    assert (after.held, after.open_exchanges) == (0, 0)
    if "unpaid" in request.fixturenames:
        assert after == before
    logged = rig.logged()[begin:]
    for secret in (rig.key, rig.other_key, PROMPT_CANARY):
        assert secret not in logged, secret
    assert '"level":"error"' not in logged, logged


@pytest.fixture
def unpaid(rig: Rig) -> Rig:
    """A rig whose case moves no money and reaches no provider."""
    return rig
