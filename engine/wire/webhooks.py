"""Standard Webhooks: the headers by which a receiver knows who sent a message, and when.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_PREFIX = "whsec_"
_KEY_MIN_BYTES, _KEY_MAX_BYTES = 24, 64


def signing_key(secret: str) -> bytes:
    """The key in a secret as it is written down. Raises ValueError; the message quotes nothing."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise ValueError("the secret is not base64") from None
    if not _KEY_MIN_BYTES <= len(key) <= _KEY_MAX_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes")
    return key


def signed_headers(key: bytes, message_id: str, sent_at_s: int, body: str) -> dict[str, str]:
    """The three headers of one try to deliver a message; the time is that of the try."""
    signed = f"{message_id}.{sent_at_s}.{body}".encode()
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at_s),
        "webhook-signature": f"v1,{signature}",
    }
