"""The gateway that is attacked, and what is checked after each case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.abuse.rig import ADMIN_KEY, PROMPT_CANARY, Rig, open_rig

OF_PROVIDERS = '"logger":"engine.routing.keys"'
"""What the operator has to be told: a provider refuses its key."""


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
    rig.forget_failures()
    begin, before = len(rig.logged()), rig.last_state
    yield rig
    assert rig.ask("/healthz", method="GET").status == 200
    after = rig.last_state = rig.state()
    assert (after.held, after.open_exchanges) == (0, 0)
    if "unpaid" in request.fixturenames:
        assert after == before
    logged = rig.logged()[begin:]
    for secret in (rig.key, rig.other_key, rig.full_key, ADMIN_KEY, PROMPT_CANARY):
        assert secret not in logged, secret
    faults = [line for line in logged.splitlines() if '"level":"error"' in line]
    assert all(OF_PROVIDERS in line for line in faults), faults


@pytest.fixture
def unpaid(rig: Rig) -> Rig:
    """A rig whose case moves no money and reaches no provider."""
    return rig
