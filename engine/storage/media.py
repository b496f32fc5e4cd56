"""Generated media that wait to be fetched: each has a URL that is signed and ends soon.

The signature is the credential: who has the URL may fetch, as with those of providers. The key of
the signatures is of this process, as what they open is.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import trio

from engine.alarm import Alarm
from engine.clock import Clock
from engine.spool import Spool, SpoolError, SpoolFile

logger = logging.getLogger(__name__)

PATH: Final = "/v1/media/"
MEDIA_MAX: Final = 20_000
SHARE_OF_ACCOUNT: Final = 4
"""One account takes a fourth of the room at most."""
SPOOLED_MIN_BYTES: Final = 16 * 1024
MEMORY_MAX_BYTES: Final = 64 * 1024 * 1024
"""Of what is not in files yet, or too small for them, or finds no room there."""

_PIECE_BYTES: Final = 256 * 1024
_SWEEP_S: Final = 60.0
# What browsers would run or render as a page is none of these, whoever says so.
_SHOWN: Final = re.compile(r"(?:image/(?!svg)|audio/|video/)[a-z0-9.+-]{1,64}")
_HIDDEN: Final = "application/octet-stream"


class StoreFullError(Exception):
    """It is larger than what an account may keep, or memory takes."""


@dataclass(slots=True)
class Medium:
    """One that is kept. Whoever has it can read it to its end, also when it has gone meanwhile."""

    account_id: str
    content_type: str
    size_bytes: int
    expires_s: int
    """In seconds since 1970."""
    data: bytes | SpoolFile = field(repr=False)

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it. Raises SpoolError: the disk does not do it."""
        data = self.data
        for offset in range(0, self.size_bytes, _PIECE_BYTES):
            if isinstance(data, bytes):
                yield data[offset : offset + _PIECE_BYTES]
            else:
                yield await data.read(offset, _PIECE_BYTES)


class MediaStore:
    """Of one gateway: bounded in bytes, in number and in time; what is oldest goes first.

    `put` does not wait; what is large moves from memory to files while `run` runs.

    Attributes:
        used_bytes: by all that is kept.
    """

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        *,
        max_bytes: int,
        ttl_s: float,
        base_url: str | None = None,
    ) -> None:
        """`base_url`: what clients reach the gateway by; None: by what they have asked for."""
        self._spool = spool
        self._clock = clock
        self._max_bytes = max_bytes
        self._account_max_bytes = max(1, max_bytes // SHARE_OF_ACCOUNT)
        self._ttl_s = ttl_s
        self._base_url = base_url
        self._secret = secrets.token_bytes(32)
        self._kept: dict[str, Medium] = {}
        self._of_accounts: dict[str, dict[str, int]] = {}
        """Sizes by id, by account; the oldest first, as all."""
        self._in_memory: dict[str, Medium] = {}
        self._memory_bytes = 0
        self._due = Alarm()
        self.used_bytes = 0

    def put(self, account_id: str, data: bytes, content_type: str | None) -> str:
        """Keep it; its id. Older media of the account, then anybody's, make room.

        Raises:
            StoreFullError: there can be no room.
        """
        self._expire()
        size = len(data)
        if size > min(self._account_max_bytes, MEMORY_MAX_BYTES):
            raise StoreFullError
        own = self._of_accounts.get(account_id, {})
        excess = sum(own.values()) + size - self._account_max_bytes
        for media_id, own_size in list(own.items()):
            if excess <= 0:
                break
            excess -= own_size
            self._drop(media_id)
        while self.used_bytes + size > self._max_bytes or len(self._kept) >= MEDIA_MAX:
            self._drop(next(iter(self._kept)))
        while self._memory_bytes + size > MEMORY_MAX_BYTES:
            self._drop(next(iter(self._in_memory)))
        kind = (content_type or "").lower()
        medium = Medium(
            account_id,
            kind if _SHOWN.fullmatch(kind) else _HIDDEN,
            size,
            int(self._clock() / 1_000 + self._ttl_s),
            data,
        )
        media_id = secrets.token_urlsafe(18)
        self._kept[media_id] = self._in_memory[media_id] = medium
        self._of_accounts.setdefault(account_id, {})[media_id] = size
        self.used_bytes += size
        self._memory_bytes += size
        if size >= SPOOLED_MIN_BYTES:
            self._due.set()
        return media_id

    def url_of(self, media_id: str, origin: str) -> str:
        """The URL of what was just put. `origin` (`https://host`) is how the client has asked."""
        expires = str(self._kept[media_id].expires_s)
        query = f"expires={expires}&signature={self._signature(media_id, expires)}"
        return f"{(self._base_url or origin).rstrip('/')}{PATH}{media_id}?{query}"

    def get(self, media_id: str, expires: str, signature: str) -> Medium | None:
        """What a URL names; None where anything about it is wrong, or it is over or gone."""
        expected = self._signature(media_id, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            return None
        self._expire()
        return self._kept.get(media_id) if int(expires) > self._clock() / 1_000 else None

    async def run(self) -> None:
        """Forget what has expired, and move what is large to files; never returns."""
        while True:
            with trio.move_on_after(_SWEEP_S):
                await self._due.wait()
            self._expire()
            try:
                for media_id, medium in list(self._in_memory.items()):
                    if medium.size_bytes >= SPOOLED_MIN_BYTES and media_id in self._in_memory:
                        await self._move(media_id, medium)
            except SpoolError as error:  # they are tried again, or make room for others
                logger.error("generated media stay in memory: %s", error)

    async def _move(self, media_id: str, medium: Medium) -> None:
        assert isinstance(medium.data, bytes), "it is in memory"
        file = self._spool.open()
        await file.append([medium.data])
        if self._in_memory.pop(media_id, None) is not None:  # else it has gone meanwhile
            self._memory_bytes -= medium.size_bytes
            medium.data = file

    def _signature(self, media_id: str, expires: str) -> str:
        said = f"{media_id}?{expires}".encode("utf-8", "replace")
        return hmac.new(self._secret, said, sha256).hexdigest()

    def _expire(self) -> None:
        """They stand in the order of their ends, unless the clock was set back."""
        now_s = self._clock() / 1_000
        while self._kept:
            media_id, medium = next(iter(self._kept.items()))
            if medium.expires_s > now_s:
                break
            self._drop(media_id)

    def _drop(self, media_id: str) -> None:
        """Its file is closed once nobody reads it."""
        medium = self._kept.pop(media_id)
        if self._in_memory.pop(media_id, None) is not None:
            self._memory_bytes -= medium.size_bytes
        own = self._of_accounts[medium.account_id]
        self.used_bytes -= own.pop(media_id)
        if not own:
            del self._of_accounts[medium.account_id]
