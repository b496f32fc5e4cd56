"""What known models can do: a table by protocol and model name, and what follows for a prompt.

The first row whose pattern begins the bare model name (lower case, without `openai/`,
`meta-llama/`, `models/`, `us.anthropic.`) counts; a protocol's last row holds what is true of all
its models. A trait without a source stays None: then it is sent, and the provider judges.

Sources: the model lists and the errors of recorded traffic, the providers' SDK types (`stop` and
`reasoning_effort` of OpenAI's, the deprecation lists and model literals of Anthropic's), the
providers' pages of their models, and of their endpoints for the inputs of one request (OpenAI:
2,048, Gemini's batchEmbedContents: 100, Cohere's embed: 96, Voyage: 1,000). A configured
`capabilities` table wins over a row, field by field.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Final

from engine.capabilities import UNKNOWN, Capabilities, Service
from engine.conversation import Effort, MediaKind
from engine.errors import InvalidRequestError

Row = tuple[str, Capabilities]

_TEXT: Final[frozenset[MediaKind]] = frozenset()
_IMAGES: Final[frozenset[MediaKind]] = frozenset({"image"})
_PAGES: Final[frozenset[MediaKind]] = frozenset({"image", "document"})
_SPOKEN: Final[frozenset[MediaKind]] = frozenset({"audio"})
_HEARD: Final[frozenset[MediaKind]] = frozenset({"image", "audio", "document"})
_ALL: Final[frozenset[MediaKind]] = frozenset({"image", "audio", "document", "video"})

_CHAT: Final[frozenset[Service]] = frozenset({"chat"})
_CHAT_AND_HEAR: Final[frozenset[Service]] = frozenset({"chat", "transcribe"})
_CHAT_AND_DRAW: Final[frozenset[Service]] = frozenset({"chat", "image"})


def _only(service: Service, media: frozenset[MediaKind] = _TEXT) -> Capabilities:
    """Of a model that does nothing else. How long one of its inputs may be is no limit of a whole
    request, so none has a window."""
    return Capabilities(media=media, serves=frozenset({service}))


_EMBED = _only("embed")

_LOW_TO_HIGH: Final[tuple[Effort, ...]] = ("low", "medium", "high")
_MINIMAL_TO_HIGH: Final[tuple[Effort, ...]] = ("minimal", "low", "medium", "high")
_NONE_TO_HIGH: Final[tuple[Effort, ...]] = ("none", "low", "medium", "high")
_EVERY_EFFORT: Final[tuple[Effort, ...]] = (
    "none", "minimal", "low", "medium", "high", "xhigh", "max",
)  # fmt: skip

# OpenAI. Models with vision take PDF files too; only the audio models hear, and those see nothing.
_GPT = Capabilities(
    media=_PAGES,
    tools=True,
    json_schema=True,
    reasoning="none",
    sampling=True,
    stop=True,
    system=True,
    context_window_tokens=128_000,
    output_max_tokens=16_384,
    serves=_CHAT,
)
_GPT_TEXT = replace(_GPT, media=_TEXT, json_schema=False)
_GPT_AUDIO = replace(_GPT, media=_SPOKEN, json_schema=False)
# Recorded of reasoning models: `stop` and `temperature` other than 1 are unsupported.
_O_SERIES = Capabilities(
    media=_PAGES,
    tools=True,
    json_schema=True,
    reasoning="effort",
    efforts=_LOW_TO_HIGH,
    reasoning_off=False,
    sampling=False,
    stop=False,
    system=True,
    context_window_tokens=200_000,
    output_max_tokens=100_000,
    serves=_CHAT,
)
_O1_SMALL = replace(
    _O_SERIES,
    media=_TEXT,
    tools=False,
    json_schema=False,
    reasoning="none",
    efforts=None,
    system=False,  # recorded: role 'developer' is unsupported; 'system' likewise
    context_window_tokens=128_000,
    output_max_tokens=65_536,
)
_GPT5 = replace(
    _O_SERIES,
    efforts=_MINIMAL_TO_HIGH,
    context_window_tokens=400_000,
    output_max_tokens=128_000,
)
# From 5.1 on thinking can be off, and then sampling is taken: unknown, since it depends.
_GPT51 = replace(_GPT5, efforts=_NONE_TO_HIGH, reasoning_off=True, sampling=None, stop=None)
_GPT52 = replace(_GPT51, efforts=(*_NONE_TO_HIGH, "xhigh"))
_GPT_NEWER = replace(_GPT52, efforts=None, context_window_tokens=None, output_max_tokens=None)

# Open weights and others behind OpenAI's protocol: media only where a family is known for it.
_OPEN_TEXT = Capabilities(media=_TEXT, system=True)
_OPEN_VISION = Capabilities(media=_IMAGES, system=True)

_OPENAI: tuple[Row, ...] = (
    ("sim-openai", replace(
        _GPT, media=_HEARD, reasoning="effort", efforts=_EVERY_EFFORT, reasoning_off=True,
        context_window_tokens=None, output_max_tokens=None, serves=None,
    )),
    # Models of OpenAI's other endpoints, its own first.
    (r"text-embedding-(3|ada)", replace(_EMBED, inputs_max=2_048)),
    (r"(gpt|chatgpt)-image", _only("image", _IMAGES)),
    (r"dall-e-2", _only("image", _IMAGES)),
    (r"dall-e", _only("image")),
    (r"sora-", _only("video", _IMAGES)),
    (r"grok-imagine-video", _only("video", _IMAGES)),
    (r"tts-1|gpt-4o-mini-tts", _only("speech")),
    (r"(gpt-4o(-mini)?|gpt)-transcribe|whisper|distil-whisper", _only("transcribe", _SPOKEN)),
    (r"omni-moderation", _only("moderate", _IMAGES)),
    (r"text-moderation", _only("moderate")),
    (r"mistral-moderation", _only("moderate")),
    (r"embed-(v\d|english|multilingual)", replace(_EMBED, media=None, inputs_max=96)),
    (r"voyage-", replace(_EMBED, media=None, inputs_max=1_000)),
    (r"rerank|jina-(reranker|colbert)|bge-reranker", replace(_only("rerank"), media=None)),
    (r"(mistral|codestral|nomic|mxbai|snowflake-arctic|jina|pplx|gemini|qwen3)-embed",
     replace(_EMBED, media=None)),
    (r"bge-(small|base|large|m3)|all-minilm|embeddinggemma", replace(_EMBED, media=None)),
    (r"orpheus|playai-tts|kokoro", _only("speech")),
    (r"voxtral.*(transcribe|realtime)|voxtral-mini-2602", _only("transcribe", _SPOKEN)),
    (r"gpt-4o(-mini)?-audio|gpt-audio", _GPT_AUDIO),
    (r"gpt-4o(-mini)?-search", replace(_GPT, media=_TEXT, tools=False, sampling=False)),
    (r"gpt-4o-2024-05-13", replace(_GPT, json_schema=False, output_max_tokens=4_096)),
    (r"gpt-4o|chatgpt-4o", _GPT),
    (r"gpt-4\.1", replace(_GPT, context_window_tokens=1_047_576, output_max_tokens=32_768)),
    (r"gpt-4\.5", _GPT),
    (r"gpt-4-(turbo-2024|turbo$|vision)", replace(
        _GPT, media=_IMAGES, json_schema=False, output_max_tokens=4_096,
    )),
    (r"gpt-4-(turbo|1106|0125)", replace(_GPT_TEXT, output_max_tokens=4_096)),
    (r"gpt-4-32k", replace(_GPT_TEXT, context_window_tokens=32_768, output_max_tokens=None)),
    (r"gpt-4($|-0|:)", replace(_GPT_TEXT, context_window_tokens=8_192, output_max_tokens=8_192)),
    (r"gpt-3\.5", replace(_GPT_TEXT, context_window_tokens=16_385, output_max_tokens=4_096)),
    (r"gpt-oss", replace(
        _OPEN_TEXT, tools=True, reasoning="effort", efforts=_LOW_TO_HIGH, reasoning_off=False,
        context_window_tokens=131_072,
    )),
    (r"o1-mini", _O1_SMALL),
    (r"o1-preview", replace(_O1_SMALL, output_max_tokens=32_768)),
    (r"o3-mini", replace(_O_SERIES, media=_TEXT)),
    (r"o[134]", _O_SERIES),
    (r"gpt-5(\.\d+)?-chat", replace(
        _GPT, reasoning=None, sampling=None, stop=None, tools=None,
    )),
    (r"gpt-5[.\d]*-image", replace(_GPT_NEWER, serves=_CHAT_AND_DRAW)),  # OpenRouter's
    (r"gpt-5(-mini|-nano|-codex|-2025|$)", _GPT5),
    (r"gpt-5-pro", replace(_GPT5, efforts=("high",), output_max_tokens=272_000)),
    (r"gpt-5\.1-codex-max", _GPT52),
    (r"gpt-5\.1", _GPT51),
    (r"gpt-5\.[2-5]", replace(_GPT52, context_window_tokens=None)),
    (r"gpt-[5-9]", _GPT_NEWER),
    # Google's and Anthropic's models behind OpenAI's protocol
    (r"claude-", replace(_OPEN_VISION, media=_PAGES, tools=True)),
    (r"gemini-", Capabilities(media=None, tools=True, system=True)),
    # Open-weight families
    (r"llama-?3\.2.*vision|llama-?4|llava", _OPEN_VISION),
    (r"(meta-)?llama-?[23]|codellama", replace(_OPEN_TEXT, reasoning="none")),
    (r"pixtral|mistral-(medium|small)|ministral", replace(_OPEN_VISION, media=_PAGES)),
    (r"(open-)?mi[sx]tral-(7b|nemo|8x|saba)|codestral|devstral", _OPEN_TEXT),
    (r"voxtral", replace(_OPEN_TEXT, media=_SPOKEN, serves=_CHAT_AND_HEAR)),
    # DeepSeek's own API: an image part is a 400.
    (r"deepseek-(chat|reasoner|r1|v3|v4)", _OPEN_TEXT),
    (r"qwen.*(omni)", Capabilities(system=True)),
    (r"qwen.*(vl|ocr)|qvq", _OPEN_VISION),
    (r"qwen-?[23](\.5)?([-:](\d|coder|next|max|instruct|thinking)|$)|qwq", _OPEN_TEXT),
    (r"grok-(2|3)(?!.*vision)", replace(_OPEN_TEXT, tools=True)),
    (r"grok-(4|.*vision)", replace(_OPEN_VISION, tools=True)),
    (r"(zai-)?glm-4\.\d+v", _OPEN_VISION),
    (r"(zai-)?glm-(4\.[5-7]|5)(?!.*v)", _OPEN_TEXT),
    (r"gemma-?3:?-?(1b|270m)", _OPEN_TEXT),
    (r"gemma-?3", _OPEN_VISION),
)  # fmt: skip

# Anthropic. PDF and plain-text documents are for all; none hears or watches. The default of
# `max_tokens` is the model's limit, so a limit stands in every row.
_CLAUDE = Capabilities(
    media=_PAGES,
    tools=True,
    json_schema=False,
    reasoning="none",
    sampling=True,
    stop=True,
    prefill=True,
    system=True,
    context_window_tokens=200_000,
    output_max_tokens=4_096,
    serves=_CHAT,
)
_CLAUDE_BUDGET = replace(
    _CLAUDE,
    reasoning="budget",
    reasoning_off=True,
    reasoning_budget_max=63_999,
    output_max_tokens=64_000,
)
_CLAUDE_OPUS4 = replace(_CLAUDE_BUDGET, reasoning_budget_max=31_999, output_max_tokens=32_000)
# Recorded of Opus 4.6: "Supported levels: high, low, max, medium." It still takes temperature.
_CLAUDE_46 = replace(
    _CLAUDE_BUDGET,
    json_schema=True,
    reasoning="adaptive",
    efforts=("low", "medium", "high", "max"),
    prefill=False,
    context_window_tokens=1_000_000,
)
# From Opus 4.7 on a budget and sampling other than the default are refused.
_CLAUDE_NEWER = replace(
    _CLAUDE_46,
    efforts=("low", "medium", "high", "xhigh", "max"),
    reasoning_off=None,
    reasoning_budget_max=None,
    sampling=False,
    context_window_tokens=None,
)

_ANTHROPIC: tuple[Row, ...] = (
    ("sim-anthropic", replace(_CLAUDE_BUDGET, json_schema=True, serves=None)),
    (r"claude-(2|instant)", replace(
        _CLAUDE, media=_TEXT, tools=False, context_window_tokens=None,
    )),
    (r"claude-3[.-]7", _CLAUDE_BUDGET),
    (r"claude-3[.-]5", replace(_CLAUDE, output_max_tokens=8_192)),
    (r"claude-3", _CLAUDE),
    (r"claude-(opus-4[.-]1|4[.-]1-opus)", replace(_CLAUDE_OPUS4, json_schema=True)),
    # Opus 4.5 has both a budget and efforts; with the latter its thinking is bounded already.
    (r"claude-(opus-4[.-]5|4[.-]5-opus)", replace(_CLAUDE_BUDGET, json_schema=True)),
    (r"claude-opus-4[.-]6", replace(_CLAUDE_46, output_max_tokens=128_000)),
    (r"claude-sonnet-4[.-]6", _CLAUDE_46),
    (r"claude-opus-4[.-][7-9](?!\d)", replace(_CLAUDE_NEWER, output_max_tokens=128_000)),
    (r"claude-(opus|sonnet|haiku)-4[.-][7-9](?!\d)", _CLAUDE_NEWER),
    (r"claude-(sonnet|haiku)-4[.-]5", replace(_CLAUDE_BUDGET, json_schema=True)),
    (r"claude-(opus-4|4-opus)", _CLAUDE_OPUS4),
    (r"claude-(sonnet-4|4-sonnet)", _CLAUDE_BUDGET),
    (r"claude-(opus|sonnet|haiku|fable|mythos)-([5-9]|preview)", _CLAUDE_NEWER),
    # Others that speak this protocol, e.g. DeepSeek's: nothing but what it has words for.
    (r"", Capabilities(media=_PAGES)),
)  # fmt: skip

# Gemini: every generateContent model sees, hears, reads and watches, unless its row says less.
_GEMINI_20 = Capabilities(
    media=_ALL,
    tools=True,
    json_schema=True,
    reasoning="none",
    sampling=True,
    stop=True,
    prefill=True,
    system=True,
    context_window_tokens=1_048_576,
    output_max_tokens=8_192,
    serves=_CHAT_AND_HEAR,
)
_GEMINI_25 = replace(
    _GEMINI_20,
    reasoning="budget",
    reasoning_off=True,
    reasoning_budget_max=24_576,
    output_max_tokens=65_536,
)
# Recorded: Gemini 3 takes a budget as well, but not together with a level.
_GEMINI_3 = replace(
    _GEMINI_25,
    reasoning="level",
    efforts=_MINIMAL_TO_HIGH,
    reasoning_off=False,
    reasoning_budget_max=None,
)
_GEMINI_ARTIST = replace(
    _GEMINI_20,
    media=_PAGES,
    tools=False,
    json_schema=None,
    output_max_tokens=32_768,
    serves=_CHAT_AND_DRAW,
)

_GEMINI: tuple[Row, ...] = (
    ("sim-gemini", replace(_GEMINI_3, serves=None)),
    (r"gemini-embedding-2", replace(_EMBED, media=None, inputs_max=100)),
    (r"gemini-embedding|text-embedding-00|embedding-001", replace(_EMBED, inputs_max=100)),
    (r"gemini-.*-tts", replace(
        _GEMINI_20, media=_TEXT, tools=False, json_schema=False, reasoning=None,
        context_window_tokens=8_192, output_max_tokens=16_384, serves=frozenset({"speech"}),
    )),
    (r"veo-", _only("video", _IMAGES)),
    (r"gemini-2.*-image", replace(_GEMINI_ARTIST, context_window_tokens=32_768)),
    (r"gemini-.*-image|nano-banana", replace(
        _GEMINI_ARTIST, reasoning=None, tools=None, context_window_tokens=None,
    )),
    (r"gemini-1\.5", _GEMINI_20),
    (r"gemini-2\.0", _GEMINI_20),
    (r"gemini-2\.5-pro", replace(_GEMINI_25, reasoning_off=False, reasoning_budget_max=32_768)),
    (r"gemini-2\.5", _GEMINI_25),
    (r"gemini-3-pro", replace(_GEMINI_3, efforts=("low", "high"))),
    (r"gemini-3\.1-pro", replace(_GEMINI_3, efforts=_LOW_TO_HIGH)),
    (r"gemini-[3-9]", _GEMINI_3),
    # `gemini-flash-latest` and the like move from one generation to the next.
    (r"gemini-", replace(
        _GEMINI_25, reasoning=None, reasoning_off=None, reasoning_budget_max=None,
    )),
    (r"gemma-3", Capabilities(media=_IMAGES, tools=False, reasoning="none", system=False)),
)  # fmt: skip

TABLE: Final[Mapping[str, tuple[Row, ...]]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
}
"""By the protocol of the provider, as its configuration calls it."""

_COMPILED = {
    protocol: tuple((re.compile(pattern), row) for pattern, row in rows)
    for protocol, rows in TABLE.items()
}
_OPENAI_NAMES = frozenset({"openai_chat", "openai-responses", "openai_responses"})
_CLOUD_PREFIX = re.compile(r"(?:[a-z-]+\.)?anthropic\.")


def capabilities_of(
    provider_protocol: str, upstream_model: str, configured: Capabilities | None = None
) -> Capabilities:
    """What a model can do: its row, and over it what the configuration says.

    Args:
        provider_protocol: `openai`, `openai-responses` (or the codecs' names), `anthropic`,
            `gemini`.

    >>> capabilities_of("openai", "openai/gpt-4o-mini").stop
    True
    """
    name = _bare(upstream_model)
    rows = _COMPILED.get("openai" if provider_protocol in _OPENAI_NAMES else provider_protocol, ())
    row = next((row for pattern, row in rows if pattern.match(name)), UNKNOWN)
    if configured is None:
        return row
    said = {f.name: getattr(configured, f.name) for f in fields(configured)}
    return replace(row, **{name: value for name, value in said.items() if value is not None})


def _bare(model: str) -> str:
    return _CLOUD_PREFIX.sub("", model.lower().rpartition("/")[2], count=1)


class UnsupportedMediaError(InvalidRequestError):
    """The prompt holds media that the model does not take (400)."""

    def __init__(self, kind: MediaKind, model: str) -> None:
        plural = kind if kind in ("audio", "video") else f"{kind}s"
        hint = "; send it to /v1/audio/transcriptions for its text" if kind == "audio" else ""
        super().__init__(f"the model '{model}' does not take {plural}{hint}")
        self.code = f"{plural}_not_supported_by_model"


def check_media(media: Collection[MediaKind], capabilities: Capabilities, model: str) -> None:
    """Refuse media that a model is known not to take; `model` is its name for the client.

    Raises:
        UnsupportedMediaError: with a code for each kind, e.g. `audio_not_supported_by_model`.
    """
    if capabilities.media is None:
        return
    for kind in sorted(media):
        if kind not in capabilities.media:
            raise UnsupportedMediaError(kind, model)
