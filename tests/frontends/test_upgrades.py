"""What a client may ask its connection to become: nothing that the gateway serves."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.frontends.apps import open_front
from tests.frontends.test_app import CHAT, error_of


async def test_a_websocket_is_refused_without_a_word_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with open_front(tmp_path) as front:
        for path in ("/v1/realtime", CHAT, "/healthz"):
            response = await front.client.get(path, headers=upgrade)
            assert response.status_code == 404
            assert error_of(response)["code"] == "not_found"
            assert response.headers["cache-control"] == "private, no-store"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
