"""Signature version 4 as AWS checks it, written from its documentation and from nothing else
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, quote

from bench.simulate.errors import ApiError
from bench.simulate.replies import Request

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SKEW: Final = timedelta(minutes=5)
_AUTHORIZATION: Final = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>\w+)/(?P<date>\d{{8}})/(?P<region>[\w-]+)/(?P<service>\w+)/"
    r"aws4_request, ?SignedHeaders=(?P<signed>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class AwsKey:
    """What AWS knows of an access key; `session_token` goes with a temporary one."""

    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def is_signed(request: Request) -> bool:
    """Whether it carries a signature, right or wrong."""
    return request.headers.get(b"authorization", b"").startswith(_ALGORITHM.encode())


def check_signature(
    request: Request, keys: Mapping[str, AwsKey], region: str, service: str, now: datetime
) -> str:
    """The access key that a request was signed with.

    Raises:
        ApiError: 403, or 400 where it is no signature at all, as AWS says it.
    """
    match = _AUTHORIZATION.fullmatch(request.headers[b"authorization"].decode("latin-1"))
    if match is None:
        raise ApiError(
            "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' "
            "parameters.",
            kind="IncompleteSignatureException",
        )
    key = keys.get(match["key"])
    token = request.headers.get(b"x-amz-security-token", b"").decode("latin-1") or None
    if key is None or token != key.session_token:
        raise _refused(
            "The security token included in the request is invalid.", "UnrecognizedClientException"
        )
    if (match["region"], match["service"]) != (region, service):
        raise _refused(f"Credential should be scoped to a valid region: '{region}'.")
    signed = match["signed"].split(";")
    _check_signed_headers(request, signed)
    moment = request.headers.get(b"x-amz-date", b"").decode("latin-1")
    _check_time(moment, match["date"], now)
    scope = f"{match['date']}/{match['region']}/{match['service']}/aws4_request"
    digest = hashlib.sha256(_canonical_request(request, signed)).hexdigest()
    to_sign = "\n".join([_ALGORITHM, moment, scope, digest])
    signing_key = f"AWS4{key.secret}".encode()
    for part in (*scope.split("/"), to_sign):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(signing_key.hex(), match["signature"]):
        raise _refused(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method. Consult the service documentation for "
            "details."
        )
    return match["key"]


def _refused(message: str, kind: str = "InvalidSignatureException") -> ApiError:
    return ApiError(message, status=403, kind=kind)


def _check_signed_headers(request: Request, signed: list[str]) -> None:
    """The host and everything of AWS's has to be signed."""
    wanted = {"host"} | {name.decode() for name in request.headers if name.startswith(b"x-amz-")}
    if signed != sorted(signed) or not wanted <= set(signed):
        missing = ", ".join(sorted(wanted - set(signed)))
        raise _refused(f"'{missing}' must be a 'SignedHeader' in the AWS Authorization.")


def _check_time(moment: str, date: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _refused("Date must be in ISO-8601 'basic format'.") from None
    if abs(now - signed_at) > _SKEW:
        raise _refused(
            f"Signature expired: {moment} is not within 5 minutes of {now:%Y%m%dT%H%M%SZ}."
        )
    if not moment.startswith(date):
        raise _refused("Date in Credential scope does not match YYYYMMDD from ISO-8601 version.")


def _canonical_request(request: Request, signed: list[str]) -> bytes:
    # The path as it was sent, each segment encoded once more; S3 alone does without.
    path = quote(request.path, safe="/-_.~")
    pairs = parse_qsl(request.query, keep_blank_values=True)
    query = "&".join(
        sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
    )
    headers = "".join(f"{name}:{_header(request, name)}\n" for name in signed)
    digest = hashlib.sha256(request.body).hexdigest()
    parts = [request.method, path, query, headers, ";".join(signed), digest]
    return "\n".join(parts).encode("latin-1")


def _header(request: Request, name: str) -> str:
    value = request.headers.get(name.encode())
    if value is None and name == "host":  # as HTTP/2 says it
        value = request.headers.get(b":authority")
    return " ".join((value or b"").decode("latin-1").split())
