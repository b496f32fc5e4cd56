"""The gateway that is attacked, and what is checked after each case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.abuse.rig import PROMPT_CANARY, Rig, open_rig


@pytest.fixture(scope="package")
def served_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One for all cases of a worker."""
    with open_rig(tmp_path_factory.mktemp("abuse")) as rig:
        yield rig


@pytest.fixture
def rig(served_rig: Rig) -> Iterator[Rig]:
    """Afterwards: it serves, holds nothing, has logged no fault and nothing secret."""
    rig = served_rig
    begin = len(rig.logged())
    yield rig
    answer = rig.ask("/healthz", method="GET")
    assert answer.status == 200
    after = rig.state()
    assert (after.held, after.open_exchanges) == (0, 0)
    logged = rig.logged()
    for secret in (rig.key, rig.other_key, PROMPT_CANARY, *rig.secrets):
        assert secret not in logged, secret
    assert '"level":"error"' not in logged[begin:], logged[begin:]


@pytest.fixture
def unpaid(rig: Rig) -> Iterator[Rig]:
    """A rig whose case moves no money and reaches no provider."""
    before = rig.state()
    yield rig
    assert rig.state() == before
