"""The body of a generateContent request as closed shapes, as the types of Google's SDK have it.

Both spellings of a key are read, `camelCase` and `snake_case`; what comes out is camelCase. The
keys of arguments, results, labels and JSON schemas are the client's own and stay as they are.
"""

from __future__ import annotations

import re
from typing import Final

from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    Path,
    Shape,
    anything,
    array,
    either,
    integer,
    literal,
    number,
    record,
    table,
    text,
)

NAME_PATTERN: Final = r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}"
STOPS_MAX: Final = 5
CANDIDATES_MAX: Final = 8
_SNAKE: Final = re.compile(r"_([a-z0-9])")


def camel(name: str) -> str:
    """`max_output_tokens` → `maxOutputTokens`."""
    return _SNAKE.sub(lambda found: found[1].upper(), name)


def _record(fields: dict[str, Shape], *required: str) -> Shape:
    return record(fields, *required, spelled=camel)


def one_or_more(item: Shape) -> Shape:
    """A list, or one item in the place of it."""
    listed = array(item)
    return lambda path, value: listed(path, [value] if isinstance(value, dict) else value)


_SECONDS: Final = text(r"\d+(\.\d+)?s")
_BYTES: Final = text(r"[A-Za-z0-9+/_-]*={0,2}")
_MIME: Final = text(r"[^/\s]+/[^\s].*")
_RESOLUTION: Final = _record({"level": TEXT, "numTokens": integer(0)})
_BLOB: Final = _record({"mimeType": _MIME, "data": _BYTES, "displayName": TEXT}, "mimeType", "data")
_FILE: Final = _record({"mimeType": TEXT, "fileUri": TEXT, "displayName": TEXT}, "fileUri")
_VIDEO: Final = _record(
    {
        "startOffset": _SECONDS,
        "endOffset": _SECONDS,
        "fps": number(0, 24),
        "contentLayers": array(anything),
    }
)
FUNCTION_CALL: Final = _record({"id": TEXT, "name": text(NAME_PATTERN), "args": MAPPING}, "name")
FUNCTION_RESPONSE: Final = _record(
    {
        "id": TEXT,
        "name": text(NAME_PATTERN),
        "response": MAPPING,
        "parts": array(_record({"inlineData": _BLOB, "fileData": _FILE})),
        "scheduling": TEXT,
        "willContinue": BOOLEAN,
    },
    "name",
    "response",
)
PART_DATA: Final[dict[str, Shape]] = {
    "text": TEXT,
    "inlineData": _BLOB,
    "fileData": _FILE,
    "functionCall": FUNCTION_CALL,
    "functionResponse": FUNCTION_RESPONSE,
    "executableCode": _record({"id": TEXT, "code": TEXT, "language": TEXT}, "code"),
    "codeExecutionResult": _record({"id": TEXT, "outcome": TEXT, "output": TEXT}, "outcome"),
    "toolCall": _record({"id": TEXT, "toolType": TEXT, "args": MAPPING}),
    "toolResponse": _record({"id": TEXT, "toolType": TEXT, "response": MAPPING}),
}
"""The one-of of a part."""
PART: Final = _record(
    PART_DATA
    | {
        "thought": BOOLEAN,
        "thoughtSignature": _BYTES,
        "videoMetadata": _VIDEO,
        "mediaResolution": _RESOLUTION,
        "mediaProcessing": anything,
        "partMetadata": MAPPING,
        "audioTranscription": MAPPING,
        "speechMetadata": MAPPING,
        "documentMetadata": MAPPING,
        "spreadsheetMetadata": MAPPING,
        "audioMetadata": MAPPING,
    }
)
_CONTENT: Final = {"role": TEXT, "parts": array(PART)}
CONTENT: Final = _record(_CONTENT)
CONTENTS: Final = array(CONTENT)

_SIZE: Final = either(string=text(r"\d+"), number=integer(0))
_TYPE: Final = literal(
    "TYPE_UNSPECIFIED",
    "STRING",
    "NUMBER",
    "INTEGER",
    "BOOLEAN",
    "ARRAY",
    "OBJECT",
    "NULL",
    lowered=True,
)


def schema(path: Path, value: object) -> object:
    """Gemini's subset of OpenAPI, which is not JSON schema: no `$ref`, no `oneOf`, one type."""
    return _SCHEMA(path, value)


_SCHEMA: Final = _record(
    {
        "type": _TYPE,
        "format": TEXT,
        "title": TEXT,
        "description": TEXT,
        "nullable": BOOLEAN,
        "default": anything,
        "example": anything,
        "enum": array(TEXT),
        "items": schema,
        "minItems": _SIZE,
        "maxItems": _SIZE,
        "properties": table(schema),
        "propertyOrdering": array(TEXT),
        "required": array(TEXT),
        "minProperties": _SIZE,
        "maxProperties": _SIZE,
        "minimum": number(),
        "maximum": number(),
        "minLength": _SIZE,
        "maxLength": _SIZE,
        "pattern": TEXT,
        "anyOf": array(schema),
    }
)
DECLARATION: Final = _record(
    {
        "name": text(NAME_PATTERN),
        "description": TEXT,
        "parameters": schema,
        "parametersJsonSchema": anything,
        "response": schema,
        "responseJsonSchema": anything,
        "behavior": TEXT,
    },
    "name",
)
_RETRIEVAL: Final = _record(
    {"dynamicRetrievalConfig": _record({"mode": TEXT, "dynamicThreshold": number()})}
)
TOOL: Final = _record(
    {
        "functionDeclarations": array(DECLARATION),
        "googleSearch": _record({"searchTypes": MAPPING, "timeRangeFilter": MAPPING}),
        "googleSearchRetrieval": _RETRIEVAL,
        "codeExecution": _record({}),
        "urlContext": _record({}),
        "googleMaps": _record({"enableWidget": BOOLEAN}),
        "computerUse": MAPPING,
        "fileSearch": _record(
            {"fileSearchStoreNames": array(TEXT), "topK": integer(1), "metadataFilter": TEXT}
        ),
        "mcpServers": array(MAPPING),
    }
)
_CALLING: Final = _record(
    {
        "mode": literal("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED", lowered=True),
        "allowedFunctionNames": array(TEXT),
    }
)
_PLACE: Final = _record({"latitude": number(-90, 90), "longitude": number(-180, 180)})
TOOL_CONFIG: Final = _record(
    {
        "functionCallingConfig": _CALLING,
        "retrievalConfig": _record({"latLng": _PLACE, "languageCode": TEXT}),
        "includeServerSideToolInvocations": BOOLEAN,
    }
)
THINKING: Final = _record(
    {
        "includeThoughts": BOOLEAN,
        "thinkingBudget": integer(-1, 32_768),
        "thinkingLevel": literal(
            "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", lowered=True
        ),
    }
)
GENERATION_CONFIG: Final = _record(
    {
        "candidateCount": integer(1, CANDIDATES_MAX),
        "stopSequences": array(TEXT, high=STOPS_MAX),
        "maxOutputTokens": integer(1),
        "temperature": number(0, 2),
        "topP": number(0, 1),
        "topK": number(0),
        "seed": integer(-(2**31), 2**31 - 1),
        "responseMimeType": literal("text/plain", "application/json", "text/x.enum"),
        "responseSchema": schema,
        "responseJsonSchema": anything,
        "presencePenalty": number(-2, 2),
        "frequencyPenalty": number(-2, 2),
        "responseLogprobs": BOOLEAN,
        "logprobs": integer(0, 20),
        "enableEnhancedCivicAnswers": BOOLEAN,
        "responseModalities": array(
            literal("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO", lowered=True)
        ),
        "speechConfig": MAPPING,
        "thinkingConfig": THINKING,
        "imageConfig": MAPPING,
        "mediaResolution": TEXT,
        "enableAffectiveDialog": BOOLEAN,
        "modelSelectionConfig": MAPPING,
        "responseFormat": anything,
        "translationConfig": MAPPING,
        "audioTranscriptionConfig": MAPPING,
    }
)
SAFETY: Final = _record({"category": TEXT, "threshold": TEXT}, "category", "threshold")
FIELDS: Final[dict[str, Shape]] = {
    "model": TEXT,
    "contents": CONTENTS,
    "systemInstruction": CONTENT,
    "tools": one_or_more(TOOL),
    "toolConfig": TOOL_CONFIG,
    "safetySettings": one_or_more(SAFETY),
    "generationConfig": GENERATION_CONFIG,
    "cachedContent": text(r"cachedContents/.+"),
    "serviceTier": TEXT,
    "store": BOOLEAN,
}
REQUEST: Final = _record(FIELDS, "contents")
COUNT_REQUEST: Final = _record({"contents": CONTENTS, "generateContentRequest": REQUEST})
