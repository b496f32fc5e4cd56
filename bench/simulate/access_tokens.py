"""Google's side of access: tokens for whom a signature proves, and for the machine's own account.

The grant of a service account is RFC 7523's: a JWT that the account's key has signed. What happens
to tokens is set on the object while the simulator runs.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson

from bench.simulate.replies import Request

if TYPE_CHECKING:  # a start that has no accounts does without
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_TOKEN: Final = ("POST", "/token")
_METADATA: Final = ("GET", "/computeMetadata/v1/instance/service-accounts/default/token")
TOKEN_ROUTES: Final = frozenset({_TOKEN, _METADATA})
"""Methods and paths."""
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
"""What google-auth writes, whatever address it then asks."""
_CLOCK_SKEW_S: Final = 60
_TOKENS_MAX: Final = 10_000

Answer = tuple[int, dict[str, Any]]


class TokenIssuer:
    """Issues tokens, and knows which are valid.

    Attributes:
        lifetime_s: of the tokens from now on.
        failing: the status that every request for a token gets, while it is not None.
        issued: how many there have been.
        refresh_token: a user's, who gets tokens by it.
    """

    def __init__(self, accounts: Mapping[str, str]) -> None:
        self.lifetime_s = 3_600.0
        self.failing: int | None = None
        self.issued = 0
        self.refresh_token = secrets.token_urlsafe(32)
        self._keys = {name: _public_key(pem) for name, pem in accounts.items()}
        self._expiries: dict[str, float] = {}

    def retire(self, account: str) -> None:
        """Forget an account's key: it gets no more tokens. Those that it has stay valid."""
        del self._keys[account]

    def revoke(self) -> None:
        """End all tokens."""
        self._expiries.clear()

    def is_valid(self, token: bytes) -> bool:
        """Issued, not revoked, and not expired."""
        return self._expiries.get(token.decode("latin-1"), 0.0) > time.monotonic()

    def answer(self, request: Request) -> Answer:
        """Status and document for a request of one of `TOKEN_ROUTES`."""
        if self.failing is not None:
            return self.failing, {"error": "access_denied"}
        if (request.method, request.path) == _METADATA:
            google = request.headers.get(b"metadata-flavor") == b"Google"
            return (200, self._issue()) if google else (403, {"error": "forbidden"})
        form = parse_qs(request.body.decode("latin-1"))
        if form.get("grant_type") == ["refresh_token"]:
            known = form.get("refresh_token") == [self.refresh_token]
            return (
                (200, self._issue()) if known else (400, _refusal("invalid_grant", "Bad Request"))
            )
        if form.get("grant_type") != [_GRANT]:
            return 400, _refusal("unsupported_grant_type", "Invalid grant_type")
        problem = self._problem(form.get("assertion", [""])[0])
        return (400, _refusal("invalid_grant", problem)) if problem else (200, self._issue())

    def _issue(self) -> dict[str, Any]:
        if len(self._expiries) >= _TOKENS_MAX:
            self._expiries.pop(next(iter(self._expiries)))
        self.issued += 1
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._expiries[token] = time.monotonic() + self.lifetime_s
        return {
            "access_token": token,
            "expires_in": int(self.lifetime_s),
            "token_type": "Bearer",
        }

    def _problem(self, assertion: str) -> str | None:
        """What Google would say against an assertion."""
        try:
            signed, _, signature = assertion.rpartition(".")
            header, claims = (orjson.loads(_decoded(part)) for part in signed.split("."))
            key = self._keys.get(str(claims["iss"]))
            if key is None:
                return "Invalid grant: account not found"
            if not _has_signed(key, _decoded(signature), signed.encode()):
                return "Invalid JWT Signature."
            expires_s, issued_s = float(claims["exp"]), float(claims["iat"])
        except (ValueError, KeyError, TypeError, binascii.Error):
            return "Bad Request"
        now_s = time.time()
        if header.get("alg") != "RS256" or claims.get("aud") != _AUDIENCE:
            return "Invalid JWT: Failed audience check."
        if not issued_s - _CLOCK_SKEW_S <= now_s <= expires_s <= issued_s + 3_600:
            return "Invalid JWT: Token must be a short-lived token"
        if _SCOPE not in str(claims.get("scope")).split():
            return "Invalid OAuth scope or ID token audience provided."
        return None


def _public_key(pem: str) -> RSAPublicKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey):
        raise ValueError("a service account's key is an RSA key")
    return key


def _has_signed(key: RSAPublicKey, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _refusal(error: str, description: str) -> dict[str, Any]:
    return {"error": error, "error_description": description}
