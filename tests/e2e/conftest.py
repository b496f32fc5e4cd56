"""What the tests over real sockets share."""

from __future__ import annotations

import pytest

from tests.gateways import MODELS


@pytest.fixture(params=MODELS.values())
def model(request: pytest.FixtureRequest) -> str:
    """A model of the simulated provider, for each protocol that it speaks."""
    name: str = request.param
    return name
