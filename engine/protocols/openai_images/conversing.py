"""A client's request for pictures as a canonical conversation, for providers that chat in them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final

from engine.conversation import Conversation, ImageOptions, Media, Text, Turn, Unexpressed
from engine.media.forms import Form
from engine.media.sniff import kind_of
from engine.protocols.codec import ClientRequest, InexpressibleError
from engine.protocols.openai_images.requests import prompt_of
from engine.protocols.openai_shared import split_data_url
from engine.protocols.openai_values import string

_READ: Final = frozenset(
    {
        "background", "images", "model", "n", "output_compression", "output_format", "prompt",
        "quality", "response_format", "size", "stream", "user",
    }
)  # fmt: skip
_HARMLESS: Final = frozenset(
    {
        "complexity", "input_fidelity", "moderation", "partial_images", "safety_identifier",
        "style",
    }
)  # fmt: skip

FIELD_NAMES: Final = {
    "turns": "prompt",
    "choices": "n",
    "end_user": "user",
    "image.background": "background",
    "image.compression": "output_compression",
    "image.format": "output_format",
    "image.quality": "quality",
    "modalities": "model",
}
"""`Conversation`'s fields in this protocol's spelling."""


def decode_request(request: ClientRequest) -> Conversation:
    """The canonical form: one turn of pictures and words. Raises InexpressibleError: it has no
    words, or moves."""
    document = request.document
    if request.operation == "image_variation":
        raise InexpressibleError(
            "model", "The provider of this model draws by words only; choose another model."
        )
    if document.get("output_format") == "gif":
        raise InexpressibleError("image.format", "This model draws no moving pictures.")
    words = Text(prompt_of(document))
    pictures = tuple(_uploaded(request.form) if request.form is not None else _named(document))
    return Conversation(
        turns=(Turn("user", (*pictures, words)),),
        choices=document.get("n") or 1,
        modalities=("image",),
        end_user=string(document, "user"),
        image=ImageOptions(
            size=string(document, "size"),
            quality=string(document, "quality"),
            format=string(document, "output_format"),
            compression=document.get("output_compression"),
            background=string(document, "background"),
        ),
        unexpressed=tuple(_beside(request)),
    )


def _uploaded(form: Form) -> Iterator[Media]:
    for file in form.files("image"):
        yield Media("image", kind_of(file.data), b64encode(file.data).decode("ascii"))


def _named(document: dict[str, Any]) -> Iterator[Media]:
    for index, reference in enumerate(document.get("images") or ()):
        url: str = reference["image_url"]
        if url[:5].lower() == "data:":
            mime_type, data = split_data_url(url, f"images[{index}].image_url")
            yield Media("image", mime_type, data)
        else:
            yield Media("image", url=url)


def _beside(request: ClientRequest) -> Iterator[Unexpressed]:
    for name, value in request.document.items():
        if name not in _READ and value is not None:
            yield Unexpressed(name, name in _HARMLESS)
    if request.form is not None:
        for name in ("mask", "markup"):
            if request.form.files(name):
                yield Unexpressed(name, harmless=False)
