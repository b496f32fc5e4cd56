"""What a job has made, from where it is: a file of the account, its provider, or a URL elsewhere.

The provider's credential goes to the provider's own origin and nowhere else: what is at another
URL, or behind a redirect to one, is fetched as what a user names is (`engine.egress`), with none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

import httpx
import trio

from engine.config_tables import EgressConfig
from engine.egress import EgressPolicy, EgressRefusedError, Target, open_download, parse_target
from engine.errors import (
    JobNotEndedError,
    NotFoundError,
    StoredFileNotFoundError,
    UpstreamError,
    UpstreamTimeoutError,
)
from engine.inlining import egress_policy
from engine.job import JobResult
from engine.ledger.file_rows import FileRow
from engine.ledger.job_rows import JobView
from engine.storage.files import FileStore
from engine.upstream.answers import Answer
from engine.upstream.pool import Pool
from engine.upstream.providers import Provider
from engine.wire.http import Headers
from engine.wire.http2 import MalformedFieldsError

RESULT_MAX_BYTES: Final = 4 * 1024**3
RESULT_MAX_S: Final = 3_600.0
_SILENT_MAX_S: Final = 60.0
_REDIRECTS_MAX: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({404, 410})
_MEDIA: Final = ("video/", "audio/", "image/")
_UNTYPED: Final = frozenset(
    {"", "application/octet-stream", "binary/octet-stream", "application/ogg", "application/mp4"}
)
"""What stores say of media whose type nobody told them: then it is of the type that the provider
was said to give."""
_TOO_LARGE: Final = "What the job has made is larger than the gateway takes."
_TOO_SLOW: Final = "What the job has made does not come in time."

Receive = Callable[[], Awaitable[bytes | None]]


class Result:
    """What is read of one; made by `Results.open`.

    Attributes:
        content_type: of media.
        size_bytes: of all its pieces, where that is known.
    """

    def __init__(self, content_type: str, size_bytes: int | None, receive: Receive) -> None:
        self.content_type = content_type
        self.size_bytes = size_bytes
        self._receive = receive

    async def receive(self) -> bytes | None:
        """The next piece; None at the end. Raises GatewayError: it breaks off, or is too large."""
        return await self._receive()


class Results:
    """Of one gateway.

    Args:
        policy: what may be fetched of URLs that are none of the provider's own; None: nothing.
    """

    def __init__(
        self,
        files: FileStore,
        pool: Pool,
        providers: Callable[[], Mapping[str, Provider]],
        policy: Callable[[], EgressPolicy | None],
    ) -> None:
        self._files = files
        self._pool = pool
        self._providers = providers
        self._policy = policy

    @asynccontextmanager
    async def open(
        self, view: JobView, variant: str | None = None, number: int = 0
    ) -> AsyncIterator[Result]:
        """One of the things that a job has made, for the block: the one of this number among those
        of a variant; None: of the thing itself, not a preview of it.

        Raises:
            JobNotEndedError: it is not made yet.
            NotFoundError: it has made none such, or its provider has it no more.
            UpstreamError: the provider cannot be reached, or does not give it.
        """
        if not view.ended:
            raise JobNotEndedError("The job has not ended: there is nothing yet.")
        main = view.results[0].variant if view.results else None
        found = [each for each in view.results if each.variant == (variant or main)]
        if view.state != "succeeded" or not 0 <= number < len(found):
            raise NotFoundError("The job has made nothing of the kind.")
        row = None
        if found[number].variant == main and number < len(view.files):
            row = await self._find(view.row.account_id, view.files[number])
        if row is None:
            async with self.open_at_provider(view, found[number]) as result:
                yield result
            return
        async with aclosing(self._files.pieces(row)) as pieces:

            async def receive() -> bytes | None:
                return await anext(pieces, None)

            yield Result(row.mime_type, row.size_bytes, receive)

    async def _find(self, account_id: str, file_id: str) -> FileRow | None:
        try:
            return await self._files.find(account_id, file_id)
        except StoredFileNotFoundError:
            return None

    @asynccontextmanager
    async def open_at_provider(self, view: JobView, result: JobResult) -> AsyncIterator[Result]:
        """One of them from where its provider keeps it, for the block. Raises as `open`."""
        assert view.acceptance is not None, "somebody has made it"
        provider = self._providers().get(view.acceptance.provider)
        if provider is None:
            raise UpstreamError("The provider that has made it is not configured any more.")
        key = _key_of(provider, view.acceptance.credential)
        deadline = trio.current_time() + RESULT_MAX_S
        target = _target(provider, result.url, view.acceptance.upstream_model)
        for _ in range(_REDIRECTS_MAX + 1):
            if not _is_own(provider, target):
                async with self._elsewhere(target, result.content_type) as found:
                    yield found
                return
            async with AsyncExitStack() as asking:
                answer = await asking.enter_async_context(
                    self._ask(provider, key, target.path, deadline)
                )
                moved = _judge(answer, target)
                if moved is None:
                    yield _result_of(answer, result.content_type, deadline)
                    return
            target = moved
        raise UpstreamError("The provider redirects what the job has made too often.")

    @asynccontextmanager
    async def _elsewhere(self, target: Target, content_type: str) -> AsyncIterator[Result]:
        policy = self._policy()
        if policy is None:
            raise UpstreamError("The provider keeps it at a URL that this gateway does not fetch.")
        async with AsyncExitStack() as fetching:
            with _refusals():
                download = await fetching.enter_async_context(open_download(target.url, policy))

            async def receive() -> bytes | None:
                with _refusals():
                    return await download.receive()

            kind = _media_type(download.content_type, content_type)
            yield Result(kind, download.size_bytes, receive)

    @asynccontextmanager
    async def _ask(
        self, provider: Provider, key: int, path: str, deadline: float
    ) -> AsyncIterator[Answer]:
        """The provider's answer to a `GET` with its credential, for the block."""
        headers: Headers = [
            (b":method", b"GET"),
            (b":scheme", provider.origin.scheme.encode()),
            (b":authority", provider.origin.authority.encode()),
            (b":path", path.encode()),
            (b"accept", b"*/*"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
            *provider.credentials_of(key).sign("GET", path, b""),
        ]
        silent_s = min(_SILENT_MAX_S, provider.idle_timeout_s)
        answer = Answer(silent_s, lambda _: None)
        try:
            with _worded(deadline):
                answer.opened(await self._pool.open_stream(provider, headers, b"", answer))
                await answer.wait_head(silent_s)
            yield answer
        finally:
            answer.close()


def result_policy(config: EgressConfig) -> EgressPolicy | None:
    """What may be fetched of URLs that providers name: by the operator's rules for what clients
    name; None: nothing."""
    if not config.enabled:
        return None
    return replace(
        egress_policy(config), accept=(), max_bytes=RESULT_MAX_BYTES, timeout_s=RESULT_MAX_S
    )


def _key_of(provider: Provider, credential: str) -> int:
    """The number of the key that the job was asked for with; else the first: another one of the
    same account with the provider may be good as well."""
    ids = provider.credential_ids
    return ids.index(credential) if credential in ids else 0


def _target(provider: Provider, url: str, model: str) -> Target:
    """Where a result is. Raises UpstreamError: that is no URL."""
    origin = f"{provider.origin.scheme}://{provider.origin.authority}"
    with _refusals():
        return parse_target(origin + provider.path(url, model) if url.startswith("/") else url)


def _is_own(provider: Provider, target: Target) -> bool:
    origin = provider.origin
    own = (origin.scheme, origin.host.lower(), origin.port)
    return (target.scheme, target.host, target.port) == own


def _judge(answer: Answer, target: Target) -> Target | None:
    """Where a redirect leads. Raises NotFoundError, UpstreamError: it is not given."""
    assert answer.head is not None
    head = dict(answer.head)
    status = int(head[b":status"])
    if status in _REDIRECTS and (location := head.get(b"location")):
        with _refusals():
            return parse_target(location.decode("latin-1"), target)
    if status in _GONE:
        raise NotFoundError("The provider has no more of what the job has made.")
    if status != 200:
        raise UpstreamError(f"The provider does not give it: it answers with status {status}.")
    if head.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise UpstreamError("The provider gives it packed, unasked.")
    return None


def _result_of(answer: Answer, content_type: str, deadline: float) -> Result:
    assert answer.head is not None
    head = dict(answer.head)
    length = head.get(b"content-length", b"")
    size_bytes = int(length) if length.isdigit() and len(length) < 20 else None
    if size_bytes is not None and size_bytes > RESULT_MAX_BYTES:
        raise UpstreamError(_TOO_LARGE)
    said = head.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    came = 0

    async def receive() -> bytes | None:
        nonlocal came
        with _worded(deadline):
            piece = await anext(answer, None)
        came += len(piece or b"")
        if came > RESULT_MAX_BYTES:
            raise UpstreamError(_TOO_LARGE)
        return piece

    return Result(_media_type(said, content_type), size_bytes, receive)


def _media_type(said: str, expected: str) -> str:
    """Never a page or a script: what is not media is none of a job's."""
    if said.startswith(_MEDIA) and said != "image/svg+xml":
        return said
    if said in _UNTYPED:
        return expected
    raise UpstreamError("The provider gives something else than media.")


@contextmanager
def _refusals() -> Iterator[None]:
    """A URL that may not be fetched is no fault of the client's: the provider has named it."""
    try:
        yield
    except EgressRefusedError as error:
        message = f"What the job has made cannot be had from its provider. {error.message}"
        raise UpstreamError(message) from None


@contextmanager
def _worded(deadline: float) -> Iterator[None]:
    try:
        with trio.fail_at(deadline):
            yield
    except (trio.TooSlowError, httpx.TimeoutException):
        raise UpstreamTimeoutError(_TOO_SLOW) from None
    except (httpx.TransportError, httpx.StreamClosed, MalformedFieldsError) as error:
        raise UpstreamError("The provider breaks off what the job has made.") from error
