"""Idempotency keys: the same request sent twice is carried out once.

A key belongs to an account. While a request with it is under way it is taken, in memory; what the
latest one came to is in the ledger. Requests without a key cost nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import trio

from engine.clock import Clock
from engine.errors import (
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    IdempotencyUsedError,
    InvalidRequestError,
)
from engine.events import Call, Head, Outcome
from engine.ledger.idempotency import EarlierRequest
from engine.ledger.ledger import Ledger
from engine.ledger.records import IdempotencyKey, StoredAnswer
from engine.media.forms import boundary_of
from engine.protocols.jobs.views import job_json
from engine.protocols.uploads import has_form

KEY_MAX_CHARS = 255
ANSWER_MAX_BYTES = 1024 * 1024
"""A larger answer is not kept."""

REPLAYED = (b"idempotent-replayed", b"true")

_KEPT = frozenset({Outcome.COMPLETED, Outcome.FUNDS_EXHAUSTED})
"""The client got an answer. After any other outcome its key is free again."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that a request with the same key and body has got, and its receipt."""

    receipt: Mapping[str, Any]
    head: Head
    body: bytes


class IdempotencyKeys:
    """Of one gateway."""

    def __init__(self, ledger: Ledger, clock: Clock, keep_s: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._keep_ms = int(keep_s * 1_000)
        self._taken: dict[tuple[str, str], tuple[str, bool]] = {}
        """Request and whether it is a stream, by account and key."""

    async def take(self, account_id: str, call: Call, *, stream: bool) -> IdempotencyKey | Replay:
        """Take the call's key, to be released when its exchange has ended; or what to give again.

        Raises:
            InvalidRequestError: the key is none.
            IdempotencyInProgressError: a request with this key is under way.
            IdempotencyMismatchError: it was another request that had this key.
            IdempotencyUsedError: its request has ended, or is a stream; the answer is not kept.
            UnavailableError: the ledger cannot be read now.
        """
        key = checked_key(call.idempotency_key)
        if (holder := self._taken.get((account_id, key))) is not None:
            raise _in_progress(*holder)
        self._taken[account_id, key] = (call.request_id, stream)
        kept = False
        try:
            digest = await trio.to_thread.run_sync(digest_of, call)
            since_ms = self._clock() - self._keep_ms
            earlier = await self._ledger.earlier_request(account_id, key, since_ms)
            replay = None if earlier is None else await self._decide(account_id, earlier, digest)
            kept = replay is None
        finally:
            if not kept:
                del self._taken[account_id, key]
        return IdempotencyKey(key, digest, stream) if replay is None else replay

    async def _decide(self, account_id: str, earlier: EarlierRequest, digest: str) -> Replay | None:
        if earlier.job_id is None or earlier.answer is not None or earlier.digest != digest:
            return decide(earlier, digest)
        # It was found out that a provider has taken it: its client was told nothing.
        view = await self._ledger.find_job(account_id, earlier.job_id)
        if view is None or earlier.receipt is None:
            return decide(earlier, digest)
        body = job_json(view)
        headers = ((b"content-type", b"application/json"), REPLAYED)
        return Replay(earlier.receipt, Head(200, headers), body)

    def release(self, account_id: str, key: str) -> None:
        """The exchange has ended; what it came to is the ledger's."""
        del self._taken[account_id, key]

    async def prune(self) -> int:
        """Forget what is older than is kept; how many requests. Raises UnavailableError."""
        return await self._ledger.prune_idempotency(self._clock() - self._keep_ms)


def checked_key(key: str | None) -> str:
    """A key as it can be stored and shown. Raises InvalidRequestError."""
    if key and len(key) <= KEY_MAX_CHARS and all("\x21" <= char <= "\x7e" for char in key):
        return key
    raise InvalidRequestError(
        f"'Idempotency-Key' must be 1 to {KEY_MAX_CHARS} characters of visible ASCII.",
        param="Idempotency-Key",
    )


def digest_of(call: Call) -> str:
    """Of everything that makes two calls the same: a form that is sent again has another boundary.

    Raises:
        InvalidRequestError: it is a form without a boundary.
    """
    named = (call.protocol, call.operation, call.model, call.stream, call.array)
    hashed = hashlib.sha256(orjson.dumps(named))
    if call.source is not None:
        hashed.update(call.source.job_id.encode())
    pieces: Iterable[bytes] = (call.body,) if call.spooled is None else call.spooled.pieces()
    if has_form(call):
        pieces = _without(b"--%b" % boundary_of(call.content_type).encode("ascii"), pieces)
    for piece in pieces:
        hashed.update(piece)
    return hashed.hexdigest()


def _without(word: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes but for a word, wherever it stands."""
    rest = b""
    for piece in pieces:
        *before, rest = (rest + piece).split(word)
        yield from before
        kept = len(rest) - len(word) + 1  # it may have begun behind this
        if kept > 0:
            yield rest[:kept]
            rest = rest[kept:]
    yield rest


def decide(earlier: EarlierRequest, digest: str) -> Replay | None:
    """What the latest request with a key means for another one; None: the key is free.

    Raises:
        IdempotencyInProgressError, IdempotencyMismatchError, IdempotencyUsedError: as `take`.
    """
    receipt, answer = earlier.receipt, earlier.answer
    if not earlier.ended and answer is None:
        raise _in_progress(earlier.request_id, earlier.stream)
    # A job that failed later was taken all the same: its client was told so.
    if answer is None and receipt is not None and Outcome(receipt["outcome"]) not in _KEPT:
        return None
    if earlier.digest != digest:
        raise IdempotencyMismatchError(
            "This idempotency key was used for another request; choose a new one.",
            request_id=earlier.request_id,
        )
    if receipt is None or answer is None:
        raise _used(earlier.request_id)
    headers = tuple((name.encode(), value.encode("latin-1")) for name, value in answer.headers)
    return Replay(receipt, Head(answer.status, (*headers, REPLAYED)), answer.body.encode())


def stored_answer(head: Head, body: bytes) -> StoredAnswer | None:
    """An answer as it is kept, if it can be."""
    if len(body) > ANSWER_MAX_BYTES:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
    return StoredAnswer(head.status, headers, text)


def _in_progress(
    request_id: str, stream: bool
) -> IdempotencyInProgressError | IdempotencyUsedError:
    if stream:
        return _used(request_id)
    return IdempotencyInProgressError(
        f"A request with this idempotency key is under way: '{request_id}'. Try again later.",
        request_id=request_id,
    )


def _used(request_id: str) -> IdempotencyUsedError:
    return IdempotencyUsedError(
        f"This idempotency key is that of the request '{request_id}', whose answer is not kept; "
        "its receipt tells what became of it.",
        request_id=request_id,
    )
