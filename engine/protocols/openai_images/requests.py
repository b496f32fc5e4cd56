"""A client's request: what is validated of it, and what it consumes at most.

Source: the type files `image_generate_params`, `image_edit_params` and
`image_create_variation_params` of OpenAI's SDK.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from engine.conversation import FileUse
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.media.forms import Form
from engine.media.sniff import kind_of
from engine.metering.tiers import AUTO, tier_word
from engine.protocols.codec import ClientRequest, HeldIdError
from engine.protocols.fields import dict_of, is_held_uri, load_request, text_of
from engine.protocols.file_refs import StandIns, address_of
from engine.protocols.openai_images.sizes import (
    INPUT_IMAGE_TOKENS,
    PARTIAL_TOKENS,
    output_tokens,
)
from engine.protocols.openai_values import flag, string, whole, wrong
from engine.protocols.operation import model_of
from engine.protocols.uploads import is_form, read_upload

NAME: Final = "openai_images"
_PICTURES_MAX: Final = 10
_INPUTS_MAX: Final = 16
_PARTIAL_MAX: Final = 3
_FRAMES_MAX: Final = 16
_FRAMES: Final = 9
_FORMATS: Final = ("url", "b64_json")
_WHOLES: Final = (
    "n", "output_compression", "partial_images", "frame_count", "frame_duration_ms",
)  # fmt: skip
_FILES: Final = {"image_edit": ("image", "mask", "markup"), "image_variation": ("image",)}
_is_word = re.compile(r"[a-z]{1,16}").fullmatch
_is_size = re.compile(r"[0-9A-Za-z]{1,16}").fullmatch
_BASE64_ONLY: Final = ("gpt-image", "chatgpt-image")
_BYTES_A_TOKEN: Final = 4
_FRAMING_TOKENS: Final = 64


def parse_request(call: Call) -> ClientRequest:
    """Parse and validate what the gateway relies on; the rest is the provider's to judge.

    Raises:
        InvalidRequestError: neither JSON nor a form, a field that is missing or wrong, a file that
            is no picture, or an id that lives at the provider.
    """
    form: Form | None = None
    content_type = "application/json"
    uses: tuple[FileUse, ...] = ()
    inputs = 0
    if call.operation != "image" and is_form(call.content_type):
        files = _FILES[call.operation]
        form, content_type, document = read_upload(
            call, files=files, wholes=_WHOLES, flags=("stream",)
        )
        inputs = _check_files(form)
    elif call.operation == "image_variation":
        raise InvalidRequestError("The body of this request must be a multipart form.")
    else:
        document = load_request(call.body)
        if call.operation == "image_edit":
            uses, inputs = _check_references(document, call.files)
    model = model_of(document)
    if call.operation != "image_variation":
        _check_prompt(document)
    demand = demand_of(document, inputs)
    return ClientRequest(
        protocol=NAME,
        model=model,
        stream=flag(document, "stream"),
        include_usage=True,
        max_output_tokens=demand.output_tokens,
        choices=1,
        media={"image": inputs} if inputs else {},
        operation=call.operation,
        document=document,
        demand=demand,
        form=form,
        content_type=content_type,
        files=uses,
    )


def prompt_of(document: dict[str, Any]) -> str:
    """What is to be drawn; a variation has no words."""
    return string(document, "prompt") or ""


def always_base64(model: str) -> bool:
    """Whether a model refuses `response_format`, and always answers with the pictures themselves.

    >>> always_base64("openai/gpt-image-1"), always_base64("dall-e-3")
    (True, False)
    """
    return model.rpartition("/")[2].startswith(_BASE64_ONLY)


def wants_url(document: dict[str, Any]) -> bool:
    """The client asks for an address in the picture's place."""
    return document.get("response_format") == "url"


def _check_prompt(document: dict[str, Any]) -> None:
    if not prompt_of(document):
        raise wrong("prompt", "must be a string that says what is to be drawn")


def _check_files(form: Form) -> int:
    """How many pictures the form has. Raises InvalidRequestError: none, too many, or not one."""
    given = form.files("image")
    if not 0 < len(given) <= _INPUTS_MAX:
        raise wrong("image", f"must be a file, or up to {_INPUTS_MAX} of them")
    beside = [*form.files("mask"), *form.files("markup")]
    for name in ("mask", "markup"):
        if len(form.files(name)) > 1:
            raise wrong(name, "must be one file")
    for file in (*given, *beside):
        if not (kind_of(file.data) or "").startswith("image/"):
            raise wrong(file.name, "must be a picture: a PNG, JPEG, WebP or GIF file")
    return len(given) + len(beside)


def _check_references(
    document: dict[str, Any], stand_ins: StandIns
) -> tuple[tuple[FileUse, ...], int]:
    """The files that the JSON form names, in whose place is put what stands for them; and how many
    pictures it names in all. Raises InvalidRequestError: none, too many, or not one; HeldIdError:
    an address of the provider's."""
    images = document.get("images")
    if not isinstance(images, list) or not 0 < len(images) <= _INPUTS_MAX:
        raise wrong("images", f"must be an array of 1 to {_INPUTS_MAX} objects with 'image_url'")
    uses = []
    for path, reference in references(document):
        if written := text_of(dict_of(reference).get("file_id")):
            uses.append(FileUse(written, f"{path}.file_id"))
            if (file := stand_ins.get(written)) is not None:
                if file.kind != "image":
                    raise wrong(f"{path}.file_id", "must be a picture")
                del reference["file_id"]
                reference["image_url"] = address_of(file)
            continue
        url = dict_of(reference).get("image_url")
        if not isinstance(url, str) or not url:
            raise wrong(path, "must be an object with 'image_url'")
        if is_held_uri(url):
            raise HeldIdError(f"{path}.image_url")
    return tuple(uses), sum(1 for _ in references(document))


def references(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the JSON form names in place of files, each with its path."""
    for index, reference in enumerate(document.get("images") or ()):
        yield f"images[{index}]", reference
    for name in ("mask", "markup"):
        if document.get(name) is not None:
            yield name, document[name]


def demand_of(document: dict[str, Any], inputs: int) -> Demand:
    """What a request with so many pictures consumes at most. Raises InvalidRequestError: a field
    that says so is wrong."""
    quality, size = string(document, "quality"), string(document, "size")
    if quality is not None and not _is_word(quality):
        raise wrong("quality", "must be a word such as 'high'")
    if size is not None and not _is_size(size):
        raise wrong("size", "must be pixels such as '1024x1024', or 'auto'")
    if document.get("response_format") not in (None, *_FORMATS):
        raise wrong("response_format", f"must be one of {', '.join(_FORMATS)}")
    if document.get("output_format") == "svg":
        raise wrong("output_format", "must be 'png', 'jpeg', 'webp' or 'gif'; drawings are not")
    pictures = whole(document, "n", 1, _PICTURES_MAX) or 1
    partial = whole(document, "partial_images", 0, _PARTIAL_MAX) or 0
    frames = whole(document, "frame_count", 1, _FRAMES_MAX)
    if document.get("output_format") == "gif":
        frames = frames or _FRAMES
    each = output_tokens(quality, size) * (frames or 1) + PARTIAL_TOKENS * partial
    words = prompt_of(document).encode("utf-8", "surrogatepass")
    seen = INPUT_IMAGE_TOKENS * inputs
    return Demand(
        input_tokens=len(words) + seen + _FRAMING_TOKENS,
        output_tokens=pictures * each,
        expected_input_tokens=len(words) // _BYTES_A_TOKEN + seen // _BYTES_A_TOKEN,
        pieces={"images": pictures},
        tier=tier_word(quality or AUTO, size or AUTO),
    )
