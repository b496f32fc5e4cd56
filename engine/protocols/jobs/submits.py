"""What a provider is sent that is to make something: by its spec, from the canonical form."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from engine.conversation import Conversation, Media, Text
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.job import JobOptions, JobSource, JobSpec, MadeKind
from engine.media.forms import Field, File, Form, write_form
from engine.media_params import check_params, job_params_schema
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget
from engine.protocols.fields import write_json
from engine.protocols.jobs.held import refuse_held
from engine.protocols.jobs.places import put_at, value_at
from engine.protocols.jobs.sizes import as_ratio, as_size, tier_of
from engine.usage import MoreUnit

_OPTIONS: Final = (
    "seconds", "size", "aspect_ratio", "resolution", "negative_prompt", "lyrics", "instrumental",
    "audio", "format",
)  # fmt: skip
_UNSAID_SECONDS_MAX: Final[Mapping[MadeKind, int]] = {"video": 60, "music": 600}
"""Held for, where neither the client nor what is known of the model says how long it is to be."""
_MS: Final = 1_000
_HARMLESS: Final = frozenset({"user", "safety_identifier", "metadata"})
"""Left out for who does not know it."""


def encode_submit(kind: MadeKind, conversation: Conversation, target: UpstreamTarget) -> Encoded:
    """The body of a submit.

    Raises:
        InexpressibleError: the provider makes none, cannot be told what is asked, or its model does
            not take it.
        InvalidRequestError: the picture is none, or the client's own fields are in the way.
    """
    spec = target.quirks.jobs.get(kind)
    options = conversation.job
    if spec is None or options is None or options.kind != kind:
        raise InexpressibleError(
            "model",
            f"The provider of this model has nothing to ask for this; choose a model that does "
            f"'{kind}'.",
        )
    if options.source is not None:
        return _encode_remix(kind, spec, conversation, options, options.source)
    options = _fitted(spec, options)
    schema = job_params_schema(target.model) or {}
    _check(options, schema, conversation)
    values, dropped = _values(spec, conversation, options, target)
    document = _document(spec, options, values)
    demand = demand_of(spec, options, conversation, schema)
    if spec.image_as == "form" and isinstance(values.get("image"), File):
        content_type, body = _form(document, values["image"], spec.fields["image"])
    else:
        content_type, body = "application/json", write_json(document)
    return Encoded(body, dropped, operation=kind, content_type=content_type, demand=demand)


def _encode_remix(
    kind: MadeKind,
    spec: JobSpec,
    conversation: Conversation,
    options: JobOptions,
    source: JobSource,
) -> Encoded:
    """The body that makes another one of a finished one, whose path says which: a prompt alone."""
    if spec.remix is None:
        raise InexpressibleError(
            "model", f"The provider of this {kind} makes no others of it; ask for a new one."
        )
    dropped = tuple(
        name for name in options.extra if name in _HARMLESS and options.dialect != spec.dialect
    )
    document = _extra(spec, options)
    _put(document, spec.fields["prompt"], _prompt(conversation))
    demand = _demand_of_remix(spec, kind, source)
    return Encoded(write_json(document), dropped, operation=kind, demand=demand)


def _demand_of_remix(spec: JobSpec, kind: MadeKind, source: JobSource) -> Demand:
    """As much as its source has come to; where nobody knows how long that is, within the bound of
    what is asked for without a length."""
    flat: dict[MoreUnit, int] = {"clips": 1, **source.units}
    pieces = {
        unit: max(flat.get(unit, 0), source.most.get(unit, 0)) for unit in {**flat, **source.most}
    }
    if "milliseconds" in spec.units and not pieces.get("milliseconds"):
        pieces["milliseconds"] = _UNSAID_SECONDS_MAX[kind] * _MS * flat["clips"]
    return Demand(pieces=pieces, flat=flat, tier=source.tier)


def demand_of(
    spec: JobSpec, options: JobOptions, conversation: Conversation, schema: Mapping[str, Any]
) -> Demand:
    """What a job consumes: clips, and how long they are together. Where nobody says that, its
    provider may, within a bound."""
    clips = conversation.choices
    seconds = options.seconds or _default(schema, "seconds")
    pieces: dict[MoreUnit, int] = {"clips": clips}
    flat: dict[MoreUnit, int] = {"clips": clips}
    if seconds is not None:
        pieces["milliseconds"] = flat["milliseconds"] = int(seconds) * _MS * clips
    elif "milliseconds" in spec.units:
        pieces["milliseconds"] = _UNSAID_SECONDS_MAX[options.kind] * _MS * clips
    priced = tier_of(options) or _default(schema, "size") or _default(schema, "resolution")
    return Demand(pieces=pieces, flat=flat, tier=priced)


def _default(schema: Mapping[str, Any], name: str) -> Any:
    return schema.get("properties", {}).get(name, {}).get("default")


def _fitted(spec: JobSpec, options: JobOptions) -> JobOptions:
    """A size in the words that the provider has for it."""
    if "size" in spec.fields and "resolution" not in spec.fields:
        return as_size(options)
    if "size" not in spec.fields and "resolution" in spec.fields:
        return as_ratio(options)
    return options


def _check(options: JobOptions, schema: Mapping[str, Any], conversation: Conversation) -> None:
    """Raises InexpressibleError, whose field is an option: it is outside the model's schema."""
    asked = {name: getattr(options, name) for name in _OPTIONS}
    try:
        check_params(schema, {**asked, "n": conversation.choices})
    except InvalidRequestError as error:
        field = "choices" if error.param == "n" else f"job.{error.param}"
        raise InexpressibleError(field, error.message) from None


def _values(
    spec: JobSpec, conversation: Conversation, options: JobOptions, target: UpstreamTarget
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is said by field of the spec, and what was left out since it matters little."""
    values: dict[str, Any] = {"prompt": _prompt(conversation), "model": target.model}
    for name in _OPTIONS:
        if (value := getattr(options, name)) is None:
            continue
        if name not in spec.fields:
            raise InexpressibleError(
                f"job.{name}",
                f"The provider of this model has no '{name}'; leave it out, or choose another "
                "model.",
            )
        values[name] = value
    if conversation.choices > 1:
        if "n" not in spec.fields:
            raise InexpressibleError("choices", "This model makes one at a time.")
        values["n"] = conversation.choices
    dropped = [
        name for name in options.extra if name in _HARMLESS and options.dialect != spec.dialect
    ]
    if conversation.seed is not None:
        if "seed" in spec.fields:
            values["seed"] = conversation.seed
        else:
            dropped.append("seed")
    if (image := next(_images(conversation), None)) is not None:
        if "image" not in spec.fields:
            raise InexpressibleError("turns", "This model begins with no picture.")
        values["image"] = _image(spec, image)
    return values, tuple(dropped)


def _document(spec: JobSpec, options: JobOptions, values: Mapping[str, Any]) -> dict[str, Any]:
    document = _extra(spec, options)
    for place, constant in spec.constants.items():
        put_at(document, place, deepcopy(constant))
    for name, value in values.items():
        if name in spec.fields and not isinstance(value, File):
            said = str(value) if name in spec.as_text else value
            _put(document, spec.fields[name], said)
    return document


def _extra(spec: JobSpec, options: JobOptions) -> dict[str, Any]:
    """What a client of the provider's own dialect says beside. Raises InexpressibleError: it is one
    of another; what we read would be said past us; or it names what lives at the provider."""
    extra = {name: value for name, value in options.extra.items() if name not in _HARMLESS}
    if options.dialect != spec.dialect:
        if (name := next(iter(extra), None)) is not None:
            raise InexpressibleError(
                name,
                f"The provider of this model does not know '{name}'; leave it out, or choose "
                "another model.",
            )
        return {}
    for place in spec.fields.values():
        if value_at(extra, place) is not None:
            raise InvalidRequestError(f"'{place}' has another name here.", param=place)
    refuse_held(extra)
    return deepcopy({**options.extra})


def _put(document: dict[str, Any], place: str, value: Any) -> None:
    try:
        put_at(document, place, value)
    except ValueError:
        raise InvalidRequestError(f"'{place}' stands where something else has to.") from None


def _prompt(conversation: Conversation) -> str:
    texts = [
        part.text for turn in conversation.turns for part in turn.parts if isinstance(part, Text)
    ]
    return "\n".join(texts)


def _images(conversation: Conversation) -> Iterator[Media]:
    for turn in conversation.turns:
        for part in turn.parts:
            if isinstance(part, Media):
                yield part


def _image(spec: JobSpec, image: Media) -> Any:
    """As the provider takes it. Raises InexpressibleError: it takes no URL of others."""
    if image.data is None:
        if spec.image_as == "data_url" and image.url is not None:
            return image.url
        raise InexpressibleError(
            "turns", "The provider of this model fetches nothing: send the picture itself."
        )
    mime_type = image.mime_type or "image/png"
    match spec.image_as:
        case "data_url":
            return f"data:{mime_type};base64,{image.data}"
        case "object":
            return {"mimeType": mime_type, "bytesBase64Encoded": image.data}
        case "form":
            name = f"image.{mime_type.partition('/')[2] or 'png'}"
            try:
                data = b64decode(image.data, validate=True)
            except ValueError:
                raise InvalidRequestError("The picture is no base64.") from None
            return File("image", name, mime_type, memoryview(data))


def _form(document: dict[str, Any], image: File, name: str) -> tuple[str, bytes]:
    """Fields of text, of what is no text its JSON, and the file."""
    parts: list[Field | File] = [
        Field(field, value if isinstance(value, str) else _json(value))
        for field, value in document.items()
    ]
    form = Form((*parts, replace(image, name=name)))
    content_type, pieces = write_form(form.parts)
    return content_type, b"".join(pieces)


def _json(value: Any) -> str:
    return write_json({"": value}).decode()[len('{"":') : -1]
