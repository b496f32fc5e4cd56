"""A request for pictures, checked as OpenAI checks it: what a model takes, what is uploaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bench.simulate import openai_fields as chat
from bench.simulate.errors import ApiError
from bench.simulate.forms import Form, Part, read_form, required, typed_values
from bench.simulate.openai_fields import Check, integer, missing, one_of, wrong_type
from bench.simulate.operation import check_fields, check_text, read_json
from bench.simulate.pictures import MAGICS
from bench.simulate.replies import Request

Kind = Literal["generation", "edit", "variation"]

DEFAULT_MODEL: Final = "dall-e-2"
IMAGES_MAX: Final = 16
_IMAGE_NAMES: Final = ("image", "image[]")
_FILES: Final = (*_IMAGE_NAMES, "mask")
_COMMON: Final[Mapping[str, Check]] = {
    "model": chat.STRING,
    "n": integer(1, 10),
    "prompt": chat.STRING,
    "user": chat.STRING,
}
_BY_URL: Final[Mapping[str, Check]] = {
    **_COMMON,
    "response_format": one_of("url", "b64_json"),
}


@dataclass(frozen=True, slots=True)
class Family:
    """Models that take the same: fields, the longest prompt, and the size unless told."""

    fields: Mapping[str, Check]
    prompt_max: int
    kinds: frozenset[Kind]
    by_token: bool = False


_FAMILIES: Final[Mapping[str, Family]] = {
    "dall-e-2": Family(
        {
            **_BY_URL,
            "quality": one_of("standard", "auto"),
            "size": one_of("256x256", "512x512", "1024x1024"),
        },
        1_000,
        frozenset({"generation", "edit", "variation"}),
    ),
    "dall-e-3": Family(
        {
            **_BY_URL,
            "n": integer(1, 1),
            "quality": one_of("standard", "hd", "auto"),
            "size": one_of("1024x1024", "1792x1024", "1024x1792"),
            "style": one_of("vivid", "natural"),
        },
        4_000,
        frozenset({"generation"}),
    ),
}
_GPT: Final = Family(
    {
        **_COMMON,
        "background": one_of("transparent", "opaque", "auto"),
        "input_fidelity": one_of("high", "low"),
        "moderation": one_of("low", "auto"),
        "output_compression": integer(0, 100),
        "output_format": one_of("png", "jpeg", "webp"),
        "partial_images": integer(0, 3),
        "quality": one_of("low", "medium", "high", "auto"),
        "safety_identifier": chat.STRING,
        "size": one_of("1024x1024", "1024x1536", "1536x1024", "auto"),
        "stream": chat.BOOLEAN,
    },
    32_000,
    frozenset({"generation", "edit"}),
    by_token=True,
)
"""Every model that is not named: they are paid by the token and have no URLs."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A valid request; `inputs` are the pictures it brings, a mask included."""

    values: Mapping[str, Any]
    model: str
    prompt: str
    by_token: bool
    inputs: int
    parts: Sequence[Mapping[str, Any]] = ()
    """Of a form, as the truth log has them."""


def read_image_request(request: Request, kind: Kind) -> ImageRequest:
    """Check a request.

    Raises:
        ApiError: 400, with the API's own message.
    """
    content_type = request.headers.get(b"content-type", b"")
    form = None
    if kind == "variation" or (kind == "edit" and not content_type.startswith(b"application/json")):
        form = read_form(request)
        given = dict(form.values(*_FILES))
    else:
        given = read_json(request.body)
    model = given.get("model") or DEFAULT_MODEL
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    family = _FAMILIES.get(model, _GPT)
    if kind not in family.kinds:
        raise ApiError(
            f"Invalid value: '{model}'. Value must be 'dall-e-2'.",
            param="model",
            code="invalid_value",
        )
    fields = {name: check for name, check in family.fields.items() if _belongs(name, kind)}
    named = () if kind == "variation" else ("prompt",)
    if form is None:
        inputs = _linked(given) if kind == "edit" else 0
        values = {
            name: given[name] for name in given if name not in ("images", "mask") or not inputs
        }
        check_fields(values, fields, named)
    else:
        required(form, *named)
        inputs = _uploaded(form, by_token=family.by_token)
        values = typed_values(given, fields)
    prompt = values.get("prompt") or ""
    if named:
        check_text("prompt", prompt, family.prompt_max)
    if values.get("partial_images") and not values.get("stream"):
        raise ApiError(
            "The 'partial_images' parameter is only supported when 'stream' is true.",
            param="partial_images",
        )
    parts = () if form is None else form.described()
    return ImageRequest(values, model, prompt, family.by_token, inputs, parts)


def _belongs(field: str, kind: Kind) -> bool:
    match kind:
        case "generation":
            return field != "input_fidelity"
        case "edit":
            return field not in ("moderation", "style")
        case _:
            return field not in ("prompt", "quality")


def _linked(given: Mapping[str, Any]) -> int:
    """The pictures that JSON refers to."""
    images = given.get("images")
    if images is None:
        raise missing("images")
    if not isinstance(images, list):
        raise wrong_type("images", "an array of objects", images)
    _check_count(len(images), "images", IMAGES_MAX)
    mask = [given["mask"]] if given.get("mask") is not None else []
    for place, image in enumerate([*images, *mask]):
        where = f"images[{place}]" if place < len(images) else "mask"
        if not isinstance(image, dict):
            raise wrong_type(where, "an object", image)
        if len(image.keys() & {"image_url", "file_id"}) != 1:
            raise missing(f"{where}.image_url")
    return len(images) + len(mask)


def _uploaded(form: Form, *, by_token: bool) -> int:
    """The pictures that come with a form."""
    images, masks = form.files(*_IMAGE_NAMES), form.files("mask")
    if not images:
        raise missing("image")
    _check_count(len(images), "image", IMAGES_MAX if by_token else 1)
    _check_count(max(1, len(masks)), "mask", 1)
    for place, image in enumerate([*images, *masks], 1):
        _check_picture(image, place, MAGICS if by_token else MAGICS[:1])
    return len(images) + len(masks)


def _check_count(count: int, name: str, high: int) -> None:
    if not 1 <= count <= high:
        raise ApiError(
            f"Invalid '{name}': expected 1 to {high} images, but got {count} instead.",
            param=name,
            code="array_above_max_length" if count else "empty_array",
        )


def _check_picture(image: Part, place: int, magics: Sequence[bytes]) -> None:
    if not any(image.data[: len(magic)] == magic for magic in magics):
        raise ApiError(
            f"Invalid image file or mode for image {place}, please check your image file.",
            param=image.name,
            code="invalid_image_file",
        )
