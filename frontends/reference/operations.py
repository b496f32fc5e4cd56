"""What is no chat, in OpenAI's words: embeddings, images, sound, moderations; rerank in Cohere's.

Sources: the types of OpenAI's SDK, Cohere's and Jina's references, and `engine.media_params`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.media_schemas import EMBEDDINGS, IMAGES, SPEECH, TRANSCRIPTS
from frontends.reference.chat import IDEMPOTENCY, MODEL, STREAM
from frontends.reference.rows import (
    EVENTS,
    FORM,
    JSON,
    Answer,
    Example,
    Row,
    Schema,
    answers_json,
    answers_stream,
    anything,
    either,
    exactly,
    file_bytes,
    flag,
    listed,
    nullable,
    number,
    one_of,
    ref,
    text,
    thing,
    whole,
)

PICTURE: Final = "picture.png"
SOUND: Final = "sound.wav"
"""Files of examples."""
_OF_MODEL: Final = (
    "What a model takes is in `media_params_schema` of its entry in `GET /v1/models`; what it does "
    "not take is a 400."
)


def _words(rows: Any, field: str) -> tuple[str, ...]:
    """Every word that some model takes in a field, by the tables of `engine.media_schemas`."""
    found: dict[str, None] = {}
    for _, schema in rows:
        given = schema["properties"].get(field, {})
        for each in (given, *given.get("anyOf", ())):
            found.update(dict.fromkeys(each.get("enum", ())))
    return tuple(found)


_PICTURE_FIELDS: Final[Mapping[str, Schema]] = {
    "model": MODEL,
    "n": nullable(whole(1, 10)),
    "size": nullable(text("`1024x1024`, `auto`, …")),
    "quality": nullable(one_of(*_words(IMAGES, "quality"))),
    "background": nullable(one_of(*_words(IMAGES, "background"))),
    "output_format": nullable(one_of(*_words(IMAGES, "output_format"))),
    "response_format": nullable(one_of("url", "b64_json")),
    "stream": nullable(STREAM),
    "partial_images": nullable(whole(0, 3)),
    "user": text(),
}
_IMAGE_USAGE: Final = nullable(thing({"input_tokens": whole(0), "output_tokens": whole(0)}))
_RECORDED: Final[Mapping[str, Schema]] = {
    "model": MODEL,
    "prompt": text(),
    "language": text(),
    "response_format": one_of(*_words(TRANSCRIPTS, "response_format")),
    "temperature": number(0, 1),
    "stream": STREAM,
}
_SOUND_FILE: Final = either(
    text("A `data:` URL."),
    thing({"data": text("base64"), "filename": text()}, "data"),
    detail="The recording.",
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "EmbeddingRequest": thing(
        {
            "model": MODEL,
            "input": either(
                text(), listed(text()), listed(whole(0)), listed(listed(whole(0))), detail="Texts."
            ),
            "encoding_format": one_of(*_words(EMBEDDINGS, "encoding_format")),
            "dimensions": whole(1),
            "user": text(),
        },
        "model",
        "input",
    ),
    "Embeddings": thing(
        {
            "object": exactly("list"),
            "data": listed(
                thing(
                    {
                        "object": exactly("embedding"),
                        "index": whole(0),
                        "embedding": either(listed(number()), text("base64")),
                    },
                    "index",
                    "embedding",
                )
            ),
            "model": text(),
            "usage": thing({"prompt_tokens": whole(0), "total_tokens": whole(0)}),
        },
        "object",
        "data",
    ),
    "ImageRequest": thing({**_PICTURE_FIELDS, "prompt": text()}, "model", "prompt"),
    "ImageEditRequest": thing(
        {
            **_PICTURE_FIELDS,
            "prompt": text(),
            "images": listed(thing({"image_url": text(), "file_id": text()}), minItems=1),
        },
        "model",
        "prompt",
        "images",
    ),
    "ImageEditForm": thing(
        {
            **{name: _PICTURE_FIELDS[name] for name in ("model", "n", "size", "quality")},
            "prompt": text(),
            "image": file_bytes("Or up to 16 as `image[]`."),
            "mask": file_bytes(),
        },
        "model",
        "prompt",
        "image",
    ),
    "ImageVariationForm": thing(
        {
            **{name: _PICTURE_FIELDS[name] for name in ("model", "n", "size", "response_format")},
            "image": file_bytes(),
        },
        "model",
        "image",
    ),
    "Images": thing(
        {
            "created": whole(),
            "data": listed(thing({"b64_json": nullable(text()), "url": nullable(text())})),
            "usage": _IMAGE_USAGE,
        },
        "created",
        "data",
    ),
    "SpeechRequest": thing(
        {
            "model": MODEL,
            "input": text(maxLength=4_096),
            "voice": either(text(), thing({"id": text()}), detail="`alloy`, …"),
            "response_format": one_of(*_words(SPEECH, "response_format")),
            "speed": number(0.25, 4),
            "instructions": text(maxLength=4_096),
            "stream_format": one_of("audio", "sse"),
        },
        "model",
        "input",
        "voice",
    ),
    "TranscriptionForm": thing({**_RECORDED, "file": file_bytes()}, "model", "file"),
    "TranscriptionRequest": thing({**_RECORDED, "file": _SOUND_FILE}, "model", "file"),
    "Transcription": thing({"text": text(), "usage": anything()}, "text"),
    "ModerationRequest": thing(
        {
            "model": MODEL,
            "input": either(
                text(),
                listed(text()),
                listed(thing({"type": text(), "text": text(), "image_url": thing({})}, "type")),
            ),
        },
        "model",
        "input",
    ),
    "Moderation": thing(
        {
            "id": text(),
            "model": text(),
            "results": listed(
                thing({"flagged": flag(), "categories": thing({})}, "flagged", "categories")
            ),
        },
        "id",
        "results",
    ),
    "RerankRequest": thing(
        {
            "model": MODEL,
            "query": text(),
            "documents": listed(either(text(), thing({}))),
            "top_n": whole(1),
        },
        "model",
        "query",
        "documents",
    ),
    "Reranked": thing(
        {
            "results": listed(
                thing({"index": whole(0), "relevance_score": number()}, "index", "relevance_score")
            )
        },
        "results",
    ),
}


def _row(
    path: str,
    name: str,
    tag: str,
    summary: str,
    answers: Mapping[int, Answer],
    asks: Mapping[str, Schema],
    *examples: Example,
    detail: str = "",
) -> Row:
    return Row(
        "POST",
        path,
        name,
        tag,
        summary,
        answers,
        detail=detail,
        asks=asks,
        parameters=(IDEMPOTENCY,),
        examples=examples,
        relays=True,
        refuses=(415,),
    )


_PICTURES: Final = answers_stream(ref("Images"), "`image_generation.…` events.", "The pictures.")
_WORDS: Final = {
    200: Answer(
        "The text, in the format that was asked for.",
        {
            JSON: ref("Transcription"),
            "text/plain": text(),
            "text/vtt": text(),
            "application/x-subrip": text(),
            EVENTS: anything("`transcript.text.delta` … `transcript.text.done`."),
        },
    )
}
_RECORDINGS: Final = {FORM: ref("TranscriptionForm"), JSON: ref("TranscriptionRequest")}
_DOCUMENTS: Final = {"query": "water", "documents": ["A flume", "A lamp"], "top_n": 1}

ROWS: Final = (
    _row(
        "/v1/embeddings",
        "createEmbedding",
        "Embeddings",
        "The vectors of texts.",
        answers_json(ref("Embeddings"), "The vectors, in the order of the texts."),
        {JSON: ref("EmbeddingRequest")},
        Example("two texts", {"model": "sim-embedding", "input": ["Hello", "World"]}),
    ),
    *(
        _row(
            path,
            name,
            "Embeddings",
            "Documents in the order of their relevance, as Cohere's clients and Jina's ask.",
            answers_json(ref("Reranked"), "The best first."),
            {JSON: ref("RerankRequest")},
            Example("two texts", {"model": "sim-rerank", **_DOCUMENTS}),
        )
        for path, name in (("/v1/rerank", "rerank"), ("/v2/rerank", "rerank_v2"))
    ),
    _row(
        "/v1/images/generations",
        "createImage",
        "Images",
        "Draw a picture.",
        _PICTURES,
        {JSON: ref("ImageRequest")},
        Example("one", {"model": "sim-image", "prompt": "A flume in the evening"}),
        detail=_OF_MODEL,
    ),
    _row(
        "/v1/images/edits",
        "editImage",
        "Images",
        "Draw over pictures.",
        _PICTURES,
        {FORM: ref("ImageEditForm"), JSON: ref("ImageEditRequest")},
        Example(
            "a form",
            {"model": "sim-image", "prompt": "By night", "image": PICTURE},
            media_type=FORM,
        ),
        detail=_OF_MODEL,
    ),
    _row(
        "/v1/images/variations",
        "varyImage",
        "Images",
        "Draw something like a picture.",
        _PICTURES,
        {FORM: ref("ImageVariationForm")},
        Example("a form", {"model": "dall-e-2", "image": PICTURE}, media_type=FORM),
        detail=_OF_MODEL,
    ),
    _row(
        "/v1/audio/speech",
        "createSpeech",
        "Sound",
        "Read a text aloud.",
        {
            200: Answer(
                "The sound.", {"audio/*": file_bytes(), EVENTS: anything("Base64, in parts.")}
            )
        },
        {JSON: ref("SpeechRequest")},
        Example("a word", {"model": "sim-speech", "voice": "alloy", "input": "Hello"}),
        detail=_OF_MODEL,
    ),
    _row(
        "/v1/audio/transcriptions",
        "createTranscription",
        "Sound",
        "What is said in a recording.",
        _WORDS,
        _RECORDINGS,
        Example("a form", {"model": "sim-transcript", "file": SOUND}, media_type=FORM),
        Example(
            "as text",
            {"model": "sim-transcript", "file": SOUND, "response_format": "text"},
            media_type=FORM,
        ),
        detail=_OF_MODEL,
    ),
    _row(
        "/v1/audio/translations",
        "createTranslation",
        "Sound",
        "What is said in a recording, in English.",
        _WORDS,
        _RECORDINGS,
        Example("a form", {"model": "sim-transcript", "file": SOUND}, media_type=FORM),
        detail=_OF_MODEL,
    ),
    _row(
        "/v1/moderations",
        "createModeration",
        "Moderations",
        "Whether a text or a picture is harmful.",
        answers_json(ref("Moderation"), "What is thought of each."),
        {JSON: ref("ModerationRequest")},
        Example("a text", {"model": "sim-moderation", "input": "Hello"}),
    ),
)
