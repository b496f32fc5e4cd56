"""What the tests over real sockets share."""

from __future__ import annotations

import pytest

from tests.gateways import MODELS


@pytest.fixture(params=[MODELS[protocol] for protocol in ("openai_chat", "anthropic", "gemini")])
def model(request: pytest.FixtureRequest) -> str:
    """A model of the simulated provider, for each protocol that the SDKs here speak; a provider of
    responses is in test_pairs*.py and test_sdk_responses.py."""
    name: str = request.param
    return name
