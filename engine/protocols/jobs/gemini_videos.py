"""Gemini's own endpoint for videos: `models/MODEL:predictLongRunning`, and its operations.

Source: Google's page of Veo in the Gemini API, and its SDK (`generate_videos`, and
`_GenerateVideosOperation_from_mldev` for what is answered).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.conversation import Conversation, FileUse, Media
from engine.errors import GatewayError, InvalidRequestError, UpstreamRejectedError
from engine.events import Call
from engine.job import JobOptions
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, load_request
from engine.protocols.file_refs import StandIns, base64_of, is_file_address
from engine.protocols.gemini import errors
from engine.protocols.gemini.spelling import get, get_dict, get_text, said_twice, snake
from engine.protocols.jobs.asking import (
    CLIPS_MAX,
    JobsClientCodec,
    asked,
    conversation_of,
    image_of,
    plain_request,
    prompt_of,
    seconds_of,
)
from engine.protocols.jobs.specs import VEO
from engine.protocols.jobs.views import GEMINI_VIDEOS
from engine.protocols.openai_values import wrong

_PARAMETERS: Final = (
    "negativePrompt", "aspectRatio", "resolution", "durationSeconds", "seed", "sampleCount",
    "numberOfVideos",
)  # fmt: skip
_INSTANCE: Final = ("prompt", "image")


class GeminiVideosCodec(JobsClientCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = GEMINI_VIDEOS
    request_id_headers: tuple[bytes, ...] = ()
    field_names: Mapping[str, str] = {
        "turns": "instances",
        "choices": "parameters.sampleCount",
        "seed": "parameters.seed",
        "job.seconds": "parameters.durationSeconds",
        "job.aspect_ratio": "parameters.aspectRatio",
        "job.resolution": "parameters.resolution",
        "job.negative_prompt": "parameters.negativePrompt",
    }

    def parse_request(self, call: Call) -> ClientRequest:
        """The result becomes a file of the account, as it does at Google: the SDK gets it as one.
        Raises InvalidRequestError: a field is missing or wrong."""
        document = load_request(call.body)
        if not isinstance(call.model, str) or not call.model:
            raise InvalidRequestError("You must name a model in the path.", param="model")
        files = _take_file(document, call.files)
        conversation = _conversation(document)
        options = conversation.job
        assert options is not None, "made so"
        images = len(conversation.turns[0].parts) - 1
        params = {"prompt": get_text(_instance(document), "prompt"), "seconds": options.seconds}
        request = plain_request(self.name, "video", call.model, document, images, files)
        return asked(self.name, request, "video", params, store_result=True)

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form. Raises InvalidRequestError."""
        return _conversation(request.document)

    def read_error(
        self, status: int, body: bytes, retry_after_s: float | None = None
    ) -> UpstreamRejectedError:
        """A provider's error answer, as any client may see it."""
        return errors.read_error(status, body, retry_after_s)

    def error_status(self, error: GatewayError) -> int:
        """The HTTP status that Gemini's clients expect of an error."""
        return errors.error_status(error)

    def encode_error(self, error: GatewayError, request_id: str | None = None) -> bytes:
        """An error in Gemini's shape."""
        return errors.encode_error(error, request_id)


def _take_file(document: dict[str, Any], files: StandIns) -> tuple[FileUse, ...]:
    """The file of the gateway's that the picture is; what stands for it, is put in its place.
    Raises InvalidRequestError: it is no picture."""
    holder = get_dict(_instance(document), "image")
    uri = get_text(get_dict(holder, "fileData"), "fileUri")
    if uri is None or not is_file_address(uri):
        return ()
    if (file := files.get(uri)) is not None:
        if file.kind != "image":
            raise wrong("instances[0].image", "must be a picture")
        holder.clear()
        holder |= {"bytesBase64Encoded": base64_of(file), "mimeType": file.mime_type}
    return (FileUse(uri, "instances[0].image.fileData.fileUri"),)


def _instance(document: dict[str, Any]) -> dict[str, Any]:
    instances = document.get("instances")
    if not isinstance(instances, list) or len(instances) != 1:
        raise wrong("instances", "must be an array of one object")
    return dict_of(instances[0])


def _conversation(document: dict[str, Any]) -> Conversation:
    instance, parameters = _instance(document), get_dict(document, "parameters")
    for at, holder in (("instances[0].", instance), ("parameters.", parameters)):
        if (twice := said_twice(holder)) is not None:
            raise InvalidRequestError(
                f"'{at}{twice}' is given in both of its spellings.", param=f"{at}{twice}"
            )
    image = _image(get(instance, "image"))
    options = JobOptions(
        "video",
        seconds=seconds_of(get(parameters, "durationSeconds"), "parameters.durationSeconds"),
        aspect_ratio=_text(parameters, "aspectRatio"),
        resolution=_text(parameters, "resolution"),
        negative_prompt=_text(parameters, "negativePrompt"),
        dialect=VEO.dialect,
        extra=_extra(document, instance, parameters),
    )
    return conversation_of(
        prompt_of(instance, needed=image is None),
        [image],
        options,
        clips=_count(parameters),
        seed=_whole(parameters, "seed"),
    )


def _extra(
    document: dict[str, Any], instance: dict[str, Any], parameters: dict[str, Any]
) -> dict[str, Any]:
    """What we do not read, where it stands."""
    beside = _without(document, ("instances", "parameters", "model"))
    if in_instance := _without(instance, _INSTANCE):
        beside["instances"] = [in_instance]
    if in_parameters := _without(parameters, _PARAMETERS):
        beside["parameters"] = in_parameters
    return beside


def _without(holder: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    known = {*names, *map(snake, names)}
    return {
        name: value for name, value in holder.items() if name not in known and value is not None
    }


def _image(value: object) -> Media | None:
    """Bytes in the object itself, or in `inlineData`."""
    if value is None:
        return None
    holder = dict_of(value)
    inline = get_dict(holder, "inlineData")
    data = get_text(holder, "bytesBase64Encoded") or get_text(inline, "data")
    mime_type = get_text(holder, "mimeType") or get_text(inline, "mimeType") or "image/png"
    if data is None:
        uri = get_text(get_dict(holder, "fileData"), "fileUri") or get_text(holder, "gcsUri")
        if uri is not None and is_file_address(uri):
            return Media("image", file_id=uri)
        if uri is not None:
            return image_of(uri, "instances[0].image")
        raise wrong("instances[0].image", "must have 'bytesBase64Encoded' and 'mimeType'")
    if not mime_type.lower().startswith("image/"):
        raise wrong("instances[0].image", "must be a picture")
    return Media("image", mime_type.lower(), data)


def _text(parameters: dict[str, Any], name: str) -> str | None:
    value = get(parameters, name)
    if value is not None and not isinstance(value, str):
        raise wrong(f"parameters.{name}", "must be a string")
    return value or None


def _whole(parameters: dict[str, Any], name: str) -> int | None:
    value = get(parameters, name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise wrong(f"parameters.{name}", "must be a whole number")
    return value


def _count(parameters: dict[str, Any]) -> int:
    said = [name for name in ("sampleCount", "numberOfVideos") if get(parameters, name) is not None]
    if len(said) > 1:
        raise wrong("parameters.sampleCount", "is 'numberOfVideos' too: say it once")
    count = _whole(parameters, said[0]) if said else 1
    if count is None or not 1 <= count <= CLIPS_MAX:
        raise wrong("parameters.sampleCount", f"must be from 1 to {CLIPS_MAX}")
    return count


CODEC: Final = GeminiVideosCodec()
