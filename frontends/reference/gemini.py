"""Models and their verbs, in Gemini's words, at each of its versions.

Sources: ai.google.dev/api, the types of google-genai, and what `engine.protocols.gemini` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from frontends.protocols import GEMINI_VERSIONS
from frontends.reference.chat import IDEMPOTENCY
from frontends.reference.rows import (
    EVENTS,
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    answers_json,
    anything,
    by_name,
    either,
    listed,
    number,
    one_of,
    ref,
    text,
    thing,
    whole,
)

TAG: Final = "Gemini"
OTHER_TAG: Final = "Gemini, other paths"
"""The same once more under other versions, and for tuned models."""
_RULE: Final = "/{version}/<any(models, tunedModels):of>/<path:target>"
_CONTENTS: Final[dict[str, Any]] = {
    "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
}
ALT: Final = Parameter("alt", one_of("sse", "json"), "`sse`: as events; else one JSON array.")
_CONTENT: Final = thing(
    {
        "role": one_of("user", "model"),
        "parts": listed(
            thing(
                {
                    "text": text(),
                    "inlineData": thing({"mimeType": text(), "data": text("base64")}),
                    "fileData": thing({"fileUri": text(), "mimeType": text()}),
                    "functionCall": thing({"name": text(), "args": by_name(anything())}),
                    "functionResponse": thing({"name": text(), "response": thing({})}),
                }
            )
        ),
    }
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "GenerateContentRequest": thing(
        {
            "contents": listed(_CONTENT, minItems=1),
            "systemInstruction": _CONTENT,
            "tools": listed(thing({"functionDeclarations": listed(thing({"name": text()}))})),
            "toolConfig": thing({}),
            "safetySettings": listed(thing({})),
            "generationConfig": thing(
                {
                    "temperature": number(0, 2),
                    "topP": number(0, 1),
                    "topK": whole(1),
                    "maxOutputTokens": whole(1),
                    "stopSequences": listed(text()),
                    "responseMimeType": text("`application/json`"),
                    "responseSchema": thing({}),
                    "candidateCount": whole(1, 8),
                    "thinkingConfig": thing({"thinkingBudget": whole(-1)}),
                }
            ),
        },
        "contents",
    ),
    "GenerateContentResponse": thing(
        {
            "candidates": listed(
                thing({"content": _CONTENT, "finishReason": text(), "index": whole(0)})
            ),
            "usageMetadata": thing(
                {
                    "promptTokenCount": whole(0),
                    "candidatesTokenCount": whole(0),
                    "totalTokenCount": whole(0),
                    "cost": number(0),
                }
            ),
            "modelVersion": text(),
        }
    ),
    "CountTokensRequest": thing(
        {
            "contents": listed(_CONTENT),
            "generateContentRequest": ref("GenerateContentRequest"),
        }
    ),
    "CountTokensResponse": thing({"totalTokens": whole(0)}, "totalTokens"),
    "EmbedContentRequest": thing(
        {
            "content": _CONTENT,
            "taskType": text(),
            "title": text(),
            "outputDimensionality": whole(1),
        },
        "content",
    ),
    "EmbedContentResponse": thing({"embedding": thing({"values": listed(number())})}, "embedding"),
    "BatchEmbedContentsRequest": thing(
        {
            "requests": listed(
                thing({"model": text("`models/…`, as in the URL."), "content": _CONTENT}, "content")
            )
        },
        "requests",
    ),
    "BatchEmbedContentsResponse": thing(
        {"embeddings": listed(thing({"values": listed(number())}))}, "embeddings"
    ),
    "PredictLongRunningRequest": thing(
        {
            "instances": listed(thing({"prompt": text()}, "prompt"), minItems=1, maxItems=1),
            "parameters": thing(
                {
                    "aspectRatio": text(),
                    "durationSeconds": either(whole(1), text()),
                    "resolution": text(),
                    "sampleCount": whole(1),
                    "negativePrompt": text(),
                }
            ),
        },
        "instances",
    ),
    "Operation": thing(
        {"name": text(), "done": anything(), "response": thing({}), "error": thing({})}, "name"
    ),
}


def _verb(
    verb: str, name: str, summary: str, asks: str, answers: Mapping[int, Answer], example: Example
) -> Row:
    return Row(
        "POST",
        _RULE,
        name,
        TAG,
        summary,
        answers,
        path=f"/{{version}}/{{of}}/{{model}}:{verb}",
        asks={JSON: ref(asks)},
        parameters=(ALT, IDEMPOTENCY) if verb.startswith("stream") else (IDEMPOTENCY,),
        examples=(example,),
        relays=True,
        refuses=(404,),
    )


_CHATTED: Final = {"model": "sim-gemini"}
_EMBEDDED: Final = {"model": "sim-gemini-embedding"}
_PLAIN: Final = {"content": {"parts": [{"text": "Hello"}]}}
_VERBS: Final = (
    _verb(
        "generateContent",
        "generateContent",
        "Answer contents.",
        "GenerateContentRequest",
        answers_json(ref("GenerateContentResponse"), "The answer."),
        Example("a text", _CONTENTS, path=_CHATTED),
    ),
    _verb(
        "streamGenerateContent",
        "streamGenerateContent",
        "Answer contents, as it is generated.",
        "GenerateContentRequest",
        {
            200: Answer(
                "The answer in parts.",
                {
                    JSON: listed(ref("GenerateContentResponse")),
                    EVENTS: anything("`data: {…}`, a `GenerateContentResponse` each."),
                },
            )
        },
        Example("a text", _CONTENTS, path=_CHATTED, query={"alt": "sse"}),
    ),
    _verb(
        "countTokens",
        "countTokens",
        "Count the tokens of contents.",
        "CountTokensRequest",
        answers_json(ref("CountTokensResponse"), "How many."),
        Example("a text", _CONTENTS, path=_CHATTED),
    ),
    _verb(
        "embedContent",
        "embedContent",
        "The vector of a content.",
        "EmbedContentRequest",
        answers_json(ref("EmbedContentResponse"), "The vector."),
        Example("a text", _PLAIN, path=_EMBEDDED),
    ),
    _verb(
        "batchEmbedContents",
        "batchEmbedContents",
        "The vectors of contents.",
        "BatchEmbedContentsRequest",
        answers_json(ref("BatchEmbedContentsResponse"), "The vectors."),
        Example(
            "two texts",
            {"requests": [{"model": "models/sim-gemini-embedding", **_PLAIN}] * 2},
            path=_EMBEDDED,
        ),
    ),
    _verb(
        "predictLongRunning",
        "predictLongRunning",
        "Have a video made.",
        "PredictLongRunningRequest",
        answers_json(ref("Operation"), "The operation, which goes on."),
        Example("a prompt", {"instances": [{"prompt": "A river"}]}, path={"model": "sim-video"}),
    ),
)


def at_versions(row: Row, *, of: tuple[str, ...] = ()) -> Iterator[Row]:
    """A row at each version of the API. Its rule and path hold `{version}`; `{of}` is what verbs
    are of."""
    for version in GEMINI_VERSIONS:
        for kind in of or ("",):
            main = version == GEMINI_VERSIONS[0] and kind in ("", "models")
            suffix = "" if main else f"_{version}" + ("_tuned" if kind == "tunedModels" else "")
            path = row.path and row.path.replace("{version}", version).replace("{of}", kind)
            yield replace(
                row,
                rule=row.rule.replace("{version}", version),
                path=path,
                name=row.name + suffix,
                tag=row.tag if main else OTHER_TAG,
                examples=row.examples if kind in ("", "models") else (),
            )


_SHOW_OPERATION: Final = Row(
    "GET",
    "/{version}/models/<path:model>/operations/<job_id>",
    "getOperation",
    TAG,
    "How a video is doing.",
    answers_json(ref("Operation"), "The operation; `done` once it has ended."),
    examples=(Example("one", path={"model": "sim-video"}),),
    refuses=(404,),
)

ROWS: Final = (
    *(each for verb in _VERBS for each in at_versions(verb, of=("models", "tunedModels"))),
    *at_versions(_SHOW_OPERATION),
)
