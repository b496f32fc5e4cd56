"""The gateway's own endpoints: `/v1/videos/generations`, `/v1/music/generations`.

What a provider of the dialect `generations` takes beside (xAI's, whose endpoint has the same name)
goes on to it as it is.
"""

from __future__ import annotations

from typing import Any, Final

from engine.conversation import Conversation
from engine.events import Call
from engine.job import JobOptions, MadeKind
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import load_request
from engine.protocols.jobs.asking import (
    CLIPS_MAX,
    JobsClientCodec,
    asked,
    conversation_of,
    delivery_of,
    image_of,
    plain_request,
    prompt_of,
    seconds_of,
    take_file,
)
from engine.protocols.jobs.sizes import is_ratio, is_resolution, pixels
from engine.protocols.jobs.specs import GENERATIONS_DIALECT
from engine.protocols.jobs.views import GENERATIONS
from engine.protocols.openai_values import string, whole, wrong
from engine.protocols.operation import model_of

_ASKED: Final[dict[MadeKind, frozenset[str]]] = {
    "video": frozenset(
        {
            "seconds", "duration", "size", "aspect_ratio", "resolution", "negative_prompt",
            "image", "audio", "seed",
        }
    ),
    "music": frozenset(
        {
            "seconds", "duration", "lyrics", "instrumental", "format", "negative_prompt", "seed",
        }
    ),
}  # fmt: skip
"""What is read beside what every request may have."""
_COMMON: Final = frozenset({"model", "prompt", "n", "store_result", "webhook_url"})
_SEED_MAX: Final = 2**32 - 1


class GenerationsCodec(JobsClientCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    def __init__(self, kind: MadeKind) -> None:
        self.kind: MadeKind = kind
        self.name = GENERATIONS[kind]

    def parse_request(self, call: Call) -> ClientRequest:
        """Raises InvalidRequestError: a field is missing or wrong."""
        document = load_request(call.body)
        model = model_of(document)
        files = take_file(document.get("image"), "image", call.files)
        conversation = self._conversation(document)
        store_result, webhook_url = delivery_of(document)
        options = conversation.job
        assert options is not None, "made so"
        params = {
            "prompt": prompt_of(document, needed=False),
            "seconds": options.seconds,
            "size": options.size,
            "aspect_ratio": options.aspect_ratio,
            "resolution": options.resolution,
        }
        images = sum(len(turn.parts) - 1 for turn in conversation.turns)
        return asked(
            self.name,
            plain_request(self.name, self.kind, model, document, images, files),
            self.kind,
            params,
            store_result=store_result,
            webhook_url=webhook_url,
        )

    def decode_request(self, request: ClientRequest) -> Conversation:
        """The canonical form. Raises InvalidRequestError."""
        return self._conversation(request.document)

    def _conversation(self, document: dict[str, Any]) -> Conversation:
        known = _ASKED[self.kind] | _COMMON
        said = {name: document.get(name) if name in known else None for name in _ASKED[self.kind]}
        image = image_of(document.get("image"), "image") if self.kind == "video" else None
        needed = image is None and not document.get("lyrics")
        return conversation_of(
            prompt_of(document, needed=needed),
            [image],
            self._options(document, said, known),
            clips=whole(document, "n", 1, CLIPS_MAX) or 1,
            seed=whole(document, "seed", 0, _SEED_MAX),
        )

    def _options(
        self, document: dict[str, Any], said: dict[str, Any], known: frozenset[str]
    ) -> JobOptions:
        return JobOptions(
            self.kind,
            seconds=_seconds(document),
            **(_looks(document) if self.kind == "video" else _sounds(document)),
            negative_prompt=string(document, "negative_prompt"),
            dialect=GENERATIONS_DIALECT,
            extra={
                name: value
                for name, value in document.items()
                if name not in known and value is not None
            },
        )


def _seconds(document: dict[str, Any]) -> int | None:
    said = [name for name in ("seconds", "duration") if document.get(name) is not None]
    found = [seconds_of(document[name], name) for name in said]
    if len(set(found)) > 1:
        raise wrong("duration", "is not what 'seconds' says")
    return found[0] if found else None


def _looks(document: dict[str, Any]) -> dict[str, Any]:
    size, ratio = string(document, "size"), string(document, "aspect_ratio")
    resolution = string(document, "resolution")
    if size is not None and pixels(size) is None:
        raise wrong("size", "must be pixels such as '1280x720'")
    if ratio is not None and not is_ratio(ratio):
        raise wrong("aspect_ratio", "must be a ratio such as '16:9'")
    if resolution is not None and not is_resolution(resolution):
        raise wrong("resolution", "must be a resolution such as '720p'")
    if size is not None and (ratio is not None or resolution is not None):
        raise wrong("size", "stands for 'aspect_ratio' and 'resolution': say the one or the other")
    return {
        "size": size,
        "aspect_ratio": ratio,
        "resolution": resolution,
        "audio": _flag(document, "audio"),
    }


def _sounds(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "lyrics": string(document, "lyrics"),
        "instrumental": _flag(document, "instrumental"),
        "format": string(document, "format"),
    }


def _flag(document: dict[str, Any], name: str) -> bool | None:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, "must be true or false")
    return value


VIDEO: Final = GenerationsCodec("video")
MUSIC: Final = GenerationsCodec("music")
