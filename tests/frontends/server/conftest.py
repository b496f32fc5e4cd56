"""What the tests of the connection boundary share."""

from __future__ import annotations

import pytest

from tests.frontends.server import apps


@pytest.fixture(params=["parshall", "hypercorn"])
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs on our server and on contained Hypercorn."""
    monkeypatch.setattr(apps, "served_by", request.param)
    kind: str = request.param
    return kind
