"""Requests as canonical conversations, for properties: what a protocol can say.

`conversations(protocol)` draws valid ones. `normal` is what two conversations share that ask the
same of a protocol: what it cannot tell apart is made one.
"""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from hypothesis import strategies as st

from engine.conversation import (
    CacheHint,
    Conversation,
    Effort,
    JsonObject,
    JsonSchema,
    Media,
    MediaKind,
    Part,
    Reasoning,
    ReasoningRequest,
    Refusal,
    Signature,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

ALPHANUMERIC = string.ascii_letters + string.digits
_SMALL = string.ascii_lowercase


def ids(prefix: str, characters: str, least: int, most: int) -> st.SearchStrategy[str]:
    """As `from_regex` of the same would draw them, for less."""
    return st.text(characters, min_size=least, max_size=most).map(prefix.__add__)


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, for caches
class Profile:
    """What a protocol can ask.

    Attributes:
        scalars: its fields of `Conversation` that are plain values, with what they may be.
        reasoning: how thinking is asked for.
        media: kinds and their types; a URL may stand for those in `urls`.
        result_media: kinds that a tool's result may hold.
        thoughts: the issuer of signed thinking in old turns; `signed_calls`: calls are signed.
        names: of users. refusals: a turn of its own kind. objects: arguments are JSON objects.
        cache: hints are said. errors: a result says that it is one. strict: of tools.
        json_object: any JSON may be asked for. schema_names: schemas have names.
        choice_names: how many tools a choice may be restricted to.
        call_id: its ids.
    """

    scalars: Mapping[str, st.SearchStrategy[Any]]
    reasoning: st.SearchStrategy[ReasoningRequest]
    media: Mapping[MediaKind, tuple[str, ...]]
    urls: frozenset[MediaKind]
    result_media: frozenset[MediaKind]
    thoughts: str | None
    signed_calls: bool
    names: bool
    refusals: bool
    objects: bool
    cache: bool
    errors: bool
    json_object: bool
    schema_names: bool
    strict: bool
    choice_names: int
    call_id: st.SearchStrategy[str]


_TEXTS = st.text(min_size=1, max_size=12).filter(str.strip) | st.sampled_from(
    ["x \u2028\u2029\x85 y", "data: [DONE]\n\nx", "é€𝄞", '"}\r\n\r\n', "\\ud800", "\x00\x7f"]
)
_NAMES = st.builds(
    "".join,
    st.tuples(st.sampled_from(_SMALL), st.text(_SMALL + string.digits + "_", max_size=12)),
)
_BASE64 = st.sampled_from(["QUJD", "+/8=", "AAECAwQFBgc="])
_SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXTS
_OBJECTS = st.dictionaries(
    _NAMES,
    st.recursive(
        _SCALARS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)
_SCHEMAS = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(
            _NAMES, st.sampled_from([{"type": "string"}, {"type": "integer", "minimum": 1}]),
            min_size=1, max_size=2,
        ),
        "additionalProperties": st.just(False),
    }
)  # fmt: skip
_BOOLEANS = st.booleans()
_UNIT = st.floats(0, 1).map(lambda value: round(value, 3))
_PENALTY = st.sampled_from([-2.0, -0.5, 0.25, 2.0])
_PLAIN_CHOICES = st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")])
_LIMIT = st.integers(1, 100_000)
_SIGNED = st.integers(-(2**31), 2**31 - 1)


def _stops(most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(_TEXTS, min_size=1, max_size=most, unique=True).map(tuple)


def _efforts(*efforts: Effort) -> st.SearchStrategy[ReasoningRequest]:
    return st.sampled_from([ReasoningRequest(effort=effort) for effort in efforts])


PROFILES: dict[str, Profile] = {
    "openai_chat": Profile(
        scalars={
            "choices": st.integers(2, 8),
            "max_output_tokens": _LIMIT,
            "temperature": st.sampled_from([0.0, 0.5, 2.0]),
            "top_p": _UNIT,
            "stop": _stops(4),
            "seed": _SIGNED,
            "presence_penalty": _PENALTY,
            "frequency_penalty": _PENALTY,
            "top_logprobs": st.integers(0, 20),
            "verbosity": st.sampled_from(["low", "medium", "high"]),
            "end_user": _NAMES,
            "metadata": st.dictionaries(_NAMES, _TEXTS, min_size=1, max_size=2),
            "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        },
        reasoning=_efforts("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        media={
            "image": ("image/png", "image/jpeg"),
            "audio": ("audio/wav", "audio/mpeg"),
            "document": ("application/pdf",),
        },
        urls=frozenset({"image"}),
        result_media=frozenset(),
        thoughts=None,
        signed_calls=False,
        names=True,
        refusals=True,
        objects=False,
        cache=False,
        errors=False,
        json_object=True,
        schema_names=True,
        strict=True,
        choice_names=3,
        call_id=ids("call_", ALPHANUMERIC, 4, 12),
    ),
    "openai_responses": Profile(
        scalars={
            "max_output_tokens": st.integers(16, 100_000),
            "temperature": st.sampled_from([0.0, 0.5, 2.0]),
            "top_p": _UNIT,
            "top_logprobs": st.integers(0, 20),
            "verbosity": st.sampled_from(["low", "medium", "high"]),
            "end_user": _NAMES,
            "metadata": st.dictionaries(_NAMES, _TEXTS, min_size=1, max_size=2),
            "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        },
        reasoning=_efforts("none")
        | st.builds(
            ReasoningRequest,
            effort=st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"]),
            visible=st.sampled_from([None, True]),
        ),
        media={"image": ("image/png", "image/jpeg"), "document": ("application/pdf",)},
        urls=frozenset({"image", "document"}),
        result_media=frozenset({"image", "document"}),
        thoughts="openai_responses",
        signed_calls=False,
        names=False,
        refusals=True,
        objects=False,
        cache=False,
        errors=False,
        json_object=True,
        schema_names=True,
        strict=True,
        choice_names=3,
        call_id=ids("call_", ALPHANUMERIC, 4, 12),
    ),
    "anthropic": Profile(
        scalars={
            "temperature": _UNIT,
            "top_p": _UNIT,
            "top_k": st.integers(1, 500),
            "stop": _stops(6),
            "end_user": _NAMES,
        },
        reasoning=st.builds(ReasoningRequest, budget_tokens=st.integers(1_024, 32_000))
        | st.builds(
            ReasoningRequest,
            adaptive=st.just(True),
            effort=st.sampled_from([None, "low", "medium", "high", "xhigh", "max"]),
        ),
        media={
            "image": ("image/png", "image/jpeg", "image/gif", "image/webp"),
            "document": ("application/pdf",),
        },
        urls=frozenset({"image", "document"}),
        result_media=frozenset({"image", "document"}),
        thoughts="anthropic",
        signed_calls=False,
        names=False,
        refusals=False,
        objects=True,
        cache=True,
        errors=True,
        json_object=False,
        schema_names=False,
        strict=True,
        choice_names=1,
        call_id=ids("toolu_", ALPHANUMERIC, 4, 12),
    ),
    "gemini": Profile(
        scalars={
            "choices": st.integers(2, 8),
            "max_output_tokens": _LIMIT,
            "temperature": st.sampled_from([0.0, 0.5, 2.0]),
            "top_p": _UNIT,
            "top_k": st.integers(1, 500),
            "stop": _stops(5),
            "seed": _SIGNED,
            "presence_penalty": _PENALTY,
            "frequency_penalty": _PENALTY,
            "top_logprobs": st.integers(0, 20),
            "modalities": st.sampled_from([("text", "image"), ("audio",)]),
        },
        reasoning=st.builds(
            ReasoningRequest,
            budget_tokens=st.sampled_from([-1, 0, 512, 24_576]),
            visible=st.sampled_from([None, True, False]),
        ),
        media={
            "image": ("image/png", "image/heic"),
            "audio": ("audio/wav", "audio/flac"),
            "document": ("application/pdf",),
            "video": ("video/mp4",),
        },
        urls=frozenset({"image", "audio", "document", "video"}),
        result_media=frozenset(),
        thoughts=None,
        signed_calls=True,
        names=False,
        refusals=False,
        objects=True,
        cache=False,
        errors=True,
        json_object=True,
        schema_names=False,
        strict=False,
        choice_names=3,
        call_id=ids("", _SMALL + string.digits, 8, 8),
    ),
}


# What is made for each draw is looked through and validated each time: that took half of the time
# of these tests. So whatever can be made once is.


@lru_cache(maxsize=1_000, typed=True)  # 0 and False are not the same
def _one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@cache
def _hintless(profile: Profile) -> Profile:
    return replace(profile, cache=False)


@cache
def _hints(profile: Profile) -> st.SearchStrategy[CacheHint | None]:
    hints: list[CacheHint | None] = [None, None, CacheHint(), CacheHint("5m"), CacheHint("1h")]
    return st.sampled_from(hints) if profile.cache else st.none()


@cache
@st.composite
def _media(draw: st.DrawFn, profile: Profile, kinds: frozenset[MediaKind]) -> Media:
    kind = draw(_one_of(*sorted(kinds)))
    mime_type = draw(_one_of(*profile.media[kind]))
    name = "terms.pdf" if kind == "document" and profile.schema_names else None
    detail = "high" if kind == "image" and profile.schema_names and draw(_BOOLEANS) else None
    if kind in profile.urls and draw(_BOOLEANS):
        # Gemini is told the type; what else is called a document at an address is a PDF.
        typed = mime_type if profile is PROFILES["gemini"] or kind == "document" else None
        url = f"https://example.com/{draw(_NAMES)}"
        return Media(kind, typed, url=url, detail=detail, cache=draw(_hints(profile)))
    data = draw(_BASE64)
    return Media(kind, mime_type, data=data, name=name, detail=detail, cache=draw(_hints(profile)))


@cache
def _text(profile: Profile) -> st.SearchStrategy[Text]:
    return st.builds(Text, _TEXTS, cache=_hints(profile))


@cache
def _arguments(profile: Profile) -> st.SearchStrategy[str]:
    objects = _OBJECTS.map(json.dumps)
    return objects if profile.objects else objects | _TEXTS


@cache
def _user(profile: Profile) -> st.SearchStrategy[list[Part]]:
    media = _media(profile, frozenset(profile.media))
    return st.lists(_text(profile) | media, min_size=1, max_size=3)


@cache
def _tools(profile: Profile) -> st.SearchStrategy[list[Tool]]:
    return st.lists(_tool(profile), max_size=3, unique_by=lambda tool: tool.name)


@cache
def _system(profile: Profile) -> st.SearchStrategy[list[Text]]:
    return st.lists(_text(profile), min_size=1, max_size=2)


@cache
def _fields(profile: Profile) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict(profile.scalars))


def _rounds(draw: st.DrawFn, profile: Profile, number: int, tools: list[str]) -> list[Turn]:
    """A user's turn and the assistant's, with calls maybe, which the next user's turn answers."""
    user = draw(_user(profile))
    said: list[Part] = []
    if profile.thoughts is not None and draw(_BOOLEANS):
        secret = Signature(profile.thoughts, draw(_NAMES))
        redacted = draw(_BOOLEANS)
        said.append(Reasoning("" if redacted else draw(_TEXTS), secret, redacted=redacted))
    said.append(Refusal(draw(_TEXTS)) if profile.refusals and draw(_BOOLEANS) else Text("Yes."))
    name = draw(_NAMES) if profile.names and draw(_BOOLEANS) else None
    turns = [Turn("user", tuple(user), name)]
    results: list[Part] = []
    calling: bool = draw(_BOOLEANS)
    if tools and calling:
        for index in range(draw(_one_of(1, 2, 3))):
            call_id = f"{draw(profile.call_id)}{number}{index}"
            tool = draw(_one_of(*tools))
            signed: bool = draw(_BOOLEANS)
            signature = None
            if profile.signed_calls and signed:
                signature = Signature("gemini", draw(_BASE64))
            hint = draw(_hints(profile))
            said.append(ToolCall(call_id, tool, draw(_arguments(profile)), signature, hint))
            results.append(_results(draw, profile, call_id, tool))
    turns.append(Turn("assistant", tuple(said)))
    if results:
        turns.append(Turn("user", tuple(results)))
        if draw(_BOOLEANS):
            turns.append(Turn("assistant", (Text("Done."),)))
    return turns


def _results(draw: st.DrawFn, profile: Profile, call_id: str, tool: str) -> ToolResult:
    content: list[Text | Media] = [draw(_text(_hintless(profile)))]
    shown: bool = draw(_BOOLEANS)
    if profile.result_media and shown:
        content.append(draw(_media(_hintless(profile), profile.result_media)))
    failed = profile.errors and draw(_BOOLEANS)
    return ToolResult(call_id, tuple(content), failed, tool, draw(_hints(profile)))


@cache
def _tool(profile: Profile) -> st.SearchStrategy[Tool]:
    return st.builds(
        Tool,
        _NAMES,
        description=st.none() | _TEXTS,
        parameters=st.none() | _SCHEMAS,
        strict=st.sampled_from([None, True, False]) if profile.strict else st.none(),
        cache=_hints(profile),
    )


def _choices(draw: st.DrawFn, profile: Profile, tools: list[str]) -> ToolChoice:
    if draw(_BOOLEANS):
        most = min(profile.choice_names, len(tools))
        names = draw(st.lists(st.sampled_from(tools), min_size=1, max_size=most, unique=True))
        return ToolChoice("required", tuple(names))
    choice: ToolChoice = draw(_PLAIN_CHOICES)
    return choice


@cache
@st.composite
def conversations(draw: st.DrawFn, protocol: str) -> Conversation:
    """A request of what the protocol can say."""
    profile = PROFILES[protocol]
    tools = draw(_tools(profile))
    names = [tool.name for tool in tools]
    turns: list[Turn] = []
    if draw(_BOOLEANS):
        turns.append(Turn("system", tuple(draw(_system(profile)))))
    for number in range(draw(_one_of(0, 1, 2))):
        turns += _rounds(draw, profile, number, names)
    turns.append(Turn("user", (draw(_text(profile)),)))
    fields = draw(_fields(profile))
    if protocol == "anthropic":
        fields["max_output_tokens"] = draw(st.integers(40_000, 60_000))
    choosing: bool = draw(_BOOLEANS)
    if names and choosing:
        fields["tool_choice"] = _choices(draw, profile, names)
        if protocol != "gemini" and fields["tool_choice"].mode != "none":
            fields["parallel_tool_calls"] = draw(_one_of(None, False))
    thinking: bool = draw(_BOOLEANS)
    if thinking and not (protocol == "anthropic" and _goes_on_without_thoughts(turns)):
        fields["reasoning"] = draw(profile.reasoning)
        if protocol == "anthropic":  # thinking allows no other temperature, no top_k
            fields = {k: v for k, v in fields.items() if k not in ("temperature", "top_p", "top_k")}
            fields.pop("tool_choice", None)
            fields.pop("parallel_tool_calls", None)
    if draw(_BOOLEANS):
        fields["output_format"] = _formats(draw, profile)
    return Conversation(turns=merged(turns), tools=tuple(tools), **fields)


def _goes_on_without_thoughts(turns: list[Turn]) -> bool:
    """Whether calls are being answered that were made without thinking, so that Anthropic takes no
    budget for more of it."""
    last = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    return last is not None and not isinstance(last.parts[0], Reasoning)


def _formats(draw: st.DrawFn, profile: Profile) -> JsonObject | JsonSchema:
    if profile.json_object and draw(_BOOLEANS):
        return JsonObject()
    schema = draw(_SCHEMAS)
    if not profile.schema_names:
        return JsonSchema(schema)
    return JsonSchema(
        schema, draw(_NAMES), draw(st.none() | _TEXTS), draw(_one_of(None, True, False))
    )


def merged(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Adjacent turns of one role and name as one."""
    found: list[Turn] = []
    for turn in turns:
        if found and (found[-1].role, found[-1].name) == (turn.role, turn.name):
            found[-1] = replace(turn, parts=(*found[-1].parts, *turn.parts))
        else:
            found.append(turn)
    return tuple(found)


def normal(protocol: str, conversation: Conversation) -> Conversation:
    """The same in one form for all that the protocol does not tell apart.

    All: adjacent texts without hints or signatures are one, `parallel_tool_calls` True and a tool
    choice of `auto` are not said, a tool without parameters has an empty object of them, arguments
    are the JSON they hold, and natives are left out.
    OpenAI, Anthropic: a result does not name its tool. OpenAI: `strict` False is not said.
    Anthropic: a `top_p` of 1 is not said beside a temperature.
    Gemini: a result is one text; thoughts are shown unless that is declined or there are none.
    """
    profile = PROFILES[protocol]
    turns = tuple(
        replace(turn, parts=tuple(_joined(_normal_part(protocol, p) for p in turn.parts)))
        for turn in merged(conversation.turns)
    )
    choice = conversation.tool_choice
    reasoning = conversation.reasoning
    if protocol == "gemini" and reasoning is not None:
        shown = reasoning.visible is not False and reasoning.budget_tokens != 0
        reasoning = replace(reasoning, visible=shown)
    top_p = conversation.top_p
    if protocol == "anthropic" and top_p == 1 and conversation.temperature is not None:
        top_p = None
    return replace(
        conversation,
        turns=turns,
        top_p=top_p,
        tools=tuple(_normal_tool(tool, profile) for tool in conversation.tools),
        tool_choice=None if choice == ToolChoice("auto") else choice,
        parallel_tool_calls=conversation.parallel_tool_calls is not False and None,
        reasoning=reasoning,
    )


def _normal_tool(tool: Any, profile: Profile) -> Any:
    if not isinstance(tool, Tool):
        return tool
    parameters = dict(tool.parameters or {"type": "object"})
    if parameters == {"type": "object"}:
        parameters["properties"] = {}
    return replace(tool, parameters=parameters, strict=tool.strict or None, native=None)


def _normal_part(protocol: str, part: Part) -> Part:
    if isinstance(part, (Text, Media, ToolCall, ToolResult)):
        part = replace(part, native=None)
    match part:
        case ToolCall():
            return replace(part, arguments=_normal_json(part.arguments))
        case ToolResult():
            content = tuple(_joined(_normal_part(protocol, p) for p in part.content))
            name = part.name if protocol == "gemini" else None
            return replace(part, content=content, name=name)  # type: ignore[arg-type]
        case _:
            return part


def _normal_json(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text


def _joined(parts: Iterable[Part]) -> list[Part]:
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(last, Text) and isinstance(part, Text) and _plain(last) and _plain(part):
            found[-1] = Text(last.text + part.text)
        else:
            found.append(part)
    return found


def _plain(text: Text) -> bool:
    return all(getattr(text, f.name) is None for f in dataclasses.fields(text) if f.name != "text")
