"""OpenAI's speech as a codec. Sources: the type file `speech_create_params` of OpenAI's SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from engine.conversation import Conversation
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Call, Event, Operation
from engine.media_params import check_params, media_params_schema
from engine.protocols.codec import (
    ClientRequest,
    Encoded,
    Identity,
    InexpressibleError,
    StreamDecoder,
    StreamEncoder,
    UpstreamTarget,
    VerbatimDecoder,
)
from engine.protocols.fields import dict_of, load_request, text_of, write_json
from engine.protocols.openai_speech import crossing
from engine.protocols.openai_speech.encoders import SoundEncoder, SpeechEventEncoder
from engine.protocols.openai_speech.events import SpeechEvents
from engine.protocols.openai_speech.sound import SAMPLES, TYPES, SoundDecoder
from engine.protocols.operation import OperationCodec, model_of
from engine.protocols.quirks import PLAIN, Quirks

INPUT_MAX_CHARS: Final = 4_096
_DEFAULT_FORMAT: Final = "mp3"
_SPEED_MIN, _SPEED_MAX = 0.25, 4.0
_BYTES_A_TOKEN: Final = 4
_TOKENS_A_CHAR_MAX: Final = 8
"""Of sound: models speak in 20 to 25 tokens a second, and slow speech takes a second for three
characters."""
_TOKENS_BESIDE: Final = 512


class OpenAISpeechCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`. All answers are streams: a sound goes out as it
    comes."""

    name = "openai_speech"
    paths: Mapping[Operation, str] = {"speech": "/audio/speech"}

    def parse_request(self, call: Call) -> ClientRequest:
        """Its text, and what the answer is to be. Raises InvalidRequestError."""
        document = load_request(call.body)
        model, text = model_of(document), _input_of(document)
        _check_voice(document.get("voice"))
        sound_type = TYPES[_one_of(document, "response_format", _DEFAULT_FORMAT, tuple(TYPES))]
        events = _one_of(document, "stream_format", "audio", ("audio", "sse")) == "sse"
        return ClientRequest(
            protocol=self.name,
            model=model,
            stream=True,
            include_usage=True,
            max_output_tokens=None,
            choices=1,
            operation=call.operation,
            document=document,
            demand=_demand_of(document, text, _speed_of(document)),
            answer_type=None if events else sound_type,
        )

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document with the provider's name of the model. Raises InvalidRequestError:
        the model has no such parameter."""
        if (schema := media_params_schema("openai", upstream_model)) is not None:
            check_params(schema, request.document)
        return super().encode_verbatim(request, upstream_model, output_limit, quirks)

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """What is read, and how it is to be read."""
        yield text_of(request.document.get("input"))
        yield text_of(request.document.get("instructions"))

    def answered(self, request: ClientRequest) -> ClientRequest:
        """What the answer is to be."""
        document = request.document
        kept = {name: document[name] for name in ("response_format",) if name in document}
        return replace(request, document=kept)

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """By what was asked for: the sound itself, or events. Neither has an end marker."""
        if request.answer_type is not None:
            return SoundDecoder(request.answer_type)
        return SpeechEvents(TYPES[request.document.get("response_format") or _DEFAULT_FORMAT])

    def decode_request(self, request: ClientRequest) -> Conversation:
        """See `crossing.decode_request`."""
        return crossing.decode_request(request, _DEFAULT_FORMAT)

    def encode_request(self, conversation: Conversation, target: UpstreamTarget) -> Encoded:
        """See `crossing.encode_document`. Raises InexpressibleError."""
        document = crossing.encode_document(conversation)
        text = document["input"]
        if not 0 < len(text) <= INPUT_MAX_CHARS:
            raise InexpressibleError(
                "turns", f"This model reads 1 to {INPUT_MAX_CHARS} characters aloud at a time."
            )
        return Encoded(
            write_json({"model": target.model, **document}),
            crossing.left_out(conversation),
            operation="speech",
            demand=_demand_of(document, text, 1.0),
        )

    def open_decoder(self, *, end_marker: bool, quirks: Quirks = PLAIN) -> StreamDecoder:
        """Of raw samples, for a chat."""
        return SoundDecoder(SAMPLES)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """Of samples that another protocol gives: the sound itself, or events."""
        kind = request.document.get("response_format") or _DEFAULT_FORMAT
        return SpeechEventEncoder(kind) if request.answer_type is None else SoundEncoder(kind)

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Of raw samples, for a chat in one piece. Raises UpstreamError: they are none."""
        decoder = SoundDecoder(SAMPLES, len(body))
        events = [event for frame in decoder.split(body) for event in decoder.decode(frame)]
        events += decoder.end_of_input()
        if decoder.error is not None:
            raise decoder.error
        return events


def _input_of(document: Mapping[str, Any]) -> str:
    text = document.get("input")
    if not isinstance(text, str) or not text:
        raise InvalidRequestError("'input' must be a text, and not empty.", param="input")
    if len(text) > INPUT_MAX_CHARS:
        raise InvalidRequestError(
            f"'input' has {len(text)} characters; it may have {INPUT_MAX_CHARS} at most.",
            param="input",
        )
    if not isinstance(document.get("instructions", ""), str | None):
        raise InvalidRequestError("'instructions' must be a text.", param="instructions")
    return text


def _check_voice(voice: object) -> None:
    named = voice if isinstance(voice, str) else dict_of(voice).get("id")
    if not isinstance(named, str) or not named:
        raise InvalidRequestError(
            "'voice' must be the name of a voice, or an object with its 'id'.", param="voice"
        )


def _one_of(document: Mapping[str, Any], name: str, default: str, known: tuple[str, ...]) -> str:
    """Raises InvalidRequestError: it is another one."""
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in known:
        words = ", ".join(f"'{each}'" for each in known)
        raise InvalidRequestError(f"'{name}' must be one of {words}.", param=name)
    return value


def _speed_of(document: Mapping[str, Any]) -> float:
    speed = document.get("speed")
    if speed is None:
        return 1.0
    if (
        isinstance(speed, bool)
        or not isinstance(speed, int | float)
        or not _SPEED_MIN <= speed <= _SPEED_MAX
    ):
        raise InvalidRequestError(
            f"'speed' must be a number from {_SPEED_MIN} to {_SPEED_MAX:g}.", param="speed"
        )
    return float(speed)


def _demand_of(document: Mapping[str, Any], text: str, speed: float) -> Demand:
    """OpenAI bills `tts-1` by the character of the input, a code point each (openai.com/api/pricing
    counts as the bound of 4,096 does); the newer models by tokens of text and of sound."""
    texts = text + text_of(document.get("instructions"))
    size_bytes = len(texts.encode("utf-8", "surrogatepass"))
    return Demand(
        input_tokens=size_bytes + _TOKENS_BESIDE,
        output_tokens=int(len(text) * _TOKENS_A_CHAR_MAX / min(speed, 1.0)) + _TOKENS_BESIDE,
        expected_input_tokens=size_bytes // _BYTES_A_TOKEN,
        pieces={"characters": len(text)},
        flat={"characters": len(text)},
    )


CODEC = OpenAISpeechCodec()
