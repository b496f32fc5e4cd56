"""What a job has made on its way out: as it comes from where it is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from quart import Response, request

from engine import Gateway
from engine.admission.keys import Principal
from engine.errors import InvalidRequestError
from engine.job import bare_job_id
from engine.jobs.results import Result
from engine.ledger.job_rows import JobView
from engine.protocols.jobs.views import MAIN_VARIANT
from frontends.file_content import disposition, shown_type
from frontends.ingress import query_value

_INDEX_MAX: Final = 63
_VARIANT_MAX_CHARS: Final = 32


async def answer_result(gateway: Gateway, principal: Principal, view: JobView) -> Response:
    """One of the things that a job has made: which, the URL's parameters `variant` and `index` say.

    Raises:
        InvalidRequestError: they say nothing that could be.
        GatewayError: as `Gateway.open_job_result`, until the answer begins.
    """
    variant = query_value("variant") or MAIN_VARIANT[view.row.kind]
    text = query_value("index") or "0"
    if len(variant) > _VARIANT_MAX_CHARS:
        raise InvalidRequestError("'variant' names no form of it.", param="variant")
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and int(text) <= _INDEX_MAX):
        raise InvalidRequestError(f"'index' is a number from 0 to {_INDEX_MAX}.", param="index")
    async with AsyncExitStack() as stack:
        opening = gateway.open_job_result(principal, view.row.job_id, variant, int(text))
        result = await stack.enter_async_context(opening)
        name = f"{bare_job_id(view.row.job_id)}.{_ending(result.content_type)}"
        headers = {"content-disposition": disposition(name)}
        content_type = shown_type(result.content_type)
        if request.method == "HEAD":
            response = Response(b"", 200, headers, content_type=content_type)
        else:
            first = await result.receive()
            pieces = _Pieces(first, result, stack.pop_all())
            response = Response(pieces, 200, headers, content_type=content_type)
        if result.size_bytes is not None:
            response.content_length = result.size_bytes
        return response


class _Pieces:
    """Of a result, the first of which is there: what is wrong with it is known before anything is
    said of it. Closed by who sends them, in the task that has opened it."""

    def __init__(self, first: bytes | None, result: Result, stack: AsyncExitStack) -> None:
        self._first = first
        self._result = result
        self._stack = stack

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece, self._first = self._first, None
        if piece is None:
            piece = await self._result.receive()
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Nothing is read any more."""
        await self._stack.aclose()


def _ending(content_type: str) -> str:
    """Of a file's name.

    >>> _ending("video/mp4"), _ending("audio/mpeg"), _ending("audio/x-wav; rate=1")
    ('mp4', 'mp3', 'wav')
    """
    word = content_type.partition(";")[0].strip().partition("/")[2].removeprefix("x-")
    return {"mpeg": "mp3", "quicktime": "mov"}.get(word, word if word.isalnum() else "bin")
