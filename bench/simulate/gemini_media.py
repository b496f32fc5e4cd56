"""Gemini's answers in sound and pictures, by `responseModalities`, and the tokens of media it gets.

Speech is raw PCM in one part, or in a part a stretch where it is streamed. A picture comes after
the text, if there is to be any.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bench.simulate.answer import Answer, Piece, Segment
from bench.simulate.chat import Make
from bench.simulate.directives import Directives
from bench.simulate.errors import ApiError
from bench.simulate.pictures import png, spoiled
from bench.simulate.sound_length import sound_ms
from bench.simulate.sounds import pieces_of, stretches_of
from bench.simulate.text import WordSource, seed_of

AUDIO_TYPE: Final = "audio/L16;codec=pcm;rate=24000"
IMAGE_TOKENS: Final = 1_290
"""Of a picture it draws."""
SEEN_TOKENS: Final = 258
"""Of a picture it gets."""
HEARD_TOKENS_PER_S: Final = 32
_URL_SAFE: Final = str.maketrans("-_", "+/")
_SIZES: Final[Mapping[str, tuple[int, int]]] = {
    "1:1": (1_024, 1_024),
    "2:3": (832, 1_248),
    "3:2": (1_248, 832),
    "3:4": (864, 1_184),
    "4:3": (1_184, 864),
    "4:5": (896, 1_152),
    "5:4": (1_152, 896),
    "9:16": (768, 1_344),
    "16:9": (1_344, 768),
    "21:9": (1_536, 672),
}


def media_maker(config: Mapping[str, Any], said: str) -> Make | None:
    """What makes the answer where it is more than text; `said` is what is to be spoken.

    Raises:
        ApiError: modalities that no model has together, or a picture of no known shape.
    """
    wanted = set(config.get("responseModalities") or ()) - {"MODALITY_UNSPECIFIED"}
    if wanted <= {"TEXT"}:
        return None
    if wanted not in ({"AUDIO"}, {"IMAGE"}, {"TEXT", "IMAGE"}):
        raise ApiError(
            f"The requested combination of response modalities ({', '.join(sorted(wanted))}) is "
            "not supported by the model."
        )
    if config.get("candidateCount", 1) > 1:
        raise ApiError("Multiple candidates is not enabled for this model")
    if wanted == {"AUDIO"}:
        return lambda directives, seed: _speech(said, directives, seed)
    ratio = (config.get("imageConfig") or {}).get("aspectRatio") or "1:1"
    if ratio not in _SIZES:
        raise ApiError(
            f"Invalid value at 'generation_config.image_config.aspect_ratio': {ratio!r} is none of "
            f"{', '.join(_SIZES)}."
        )
    texts = "TEXT" in wanted
    return lambda directives, seed: _picture(_SIZES[ratio], directives, seed, texts=texts)


def _speech(said: str, directives: Directives, seed: bytes) -> Answer:
    pieces = pieces_of("pcm", stretches_of(said, 1.0, directives), seed, directives)
    return Answer((Segment("media", 0, len(pieces), pieces=pieces, media_type=AUDIO_TYPE),), "stop")


def _picture(size: tuple[int, int], directives: Directives, seed: bytes, *, texts: bool) -> Answer:
    words = directives.tokens if texts else 0
    units = {"images": 1, "output_tokens": IMAGE_TOKENS, "output_image_tokens": IMAGE_TOKENS}
    piece = Piece(spoiled(png(*size, seed), directives), units)
    drawn = Segment("media", words, 1, pieces=(piece,), media_type="image/png")
    if not words:
        return Answer((drawn,), "stop")
    source = WordSource(seed_of(seed, b"0"))
    return Answer((Segment("text", 0, words, (source,)), drawn), "stop")


def media_units(contents: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What pictures and sound in a request come to; what cannot be read comes to nothing."""
    pictures, length_ms = 0, 0
    for content in contents:
        for part in content.get("parts") or ():
            kind = str((part.get("inlineData") or {}).get("mimeType", ""))
            if kind.startswith("image/"):
                pictures += SEEN_TOKENS
            elif kind.startswith("audio/"):
                length_ms += _heard_ms(part["inlineData"]["data"])
    heard = math.ceil(length_ms * HEARD_TOKENS_PER_S / 1_000)
    units = {
        "input_image_tokens": pictures,
        "input_audio_tokens": heard,
        "milliseconds": length_ms,
    }
    return {unit: amount for unit, amount in units.items() if amount}


def _heard_ms(data: str) -> int:
    try:
        return sound_ms(memoryview(b64decode(data.translate(_URL_SAFE)))) or 0
    except ValueError:
        return 0
