"""A messages request, checked as Anthropic checks it, reduced to what the provider acts on."""

from __future__ import annotations

import orjson

from bench.simulate.chat import ChatRequest
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.signatures import Signer


def parse_messages_request(
    body: bytes, headers: dict[bytes, bytes], signer: Signer, *, counting: bool = False
) -> ChatRequest:
    """Check a request body as Anthropic does.

    Raises:
        ApiError: 400, with the API's own message.
    """
    if b"anthropic-version" not in headers:
        raise ApiError("anthropic-version: header is required")
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError("The request body is not valid JSON.") from None
    texts: list[str] = []
    last = ""
    for message in request["messages"]:
        content = message["content"]
        found = (
            [content]
            if isinstance(content, str)
            else [b["text"] for b in content if b["type"] == "text"]
        )
        texts += found
        if message["role"] == "user" and found:
            last = found[0]
    return ChatRequest(
        model=request["model"],
        texts=tuple(texts),
        framing_tokens=3 * len(request["messages"]) + 3,
        seed_material=orjson.dumps([request["model"], request["messages"]]),
        directives=find_directives(last),
        stream=bool(request.get("stream")),
        max_output_tokens=request.get("max_tokens"),
    )
