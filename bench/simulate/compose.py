"""What the simulated model answers: the segments of one answer, from request and directives."""

from __future__ import annotations

from bench.simulate.answer import Answer, Finish, Segment
from bench.simulate.chat import ChatRequest
from bench.simulate.directives import Directives
from bench.simulate.signatures import Signer
from bench.simulate.text import WordSource, seed_of


def compose(
    request: ChatRequest, directives: Directives, seed: bytes, signer: Signer, api: str
) -> Answer:
    """Text by the seed."""
    sources = [WordSource(seed_of(seed, str(i).encode())) for i in range(request.choices)]
    finish: Finish = "stop"
    segments: list[Segment] = []
    if directives.tokens:
        segments.append(Segment("text", 0, directives.tokens, sources))
    return Answer(tuple(segments), finish)
