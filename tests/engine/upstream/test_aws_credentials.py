"""AWS's signatures: by whatever its chain finds, kept fresh, and never a request's business."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h11
import pytest
import trio
from botocore.credentials import RefreshableCredentials
from botocore.utils import ContainerMetadataFetcher

from bench.simulate.aws_signature import check_signature
from bench.simulate.errors import ApiError
from bench.simulate.replies import Request
from engine.errors import UpstreamRejectedError
from engine.upstream.aws_credentials import AwsCredentials
from engine.upstream.credentials import open_credentials
from tests.aws import KEY_ID, SECRET, SETTINGS, TEMPORARY, forget_machine, provide_key
from tests.gateways import settled

PATH = "/model/us.anthropic.claude-sonnet-4-20250514-v1:0/invoke"
BODY = b'{"messages": []}'


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_machine(monkeypatch, tmp_path)


def credentials(profile: str | None = None, region: str = "us-east-1") -> AwsCredentials:
    return AwsCredentials("bedrock", "https://bedrock.example:8443", region, profile)


def signed_with(found: AwsCredentials) -> str:
    """The access key of a signature that holds, checked without botocore."""
    headers = dict(found.sign("POST", PATH, BODY))
    assert set(headers) <= {b"authorization", b"x-amz-date", b"x-amz-security-token"}
    whole = {b":authority": b"bedrock.example:8443"} | headers
    request = Request("POST", PATH, "", whole, BODY, "h2")
    now = datetime.now(UTC)
    return check_signature(request, SETTINGS.aws_keys, "us-east-1", "bedrock", now)


async def test_keys_of_the_environment_never_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    provide_key(monkeypatch)
    found = credentials()
    async with trio.open_nursery() as nursery:  # which ends: there is nothing to keep fresh
        await nursery.start(found.keep_fresh)
        assert signed_with(found) == KEY_ID
    assert signed_with(found) == KEY_ID


async def test_a_profile_of_the_shared_files(tmp_path: Path) -> None:
    key = f"aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(f"[other]\n{key}")
    named, default = credentials("other"), credentials()
    async with open_credentials([named, default]):
        assert signed_with(named) == KEY_ID
        with pytest.raises(UpstreamRejectedError):
            default.sign("POST", PATH, BODY)


async def test_the_region_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    provide_key(monkeypatch)
    found = credentials(region="eu-west-1")
    async with open_credentials([found]):
        with pytest.raises(ApiError, match="valid region"):
            signed_with(found)


async def test_what_is_missing_is_said_to_the_operator_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found, unknown = credentials(), credentials("no-such-profile")
    async with open_credentials([found, unknown]):
        for each in (found, unknown):
            with pytest.raises(UpstreamRejectedError) as refused:
                each.sign("POST", PATH, BODY)
            assert (refused.value.status, refused.value.code) == (
                502,
                "upstream_credentials_refused",
            )
            assert "AWS" not in refused.value.message
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert any("there are none in the environment" in line for line in said)
    assert any("no-such-profile" in line for line in said)
    assert all("AWS_ACCESS_KEY_ID" in line for line in said), "what to do about it"


class Container:
    """The service that gives a container its role's keys: `answers` are what it says next; the
    last one stays."""

    def __init__(self) -> None:
        self.answers: list[dict[str, str] | None] = []
        self.asked = 0
        self.url = ""

    def give(self, key: str) -> None:
        expiry = datetime.now(UTC) + timedelta(hours=1)
        self.answers.append(
            {
                "AccessKeyId": key,
                "SecretAccessKey": TEMPORARY[key].secret,
                "Token": TEMPORARY[key].session_token or "",
                "Expiration": f"{expiry:%Y-%m-%dT%H:%M:%SZ}",
            }
        )

    async def serve(self, stream: trio.SocketStream) -> None:
        peer = h11.Connection(h11.SERVER)
        while peer.next_event() is h11.NEED_DATA:
            peer.receive_data(await stream.receive_some())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.asked += 1
        body = json.dumps(answer).encode()
        status = 500 if answer is None else 200
        sizes = [("content-length", str(len(body))), ("connection", "close")]
        head = peer.send(h11.Response(status_code=status, headers=sizes))
        await stream.send_all((head or b"") + body)
        await stream.aclose()


def set_remaining(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """How long botocore believes that keys last; it renews them 15 minutes before."""
    monkeypatch.setattr(RefreshableCredentials, "_seconds_remaining", lambda _self: seconds)


@asynccontextmanager
async def open_container(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Container]:
    container = Container()
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, container.serve, [listener])
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/role")
        monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)  # between its retries
        yield container
        nursery.cancel_scope.cancel()


async def test_temporary_keys_are_renewed_beside_the_requests(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    async with open_container(monkeypatch) as container:
        container.give("ASIAFIRST")
        container.give("ASIANEXT")
        found = credentials()
        async with open_credentials([found]):
            assert signed_with(found) == "ASIAFIRST"
            assert container.asked == 1
            set_remaining(monkeypatch, 60)
            mock_clock.jump(60)
            mock_clock.rate = 1.0
            await settled(lambda: signed_with(found) == "ASIANEXT")


async def test_what_cannot_be_renewed_is_used_until_it_expires(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_container(monkeypatch) as container:
        container.give("ASIAFIRST")
        container.answers.append(None)
        found = credentials()
        async with open_credentials([found]):
            assert signed_with(found) == "ASIAFIRST"
        set_remaining(monkeypatch, 60)
        async with open_credentials([found]):  # looks once more, in vain
            assert container.asked > 1
            assert signed_with(found) == "ASIAFIRST"
            set_remaining(monkeypatch, -1)
            with pytest.raises(UpstreamRejectedError):
                found.sign("POST", PATH, BODY)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("engine")]
    assert any("provider bedrock: no credentials of AWS's" in line for line in said)
    assert not any(secret.secret in line for line in said for secret in TEMPORARY.values())


async def test_a_service_that_is_silent_holds_nobody_up_for_long(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, silent, [listener])
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/role")
        found = credentials()
        began_at = trio.current_time()
        async with open_credentials([found]):
            assert trio.current_time() - began_at <= 30
            with pytest.raises(UpstreamRejectedError):
                found.sign("POST", PATH, BODY)
        nursery.cancel_scope.cancel()
