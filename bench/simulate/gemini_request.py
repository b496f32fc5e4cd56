"""A generateContent request, checked as Gemini checks it, reduced to what is acted on."""

from __future__ import annotations

import orjson

from bench.simulate.chat import ChatRequest
from bench.simulate.directives import find_directives
from bench.simulate.errors import ApiError
from bench.simulate.signatures import Signer


def parse_generate_request(
    body: bytes, signer: Signer, *, model: str, method: str, as_array: bool
) -> ChatRequest:
    """Check a request body as Gemini does.

    Raises:
        ApiError: 400, with the API's own message.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError("Invalid JSON payload received.") from None
    texts: list[str] = []
    last = ""
    for content in request["contents"]:
        found = [part["text"] for part in content["parts"] if "text" in part]
        texts += found
        if content.get("role", "user") == "user" and found:
            last = found[0]
    config = request.get("generationConfig") or {}
    return ChatRequest(
        model=model,
        texts=tuple(texts),
        framing_tokens=3 * len(request["contents"]),
        seed_material=orjson.dumps([model, request["contents"], config.get("seed")]),
        directives=find_directives(last),
        stream=method == "streamGenerateContent",
        choices=config.get("candidateCount") or 1,
        max_output_tokens=config.get("maxOutputTokens"),
        as_array=as_array,
    )
