"""What google-genai, unmodified, makes of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from google import genai
from google.genai import errors, types


@contextmanager
def answered(body: bytes, status: int = 200) -> Iterator[genai.Client]:
    """A client that gets this answer to whatever it asks."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    with httpx.Client(transport=transport) as http:
        options = types.HttpOptions(base_url="http://gateway.test", httpx_client=http)
        yield genai.Client(api_key="none", http_options=options)


def whole(body: bytes) -> types.GenerateContentResponse:
    """An answer in one piece."""
    with answered(body) as client:
        return client.models.generate_content(model="m", contents="hello")


def chunks(body: bytes) -> tuple[list[types.GenerateContentResponse], errors.APIError | None]:
    """The chunks of a stream, and the error at its end, if the SDK raised one."""
    found: list[types.GenerateContentResponse] = []
    with answered(body) as client:
        try:
            found.extend(client.models.generate_content_stream(model="m", contents="hello"))
        except errors.APIError as error:
            return found, error
    return found, None


def ends(response: types.GenerateContentResponse) -> list[tuple[int | None, str | None]]:
    """Index and reason of each candidate."""
    return [
        (candidate.index, candidate.finish_reason and candidate.finish_reason.value)
        for candidate in response.candidates or ()
    ]


def figures(response: types.GenerateContentResponse) -> dict[str, int]:
    """The usage, as the SDK names it."""
    usage = response.usage_metadata
    return {} if usage is None else usage.model_dump(exclude_none=True)
