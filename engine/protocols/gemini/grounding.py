"""Sources of an answer: Gemini's grounding and citation metadata, and citations for its clients.

Gemini's positions are bytes of the answer's UTF-8, ours are characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from engine.events import Citation
from engine.protocols.fields import dict_of, dicts, text_of
from engine.protocols.gemini.signatures import native

_CITATIONS_MAX = 1_000
TEXT_MAX_CHARS = 1_048_576
"""So much of an answer is kept to find positions in it."""


def read_citations(candidate: dict[str, Any], text: str, choice: int) -> Iterator[Citation]:
    """What a candidate's metadata cites in `text`, the answer so far."""
    grounding = dict_of(candidate.get("groundingMetadata"))
    yield from islice(
        chain(_grounded(grounding, text, choice), _recited(candidate, text, choice)),
        _CITATIONS_MAX,
    )


def _grounded(grounding: dict[str, Any], text: str, choice: int) -> Iterator[Citation]:
    chunks = [_source(chunk) for chunk in dicts(grounding.get("groundingChunks"))]
    supports = list(dicts(grounding.get("groundingSupports")))
    if not supports:
        for url, title, quote in chunks:
            yield Citation(url, title, quote, choice=choice, native=native())
    for support in supports:
        start, end = _span(dict_of(support.get("segment")), text)
        indices = support.get("groundingChunkIndices")
        for index in indices if isinstance(indices, list) else ():
            if isinstance(index, int) and 0 <= index < len(chunks):
                url, title, quote = chunks[index]
                yield Citation(url, title, quote, start, end, choice=choice, native=native())


def _source(chunk: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Address, title and quotation of a grounding chunk."""
    for kind in ("web", "retrievedContext", "maps", "image"):
        if isinstance(source := chunk.get(kind), dict):
            url = text_of(source.get("uri")) or text_of(source.get("sourceUri"))
            return (
                url or None,
                text_of(source.get("title")) or None,
                text_of(source.get("text")) or None,
            )
    return None, None, None


def _recited(candidate: dict[str, Any], text: str, choice: int) -> Iterator[Citation]:
    metadata = dict_of(candidate.get("citationMetadata"))
    for name in ("citationSources", "citations"):
        for source in dicts(metadata.get(name)):
            start, end = _span(source, text)
            url, title = text_of(source.get("uri")), text_of(source.get("title"))
            yield Citation(
                url or None, title or None, None, start, end, choice=choice, native=native()
            )


def _span(segment: dict[str, Any], text: str) -> tuple[int | None, int | None]:
    """A segment's characters in the text; none if it is not found there."""
    start, end = segment.get("startIndex", 0), segment.get("endIndex")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start <= end:
        return None, None
    said = segment.get("text")
    encoded = text.encode("utf-8", "surrogatepass")
    before = encoded[:start].decode("utf-8", "ignore")
    span = encoded[start:end].decode("utf-8", "ignore")
    if end <= len(encoded) and (not isinstance(said, str) or said == span):
        return len(before), len(before) + len(span)
    at = text.find(said) if isinstance(said, str) and said else -1
    return (at, at + len(said)) if isinstance(said, str) and at >= 0 else (None, None)


def encode_grounding(citations: Sequence[Citation], text: str) -> dict[str, Any]:
    """`groundingMetadata` of another provider's citations."""
    chunks: list[dict[str, Any]] = []
    supports: list[dict[str, Any]] = []
    for citation in citations[:_CITATIONS_MAX]:
        chunk = _chunk(citation)
        if chunk not in chunks:
            chunks.append(chunk)
        if citation.start is not None and citation.end is not None:
            supports.append(
                {
                    "segment": _segment(text, citation.start, citation.end),
                    "groundingChunkIndices": [chunks.index(chunk)],
                }
            )
    return {"groundingChunks": chunks} | ({"groundingSupports": supports} if supports else {})


def _chunk(citation: Citation) -> dict[str, Any]:
    title = {} if citation.title is None else {"title": citation.title}
    if citation.url is not None:
        return {"web": {"uri": citation.url} | title}
    quote = {} if citation.cited_text is None else {"text": citation.cited_text}
    return {"retrievedContext": title | quote}


def _segment(text: str, start: int, end: int) -> dict[str, Any]:
    before = len(text[:start].encode("utf-8", "surrogatepass"))
    span = text[start:end]
    return {
        "startIndex": before,
        "endIndex": before + len(span.encode("utf-8", "surrogatepass")),
        "text": span,
    }
