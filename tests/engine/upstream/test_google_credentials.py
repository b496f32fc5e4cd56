"""Google's credentials: what is loaded, and what a token's headers are. Renewal is tried in
tests/e2e/test_vertex.py, against a token endpoint that fails on demand."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from google.auth import credentials, exceptions, transport

from bench.simulate import open_simulator
from engine.errors import UpstreamRejectedError
from engine.upstream.google_credentials import GoogleCredentials
from engine.upstream.google_tokens import fetch
from engine.upstream.providers import Provider
from tests.vertex import service_account


class Given(credentials.Credentials):
    """Credentials that are given a token without asking anybody."""

    def __init__(self, token: str, expiry: datetime | None, quota_project: str | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._next = token, expiry
        self._quota_project_id = quota_project

    def refresh(self, request: transport.Request) -> None:
        """As it was told."""
        self.token, self.expiry = self._next


def test_a_token_with_its_expiry_and_quota() -> None:
    expiry = datetime(2030, 1, 1, 12, 0)  # noqa: DTZ001 - google-auth's are naive, in UTC
    _, token = fetch(Given("a-token", expiry, "their-project"), None, None)
    assert token.expires_at_s == datetime(2030, 1, 1, 12, 0, tzinfo=UTC).timestamp()
    assert (token.value, token.quota_project) == ("a-token", "their-project")
    _, token = fetch(Given("a-token", None, None), None, None)
    assert (token.expires_at_s, token.quota_project) == (math.inf, None)
    with pytest.raises(ValueError, match="no token"):
        fetch(Given("", None, None), None, None)


FILES: list[tuple[Any, str]] = [
    ({"type": "something_else"}, "it is of the type 'something_else'; known are service_account"),
    ([], "it is of the type ''"),
    ({"type": "service_account"}, "client_email"),
    ({"type": "authorized_user", "client_id": "a"}, "refresh_token"),
    ({"type": "external_account", "audience": "a"}, "credential_source"),
    ({"type": "impersonated_service_account"}, "NoneType"),
    (service_account().info("http://localhost") | {"private_key": "no key"}, "PEM"),
]


@pytest.mark.parametrize(("document", "expected"), FILES)
def test_a_file_that_cannot_be_used(tmp_path: Path, document: Any, expected: str) -> None:
    file = tmp_path / "google.json"
    file.write_text(json.dumps(document))
    with pytest.raises(exceptions.DefaultCredentialsError) as caught:
        fetch(None, file, None)
    assert str(file) in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


def test_nobody_signs_before_there_is_a_token() -> None:
    provider = Provider("google", "gemini", "https://example.com/v1", auth="google")
    assert isinstance(provider.credentials, GoogleCredentials)
    assert provider.credentials is provider.credentials
    with pytest.raises(UpstreamRejectedError) as caught:
        provider.credentials.sign("POST", "/v1", b"")
    assert (caught.value.status, caught.value.code) == (502, "upstream_credentials_refused")


@pytest.mark.parametrize("quota_project", [None, "their-project"])
async def test_the_headers_of_a_users_token(
    tmp_path: Path, nursery: trio.Nursery, quota_project: str | None
) -> None:
    async with open_simulator() as simulator:
        file = tmp_path / "google.json"
        user = {
            "type": "external_account_authorized_user",
            "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/p",
            "refresh_token": simulator.tokens.refresh_token,
            "token_url": f"{simulator.base_url}/token",
            "client_id": "a",
            "client_secret": "b",
            "quota_project_id": quota_project,
        }
        file.write_text(json.dumps(user))
        signer = GoogleCredentials("google", file)
        await nursery.start(signer.keep_fresh)
        headers = dict(signer.sign("POST", "/v1", b""))
        assert headers[b"authorization"].startswith(b"Bearer ya29.")
        said = None if quota_project is None else quota_project.encode()
        assert headers.get(b"x-goog-user-project") == said
        nursery.cancel_scope.cancel()
