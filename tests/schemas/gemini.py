"""The closed schema of Gemini generateContent requests, from the SDK's types.

The SDK has no type of the request as it is sent; its top level is written here after what its
`_GenerateContentParameters_to_mldev` writes, and so are the fields that only Vertex AI knows.
"""

from __future__ import annotations

from typing import Any, Required, TypedDict

from google.genai import types
from google.genai._common import BaseModel

from tests.schemas.closed import Schema


class GenerateContentRequest(TypedDict, total=False):
    """The body of `:generateContent` and `:streamGenerateContent`."""

    contents: Required[list[types.Content]]
    systemInstruction: types.Content
    tools: list[types.Tool]
    toolConfig: types.ToolConfig
    safetySettings: list[types.SafetySetting]
    generationConfig: GenerationConfig
    cachedContent: str
    serviceTier: types.ServiceTier
    store: bool
    labels: dict[str, str]


class GenerationConfig(TypedDict, total=False):
    """How to generate: what the SDK's `_GenerateContentConfig_to_mldev` writes."""

    temperature: float
    topP: float
    topK: float
    candidateCount: int
    maxOutputTokens: int
    stopSequences: list[str]
    responseLogprobs: bool
    logprobs: int
    presencePenalty: float
    frequencyPenalty: float
    seed: int
    responseMimeType: str
    responseSchema: types.Schema
    responseJsonSchema: Any
    responseModalities: list[types.Modality]
    mediaResolution: types.MediaResolution
    speechConfig: types.SpeechConfig
    thinkingConfig: types.ThinkingConfig
    imageConfig: types.ImageConfig
    enableEnhancedCivicAnswers: bool
    audioTranscriptionConfig: types.AudioTranscriptionConfig
    continuationToken: str


# Fields that the SDK refuses for the Gemini API ("only supported in ... Enterprise").
_ABSENT: dict[object, frozenset[str]] = {
    types.FunctionCall: frozenset({"partialArgs", "willContinue"}),
    types.FunctionCallingConfig: frozenset({"streamFunctionCallArguments"}),
    types.SafetySetting: frozenset({"method"}),
    types.Tool: frozenset({"retrieval", "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch"}),
    types.ImageConfig: frozenset(
        {
            "personGeneration",
            "prominentPeople",
            "outputMimeType",
            "outputCompressionQuality",
            "imageOutputOptions",
        }
    ),
    GenerateContentRequest: frozenset({"labels"}),
}
_STRICT = Schema(GenerateContentRequest, absent=_ABSENT, models=BaseModel)
_CLIENT = Schema(GenerateContentRequest, models=BaseModel, lenient=True)


def problems(body: dict[str, Any]) -> list[str]:
    """What the Gemini API would not know in a request, or only in another spelling."""
    return _STRICT.problems(body)


def client_problems(body: dict[str, Any]) -> list[str]:
    """The same for what clients send: snake_case too, and to Vertex AI."""
    return _CLIENT.problems(body)
