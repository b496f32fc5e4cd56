"""What an operator is told of a provider that does not serve, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.errors import GatewayError, UpstreamTimeoutError
from engine.upstream.providers import Provider

CREDENTIALS_REFUSED: Final = "upstream_credentials_refused"
ACCOUNT_EXHAUSTED: Final = "upstream_account_exhausted"
ANSWERS_NOTHING: Final = "check 'base_url' and 'protocol'"
_NO_SUCH_MODEL: Final = (
    "check the deployment's 'model', and that 'base_url' has the version in its path"
)
_ADVICE: Final[Mapping[str, str]] = {
    "model_not_found": _NO_SUCH_MODEL,  # of OpenAI's responses with status 400
    "upstream_unreachable": "check 'base_url', the network and 'proxy'",
    "upstream_lost": "check 'base_url', 'http2' and 'proxy'; or try again",
    "upstream_timeout": "try a longer --timeout; or check 'base_url' and 'proxy'",
    "deadline_exceeded": "try a longer --timeout; or check 'base_url' and 'proxy'",
    "upstream_error": ANSWERS_NOTHING,
    ACCOUNT_EXHAUSTED: "add funds, or raise the limit, at the provider",
}
_CLOUD_CREDENTIALS: Final[Mapping[str | None, tuple[str, str]]] = {
    "aws": (
        "it refuses AWS's credentials, or there are none",
        "check them with `aws sts get-caller-identity`, and the model's access; see the log",
    ),
    "google": (
        "it refuses Google's credentials, or there are none",
        "check what 'credentials_file' names, and the role of its account; see the log",
    ),
}
_ADVICE_BY_STATUS: Final[Mapping[int, str]] = {
    404: _NO_SUCH_MODEL,
    429: "wait, or have the rate limit raised at the provider",
}


def advise(provider: Provider, key: int | None, error: GatewayError) -> tuple[str, str | None]:
    """What is wrong, and what to do about it, if that is known; `key` is as in `Check`."""
    if error.code == CREDENTIALS_REFUSED:
        if provider.api_key is None and (told := _CLOUD_CREDENTIALS.get(provider.auth)):
            return told
        if provider.api_key is None:
            return "it wants a key, and has none", 'add api_key = "env:NAME" to its table'
        if key is not None:
            return "it refuses its key", f"check secret number {key} of its 'api_keys'"
        return "it refuses its key", "check the secret that its 'api_key' names"
    if error.code == ACCOUNT_EXHAUSTED:
        return "the account at the provider is used up", _ADVICE[error.code]
    if isinstance(error, UpstreamTimeoutError):
        return "no whole answer within the time allowed", _ADVICE[error.code]
    advice = _ADVICE_BY_STATUS.get(error.status) or _ADVICE.get(error.code)
    return error.message, advice
