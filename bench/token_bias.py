"""How far our count of an answer's tokens is from the provider's own, by family of models.

    python -m bench.token_bias [FOLDER]

Reads recorded answers (text of at least 40 tokens, nothing hidden in them), counts each with the
vocabulary that its model is counted with, and prints counted / reported: median, 5th and 95th
percentile. `engine.metering.tokens.FAMILIES` states what it printed.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from engine.errors import GatewayError
from engine.events import (
    Begin,
    Event,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    UsageReport,
)
from engine.metering.tokens import counter_for, family_of
from engine.protocols.codec import Codec
from engine.protocols.registry import codec_of

CODECS: Final = {
    "chat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
}
"""By the last word of a folder's name."""
_TOKENS_MIN: Final = 40
_NOT_ALL_TEXT: Final = re.compile(
    "synthetic|tool|search|fetch|compact|fallback|advisor|src-fixtures-perplexity"
)
"""In the names of recordings: more than their text was generated, or not all text was kept."""


def samples(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Model, text and reported tokens of each answer that is nothing but its text."""
    for path in sorted(folder.glob("*/*.json")):
        name = CODECS.get(path.parent.name.rpartition("-")[2])
        if name is None:
            continue
        recording = orjson.loads(path.read_bytes())
        if recording["response"]["status"] != 200 or _NOT_ALL_TEXT.search(path.name):
            continue
        body = (recording["response"].get("body") or "").encode()
        try:
            events = _events(codec_of(name), body, stream=recording["stream"] is True)
        except (ValueError, GatewayError):
            continue
        sample = _plain_text(events)
        if sample is not None:
            yield sample


def _events(codec: Codec, body: bytes, *, stream: bool) -> list[Event]:
    if not stream:
        return list(codec.decode_response(body))
    decoder = codec.open_decoder(end_marker=False)
    events = [event for frame in decoder.split(body) for event in decoder.decode(frame)]
    return [*events, *decoder.end_of_input()]


def _plain_text(events: list[Event]) -> tuple[str, str, int] | None:
    """Beside reasoning that is reported apart; a provider's own tools hide text of theirs."""
    texts, model, reported, reasoned = [], None, None, False
    for event in events:
        match event:
            case Begin(model=name):
                model = name
            case UsageReport(usage=usage):
                reported = usage
            case TextDelta(text=text) | RefusalDelta(text=text):
                texts.append(text)
            case ReasoningDelta():
                reasoned = True
            case ToolCallBegin() | RedactedReasoning() | MediaDelta():
                return None
            case NativeEvent(generated=text) if text:
                return None
    if model is None or reported is None or reported.more:
        return None
    if reasoned and not reported.reasoning_tokens:
        return None
    visible = reported.output_tokens - reported.reasoning_tokens
    return None if visible < _TOKENS_MIN else (model, "".join(texts), visible)


def measure(folder: Path) -> dict[str, tuple[int, tuple[int, int, int]]]:
    """Of each family with two answers or more: how many, and `Family.bias`."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for model, text, reported in samples(folder):
        family = family_of(model)
        ratios[family.name].append(counter_for(family.encoding)(text) / reported)
    measured = {}
    for name, found in sorted(ratios.items()):
        if len(found) > 1:
            cuts = statistics.quantiles(found, n=20, method="inclusive")
            low, median, high = (
                round(100 * ratio) for ratio in (cuts[0], statistics.median(found), cuts[-1])
            )
            measured[name] = (len(found), (median, low, high))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description="Our count of tokens against the providers'.")
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("folder", type=Path, nargs="?", default=here / "shared" / "recordings")
    rows = [f"{'family':<12} {'answers':>7} {'median':>7} {'p5':>6} {'p95':>6}"]
    for name, (answers, bias) in measure(parser.parse_args().folder).items():
        figures = " ".join(f"{figure / 100:>6.2f}" for figure in bias)
        rows.append(f"{name:<12} {answers:>7}  {figures}")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
