"""Which headers cross the gateway, and those that every answer has.

Both directions are allow-lists: what is not named here does not pass, whoever said it. So neither
a client's `authorization` or `x-forwarded-for` reaches a provider, nor a provider's `set-cookie` or
`cache-control` a client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.events import Protocol
from frontends.branding import OWN_BRAND, branded
from frontends.rate_headers import RATE_HEADERS

Header = tuple[bytes, bytes]

PROVIDER_HEADERS: Final[dict[Protocol, tuple[str, ...]]] = {
    "openai_chat": (),
    "openai_responses": (),
    "openai_completions": (),
    "openai": (),
    "openai_videos": (),
    "anthropic": ("anthropic-beta", "anthropic-version"),
    "gemini": (),
}
"""What a client says in headers that a provider of the same protocol has to see."""

ANSWER_HEADERS: Final = RATE_HEADERS | frozenset(
    {
        b"accept-ranges",
        b"allow",
        b"content-digest",
        b"content-disposition",
        b"content-length",
        b"content-range",
        b"content-type",
        b"etag",
        b"idempotent-replayed",
        b"openai-poll-after-ms",
        b"repr-digest",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"www-authenticate",
        b"x-credits-used",
        b"x-fallback-depth",
        b"x-fallback-from",
        b"x-goog-upload-chunk-granularity",
        b"x-goog-upload-size-received",
        b"x-goog-upload-status",
        b"x-goog-upload-url",
        b"x-model-used",
        b"x-parshall-cost",
        b"x-parshall-counted",
        b"x-parshall-dropped",
        b"x-parshall-provider",
        b"x-parshall-receipt",
        b"x-parshall-savings",
        b"x-provider-request-id",
        b"x-request-id",
        b"x-should-retry",
        b"x-storage-limit-bytes",
        b"x-storage-used-bytes",
    }
)
"""What an answer of the app may say; the server adds `date` and the framing of its protocol."""

SECURITY: Final[tuple[Header, ...]] = (
    (b"cache-control", b"private, no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""Answers hold what customers said and paid: nobody keeps, frames, runs or sniffs them."""

PAGE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
"""Of the one page that is a page: it runs what comes from here, and asks nobody else."""
_OF_PAGE: Final = tuple(
    (name, PAGE_POLICY if name == b"content-security-policy" else value) for name, value in SECURITY
)

_HSTS: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""Only where the client came by TLS (RFC 6797 section 7.2). Subdomains are the operator's."""


def answer_headers(
    headers: Iterable[Header], scheme: str, brand: str = OWN_BRAND, *, page: bool = False
) -> list[Header]:
    """The head of an answer by the app: what may pass, by the operator's `brand`, and what each
    answer has; `page`: it is a page of the gateway's own."""
    allowed = (header for header in headers if header[0].lower() in ANSWER_HEADERS)
    passed = branded(allowed, brand)
    passed += _OF_PAGE if page else SECURITY
    if scheme == "https":
        passed.append(_HSTS)
    return passed
