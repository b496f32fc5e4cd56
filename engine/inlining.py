"""Fetches the media that clients name by URL, where a provider takes bytes only.

Everything is bounded: how many URLs a request may have, what each and all of them may weigh, how
many are fetched at once for one request and for all.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import trio

from engine.config_tables import EgressConfig
from engine.conversation import Inline, MediaKind
from engine.egress import EgressPolicy, EgressRefusedError, Fetched, fetch, parse_hosts
from engine.errors import InvalidRequestError, UnavailableError
from engine.nurseries import open_tasks
from engine.wire.proxy import parse_proxy

_AT_ONCE: Final = 4
"""Of one request."""
_REQUESTS_AT_ONCE: Final = 16
_OF_AN_ACCOUNT: Final = 4
"""So many of them: slow servers that one customer names are not waited for by all."""
_ROOM_BYTES: Final = 128 * 1024 * 1024
"""For all that is being fetched, or the most that one request may have."""
_UNTYPED: Final = ("application/octet-stream", "binary/octet-stream")
"""What stores say of files whose type nobody told them."""
_TYPES: Final[Mapping[MediaKind, tuple[str, ...]]] = {
    "image": ("image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/heif"),
    "document": ("application/pdf",),
}
_MAGIC: Final[Mapping[bytes, str]] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": "application/pdf",
}


class Inliner:
    """Of one gateway."""

    def __init__(self, config: EgressConfig) -> None:
        self._config = config
        self._policy = egress_policy(config)
        self._requests = trio.CapacityLimiter(_REQUESTS_AT_ONCE)
        self._accounts: dict[str, trio.CapacityLimiter] = {}
        self._free_bytes = max(_ROOM_BYTES, config.total_max_bytes)

    @property
    def enabled(self) -> bool:
        """Whether anything is fetched."""
        return self._config.enabled

    async def fetch_all(self, urls: Mapping[str, MediaKind], account_id: str) -> dict[str, Inline]:
        """What is at the URLs of one request of an account.

        Raises:
            InvalidRequestError: there are too many, or they weigh too much together.
            EgressRefusedError, EgressFailedError: one of them cannot be had.
            UnavailableError: too much is being fetched now.
        """
        if len(urls) > self._config.urls_max:
            raise InvalidRequestError(
                f"A request can have {self._config.urls_max} URLs of media; send more inline."
            )
        own = self._accounts.setdefault(account_id, trio.CapacityLimiter(_OF_AN_ACCOUNT))
        try:
            with trio.move_on_after(self._config.timeout_s) as waiting:
                async with own, self._requests:
                    waiting.deadline = math.inf
                    return await self._fetch_all(urls)
        finally:
            if not own.borrowed_tokens and not own.statistics().tasks_waiting:
                self._accounts.pop(account_id, None)
        raise _busy()

    async def _fetch_all(self, urls: Mapping[str, MediaKind]) -> dict[str, Inline]:
        found: dict[str, Inline] = {}
        waiting = list(urls.items())
        taken_bytes = 0

        def weigh(size_bytes: int) -> None:
            nonlocal taken_bytes
            most = self._config.total_max_bytes
            if taken_bytes + size_bytes > most:
                raise InvalidRequestError(
                    f"The media at the URLs of a request can have {most} bytes in all."
                )
            if size_bytes > self._free_bytes:
                raise _busy()
            taken_bytes += size_bytes
            self._free_bytes -= size_bytes

        async def fetch_some() -> None:
            while waiting:
                url, kind = waiting.pop()
                accept = (*_TYPES[kind], *_UNTYPED)
                fetched = await fetch(url, replace(self._policy, accept=accept), weigh)
                found[url] = _inline(kind, fetched)

        try:
            async with open_tasks() as nursery:
                for _ in range(min(_AT_ONCE, len(urls))):
                    nursery.start_soon(fetch_some)
        finally:
            self._free_bytes += taken_bytes
        return found


def _busy() -> UnavailableError:
    return UnavailableError("Too many requests with URLs of media at once.", retry_after_s=1)


def egress_policy(config: EgressConfig) -> EgressPolicy:
    """What a configuration allows."""
    return EgressPolicy(
        http=config.http,
        ports=config.ports,
        private=parse_hosts(config.private),
        denied=parse_hosts(config.denied),
        max_bytes=config.max_bytes,
        timeout_s=config.timeout_s,
        idle_timeout_s=config.idle_timeout_s,
        ca_file=config.ca_file,
        proxy=None if config.proxy is None else parse_proxy(config.proxy),
    )


def _inline(kind: MediaKind, fetched: Fetched) -> Inline:
    """By what its first bytes say it is; providers refuse media under a wrong type."""
    mime_type = _type_of(fetched.data) or fetched.content_type
    if mime_type not in _TYPES[kind]:
        raise EgressRefusedError(f"What is at the URL is none of {', '.join(_TYPES[kind])}.")
    return Inline(mime_type, base64.b64encode(fetched.data).decode("ascii"))


def _type_of(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
