"""Tokens of Google's, fetched by google-auth. Everything here blocks, and is run in a thread.

Which credentials are taken follows Google's order of application default credentials
(google.aip.dev/auth/4110): a named file, what `gcloud` has left in its folder, the metadata server
of the machine. That last one is asked here, as google-auth does it with `requests` only.
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import truststore
from google.auth import (
    aws,
    exceptions,
    external_account_authorized_user,
    identity_pool,
    pluggable,
    transport,
)
from google.auth import impersonated_credentials as impersonated
from google.auth.credentials import Credentials
from google.oauth2 import credentials as user
from google.oauth2 import service_account

_SCOPES: Final = ["https://www.googleapis.com/auth/cloud-platform"]
_REQUEST_TIMEOUT_S: Final = 10.0
_METADATA_HOST: Final = "metadata.google.internal"
_METADATA_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_METADATA_HEADERS: Final = {"Metadata-Flavor": "Google"}
_AWS: Final = "urn:ietf:params:aws:token-type:aws4_request"


@dataclass(frozen=True, slots=True)
class Token:
    """An access token.

    Attributes:
        expires_at_s: seconds since 1970; infinite where it was not said.
        quota_project: whose quota a request counts against, where it is not the caller's own.
    """

    value: str
    expires_at_s: float
    quota_project: str | None


class HttpxResponse(transport.Response):
    """An answer, as google-auth reads it."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    def data(self) -> bytes:
        return self._answer.content


class HttpxRequest(transport.Request):
    """What google-auth asks the network by."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> HttpxResponse:
        """Raises `TransportError` where there is no whole answer."""
        timeout_s = min(timeout or _REQUEST_TIMEOUT_S, _REQUEST_TIMEOUT_S)
        try:
            answer = self._client.request(
                method, url, content=body, headers=dict(headers or {}), timeout=timeout_s
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise exceptions.TransportError(  # type: ignore[no-untyped-call]
                f"{type(error).__name__}: {error}"
            ) from error
        return HttpxResponse(answer)


class MetadataCredentials(Credentials):
    """Of the service account that a machine of Google's runs as."""

    def refresh(self, request: transport.Request) -> None:
        """Ask the metadata server; `GCE_METADATA_HOST` names another than Google's."""
        host = os.environ.get("GCE_METADATA_HOST") or _METADATA_HOST
        url = f"http://{host}{_METADATA_PATH}?scopes={','.join(_SCOPES)}"
        answer = request(url, headers=_METADATA_HEADERS)
        if answer.status != 200:
            raise exceptions.RefreshError(  # type: ignore[no-untyped-call]
                f"the metadata server answered {answer.status}"
            )
        document = orjson.loads(answer.data)
        self.token = document["access_token"]
        lifetime = timedelta(seconds=document["expires_in"])
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + lifetime


def fetch(
    loaded: Credentials | None, file: Path | None, proxy: str | None
) -> tuple[Credentials, Token]:
    """A new token, by credentials that were loaded before or are loaded now.

    Args:
        file: credentials of any kind; None: the application default ones.
        proxy: the URL of the proxy for https; metadata servers are on plain http, and on the
            machine's own network.

    Raises:
        google.auth.exceptions.GoogleAuthError: they cannot be loaded (`DefaultCredentialsError`),
            nobody is reached (`TransportError`), or they are refused (`RefreshError`).
        ValueError, KeyError, TypeError: an answer that is not what it should be.
    """
    with _open_request(proxy) as request:
        if loaded is None:
            loaded = _load(file or _gcloud_file())
        loaded.refresh(request)  # type: ignore[no-untyped-call]
    value, expiry = loaded.token, loaded.expiry
    if not isinstance(value, str) or not value:
        raise ValueError("there is no token in what was answered")
    expires_at_s = math.inf if expiry is None else expiry.replace(tzinfo=UTC).timestamp()
    return loaded, Token(value, expires_at_s, getattr(loaded, "quota_project_id", None))


@contextmanager
def _open_request(proxy: str | None) -> Iterator[HttpxRequest]:
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    secure = httpx.HTTPTransport(verify=context, proxy=proxy, trust_env=False)
    with httpx.Client(mounts={"https://": secure}, verify=context, trust_env=False) as client:
        yield HttpxRequest(client)


def _gcloud_file() -> Path | None:
    """What `gcloud auth application-default login` has left, if it has."""
    folder = os.environ.get("CLOUDSDK_CONFIG")
    path = Path(folder) if folder else Path.home() / ".config" / "gcloud"
    path /= "application_default_credentials.json"
    return path if path.is_file() else None


def _load(file: Path | None) -> Credentials:
    if file is None:
        return MetadataCredentials()  # type: ignore[no-untyped-call]
    try:
        info = orjson.loads(file.read_bytes())
        kind = str(info.get("type")) if isinstance(info, dict) else ""
        if kind not in _LOADERS:
            raise ValueError(f"it is of the type '{kind}'; known are {', '.join(_LOADERS)}")
        return _LOADERS[kind](info)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # google-auth has no one word for what is missing or is no key
        raise exceptions.DefaultCredentialsError(  # type: ignore[no-untyped-call]
            f"{file}: {error}"
        ) from error


def _load_external(info: dict[str, Any]) -> Credentials:
    """Workload identity federation, by where the subject's token comes from."""
    source = info.get("credential_source")
    loader: Any = identity_pool.Credentials
    if info.get("subject_token_type") == _AWS:
        loader = aws.Credentials
    elif isinstance(source, dict) and "executable" in source:
        loader = pluggable.Credentials
    found: Credentials = loader.from_info(info, scopes=_SCOPES)
    return found


def _scoped(loader: Any) -> Callable[[dict[str, Any]], Credentials]:
    return lambda info: loader(info, scopes=_SCOPES)


_user: Any = user.Credentials
_external_user: Any = external_account_authorized_user.Credentials
_account: Any = service_account.Credentials
_impersonated: Any = impersonated.Credentials
_LOADERS: Final[Mapping[str, Callable[[dict[str, Any]], Credentials]]] = {
    "service_account": _scoped(_account.from_service_account_info),
    "authorized_user": _user.from_authorized_user_info,
    "external_account": _load_external,
    "external_account_authorized_user": _external_user.from_info,
    "impersonated_service_account": _scoped(_impersonated.from_impersonated_service_account_info),
}
"""By `type` in a file of credentials."""
