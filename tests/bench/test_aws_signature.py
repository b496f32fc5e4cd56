"""Signatures as AWS's documentation has them, checked without AWS's code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from bench.simulate.aws_signature import AwsKey, check_signature
from bench.simulate.errors import ApiError
from bench.simulate.replies import Request

EXAMPLE = AwsKey("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
KEYS = {"AKIDEXAMPLE": EXAMPLE, "ASIAEXAMPLE": AwsKey("other-secret", "the-token")}

# 'get-vanilla' of the suite that AWS publishes with its documentation.
VANILLA = Request(
    method="GET",
    path="/",
    query="",
    headers={
        b"host": b"example.amazonaws.com",
        b"x-amz-date": b"20150830T123600Z",
        b"authorization": b"AWS4-HMAC-SHA256 "
        b"Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        b"SignedHeaders=host;x-amz-date, "
        b"Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    },
    body=b"",
    protocol="1.1",
)
VANILLA_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


def test_the_documented_example() -> None:
    assert check_signature(VANILLA, KEYS, "us-east-1", "service", VANILLA_TIME) == "AKIDEXAMPLE"


def signed(
    path: str = "/model/us.anthropic.claude-sonnet-4-20250514-v1:0/invoke",
    key: str = "AKIDEXAMPLE",
    *,
    secret: str | None = None,
    token: str | None = None,
    region: str = "us-east-1",
) -> Request:
    """As botocore signs it."""
    body = b'{"a":1}'
    credentials = ReadOnlyCredentials(key, secret or KEYS[key].secret, token)
    request = AWSRequest("POST", url=f"http://127.0.0.1:8080{path}", data=body)
    SigV4Auth(credentials, "bedrock", region).add_auth(request)
    headers = {name.lower().encode(): value.encode() for name, value in request.headers.items()}
    path, _, query = path.partition("?")
    return Request("POST", path, query, {b":authority": b"127.0.0.1:8080"} | headers, body, "h2")


def check(request: Request) -> str:
    return check_signature(request, KEYS, "us-east-1", "bedrock", datetime.now(UTC))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/model/us.anthropic.claude-sonnet-4-20250514-v1:0/invoke",
        "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke",
        "/model/arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.x/invoke",
        "/model/a%20b%E2%82%AC~_/invoke?b=2&a=1&a=%2F",
    ],
)
def test_agrees_with_botocore_on_paths(path: str) -> None:
    assert check(signed(path)) == "AKIDEXAMPLE"


def test_temporary_keys_come_with_their_token() -> None:
    assert check(signed(key="ASIAEXAMPLE", token="the-token")) == "ASIAEXAMPLE"
    for token in (None, "another"):
        with pytest.raises(ApiError, match="security token"):
            check(signed(key="ASIAEXAMPLE", token=token))


def test_what_was_signed_cannot_be_changed() -> None:
    request = signed()
    day = f"{datetime.now(UTC) - timedelta(minutes=6):%Y%m%dT%H%M%SZ}".encode()
    changed = [
        replace(request, body=b'{"a":2}'),
        replace(request, path=request.path.replace("sonnet", "opus")),
        replace(request, path=request.path.replace(":0", "%3A0")),
        replace(request, query="a=1"),
        replace(request, method="PUT"),
        replace(request, headers=request.headers | {b":authority": b"other"}),
        replace(request, headers=request.headers | {b"x-amz-date": day}),
        replace(request, headers=request.headers | {b"x-amz-more": b"unsigned"}),
        signed(secret="wrong"),
        signed(region="eu-west-1"),
    ]
    for each in changed:
        with pytest.raises(ApiError) as refusal:
            check(each)
        assert (refusal.value.status, refusal.value.kind) == (403, "InvalidSignatureException")


def test_what_is_no_signature() -> None:
    request = signed()
    broken = request.headers | {b"authorization": b"AWS4-HMAC-SHA256 Credential=x"}
    with pytest.raises(ApiError) as refusal:
        check(replace(request, headers=broken))
    assert (refusal.value.status, refusal.value.kind) == (400, "IncompleteSignatureException")
