"""OpenAI's own endpoint for videos, `/v1/videos`, in JSON and as a form.

Source: the SDK's types (`VideoCreateParams`, `VideoRemixParams`, `Video`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.conversation import Conversation, Media
from engine.errors import InvalidRequestError
from engine.events import Call
from engine.job import JobOptions, JobSource
from engine.media.forms import Field, File, Form, parse_form
from engine.protocols.codec import ClientRequest, HeldIdError
from engine.protocols.fields import load_request
from engine.protocols.jobs.asking import (
    FIELD_NAMES,
    JobsClientCodec,
    asked,
    conversation_of,
    delivery_of,
    image_of,
    plain_request,
    prompt_of,
    seconds_of,
    take_file,
    uploaded,
)
from engine.protocols.jobs.sizes import pixels
from engine.protocols.jobs.specs import OPENAI
from engine.protocols.jobs.views import OPENAI_VIDEOS, video_id
from engine.protocols.openai_values import string, wrong
from engine.protocols.uploads import is_form

_REFERENCE: Final = "input_reference"
_DEFAULT_MODEL: Final = "sora-2"
_KNOWN: Final = frozenset(
    {"model", "prompt", "seconds", "size", _REFERENCE, "store_result", "webhook_url"}
)
_OF_SOURCE: Final = ("model", "seconds", "size", _REFERENCE)
"""What a remix has from what it is made of."""
_TRUTHS: Final = {"true": True, "false": False}


class OpenAIVideosCodec(JobsClientCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = OPENAI_VIDEOS
    field_names: Mapping[str, str] = FIELD_NAMES

    def parse_request(self, call: Call) -> ClientRequest:
        """Raises InvalidRequestError: a field is missing or wrong."""
        if is_form(call.content_type):
            document = _read_form(parse_form(call.content_type, call.body))
        else:
            document = load_request(call.body)
        if call.source is not None:
            return _remix(document, call.source)
        model = string(document, "model") or _DEFAULT_MODEL
        files = take_file(document.get(_REFERENCE), _REFERENCE, call.files)
        conversation = _conversation(document)
        options = conversation.job
        assert options is not None, "made so"
        store_result, webhook_url = delivery_of(document)
        images = len(conversation.turns[0].parts) - 1
        params = {
            "prompt": document["prompt"],
            "seconds": options.seconds,
            "size": options.size,
        }
        return asked(
            self.name,
            plain_request(self.name, "video", model, document, images, files),
            "video",
            params,
            store_result=store_result,
            webhook_url=webhook_url,
        )

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form. Raises InvalidRequestError."""
        source = None if request.job is None else request.job.source
        return _conversation(request.document, source)


def _remix(document: dict[str, Any], source: JobSource) -> ClientRequest:
    """A request for another one, of a prompt alone. Raises InvalidRequestError."""
    for name in _OF_SOURCE:
        if document.get(name) is not None:
            raise InvalidRequestError(
                f"A remix has '{name}' from its source; leave it out.", param=name
            )
    params = {
        **source.params,
        "prompt": prompt_of(document, needed=True),
        "remixed_from_video_id": video_id(source.job_id),
    }
    store_result, webhook_url = delivery_of(document)
    return asked(
        OPENAI_VIDEOS,
        plain_request(OPENAI_VIDEOS, "video", source.model, document, 0),
        "video",
        params,
        store_result=store_result,
        webhook_url=webhook_url,
        source=source,
    )


def _conversation(document: dict[str, Any], source: JobSource | None = None) -> Conversation:
    size = string(document, "size")
    if size is not None and pixels(size) is None:
        raise wrong("size", "must be pixels such as '1280x720'")
    reference = document.get(_REFERENCE)
    image = reference if isinstance(reference, Media) else image_of(reference, _REFERENCE)
    options = JobOptions(
        "video",
        seconds=seconds_of(document.get("seconds"), "seconds"),
        size=size,
        dialect=OPENAI.dialect,
        extra={
            name: value
            for name, value in document.items()
            if name not in _KNOWN and value is not None
        },
        source=source,
    )
    return conversation_of(prompt_of(document, needed=True), [image], options)


def _read_form(form: Form) -> dict[str, Any]:
    """The fields, with the picture in its place; an object in it has brackets in its names.

    Raises:
        InvalidRequestError: a field is there twice, or a file where there is none.
    """
    document: dict[str, Any] = {}
    for part in form.parts:
        if isinstance(part, File):
            if part.name != _REFERENCE:
                raise InvalidRequestError(
                    f"There is no file '{part.name}' here, but {_REFERENCE}.", param=part.name
                )
            name, value = part.name, uploaded(part)
        else:
            name, value = _field(part)
        if name in document:
            raise InvalidRequestError(f"The form has the field '{name}' twice.", param=name)
        document[name] = value
    return document


def _field(part: Field) -> tuple[str, Any]:
    for name in ("image_url", "file_id"):
        if part.name == f"{_REFERENCE}[{name}]":
            return _REFERENCE, {name: part.value}
    if "file_id" in part.name.lower():
        raise HeldIdError(part.name)
    if part.name == "store_result":
        return part.name, _TRUTHS.get(part.value.lower(), part.value)
    return part.name, part.value


CODEC: Final = OpenAIVideosCodec()
