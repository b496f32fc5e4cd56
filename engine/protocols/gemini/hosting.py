"""What Vertex wants otherwise than Gemini's own API, of a request that goes through verbatim.

Sources: `_…_to_vertex` and `_…_to_mldev` of google-genai's `models.py`, and Vertex's reference of
generateContent: a content without a role is a 400 there, and a user's here.
"""

from __future__ import annotations

from typing import Any, Final

from engine.protocols.gemini.spelling import camel, get_dicts, key_of

_COUNTED: Final = frozenset({"contents", "systemInstruction", "tools", "generationConfig"})
"""What `countTokens` takes; `generateContentRequest` it does not."""


def for_vertex(prompt: dict[str, Any], *, counted: bool) -> dict[str, Any]:
    """A client's prompt, as Vertex takes it.

    >>> for_vertex({"contents": {"parts": [{"text": "hi"}]}, "labels": {}}, counted=False)
    {'contents': [{'role': 'user', 'parts': [{'text': 'hi'}]}], 'labels': {}}
    """
    contents = [_content(content) for content in get_dicts(prompt, "contents")]
    kept = {name: v for name, v in prompt.items() if not counted or camel(name) in _COUNTED}
    return kept | {"contents": contents}


def _content(content: dict[str, Any]) -> dict[str, Any]:
    """With its role, and parts without what the client only noted beside them."""
    if not content.get("role"):
        content = {"role": "user"} | {name: v for name, v in content.items() if name != "role"}
    if any(key_of(part, "partMetadata") for part in get_dicts(content, "parts")):
        parts = [
            {name: value for name, value in part.items() if camel(name) != "partMetadata"}
            for part in get_dicts(content, "parts")
        ]
        content = content | {"parts": parts}
    return content
