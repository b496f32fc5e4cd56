"""A canonical conversation as a request for pictures: a client chats with a model that draws."""

from __future__ import annotations

import math
from typing import Any, Final

from engine.conversation import Conversation, ImageOptions, Media, Text, Turn
from engine.protocols.codec import Encoded, InexpressibleError, UpstreamTarget
from engine.protocols.fields import write_json
from engine.protocols.openai_images.requests import always_base64, demand_of
from engine.protocols.openai_images.sizes import pixels

_PICTURES_MAX: Final = 10
_LEFT_OUT: Final = (
    "frequency_penalty", "max_output_tokens", "metadata", "presence_penalty", "reasoning", "seed",
    "service_tier", "stop", "temperature", "top_k", "top_p", "verbosity",
)  # fmt: skip
_UNSAYABLE: Final = {
    "output_format": "This model draws; it answers with no JSON.",
    "top_logprobs": "This model draws; it has no words to say how likely they are.",
    "tools": "This model draws; it calls no tools.",
}
_WIDE: Final[dict[str, tuple[str, ...]]] = {
    "dall-e-3": ("1024x1024", "1792x1024", "1024x1792"),
    "dall-e-2": ("1024x1024",),
}
_SIZES: Final = ("1024x1024", "1536x1024", "1024x1536")
"""What every later model knows."""


def encode_request(conversation: Conversation, target: UpstreamTarget) -> Encoded:
    """The words of the system and of the user's last turn, with its pictures to be drawn over.

    Raises:
        InexpressibleError: this model cannot say it.
    """
    _check(conversation, target)
    user = _last(conversation)
    words = [turn for turn in conversation.turns if turn.role == "system"]
    prompt = "\n\n".join(text for turn in (*words, user) for text in _texts(turn))
    pictures = _pictures(user)
    if not prompt:
        raise InexpressibleError("turns", "Say in words what is to be drawn.")
    options = conversation.image or ImageOptions()
    dropped = [one.field for one in conversation.unexpressed]
    dropped += [name for name in _LEFT_OUT if getattr(conversation, name) not in (None, ())]
    if any(turn is not user and turn.role != "system" for turn in conversation.turns):
        dropped.append("turns")
    document: dict[str, Any] = {"model": target.model, "prompt": prompt}
    if pictures:
        document["images"] = pictures
    if conversation.choices > 1:
        document["n"] = conversation.choices
    document |= _options(options, target.model)
    if conversation.end_user is not None:
        document["user"] = conversation.end_user
    if target.stream:
        document["stream"] = True
    return Encoded(
        write_json(document),
        tuple(dict.fromkeys(dropped)),
        operation="image_edit" if pictures else "image",
        demand=demand_of(document, len(pictures)),
    )


def _check(conversation: Conversation, target: UpstreamTarget) -> None:
    for name, problem in _UNSAYABLE.items():
        if getattr(conversation, name) not in (None, ()):
            raise InexpressibleError(name, problem)
    if set(conversation.modalities or ()) - {"text", "image"}:
        raise InexpressibleError("modalities", "This model answers with pictures only.")
    if conversation.choices > _PICTURES_MAX:
        raise InexpressibleError("choices", f"This model gives at most {_PICTURES_MAX} pictures.")
    if target.stream and not always_base64(target.model):
        raise InexpressibleError("stream", "This model draws in one piece; ask for no stream.")


def _last(conversation: Conversation) -> Turn:
    last = conversation.turns[-1] if conversation.turns else None
    if last is None or last.role != "user":
        raise InexpressibleError("turns", "Say last what is to be drawn, as the user.")
    return last


def _texts(turn: Turn) -> list[str]:
    return [part.text for part in turn.parts if isinstance(part, Text) and part.text]


def _pictures(turn: Turn) -> list[dict[str, str]]:
    found = []
    for part in turn.parts:
        match part:
            case Text():
                continue
            case Media(kind="image", url=str(url)):
                found.append({"image_url": url})
            case Media(kind="image", data=str(data), mime_type=mime_type):
                found.append({"image_url": f"data:{mime_type or 'image/png'};base64,{data}"})
            case _:
                raise InexpressibleError("turns", "This model is shown pictures only.")
    return found


def _options(options: ImageOptions, model: str) -> dict[str, Any]:
    said: dict[str, Any] = {"size": _nearest(options.size, model)}
    if always_base64(model):
        said |= {
            "quality": options.quality,
            "output_format": options.format,
            "output_compression": options.compression,
            "background": options.background,
        }
    else:
        said["response_format"] = "b64_json"
    return {name: value for name, value in said.items() if value is not None}


def _nearest(size: str | None, model: str) -> str | None:
    """Of the sizes of a model the one of the nearest shape; None leaves it to the model."""
    asked = pixels(size)
    if asked is None:
        return None
    shape = math.log(asked[0] / asked[1])
    known = {name: pixels(name) for name in _WIDE.get(model.rpartition("/")[2], _SIZES)}
    return min(known, key=lambda name: abs(shape - _shape(known[name])))


def _shape(size: tuple[int, int] | None) -> float:
    return math.log(size[0] / size[1]) if size is not None else 0.0
