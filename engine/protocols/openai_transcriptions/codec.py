"""OpenAI's transcriptions and translations as a codec. Sources: the type files of OpenAI's SDK
(`transcription_create_params`, `translation_create_params`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.conversation import Conversation
from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Call, Event, Operation
from engine.media.duration import sound_ms
from engine.media.forms import File, boundary_of, form_type, fresh_boundary, write_form
from engine.media.wav import wav_duration_ms
from engine.media_params import check_params, media_params_schema
from engine.protocols.codec import ClientRequest, Identity, StreamEncoder, VerbatimDecoder
from engine.protocols.openai_transcriptions import crossing
from engine.protocols.openai_transcriptions.answers import PLAIN_TYPE, read_object, read_plain
from engine.protocols.openai_transcriptions.encoders import TranscriptEncoder, encode_response
from engine.protocols.openai_transcriptions.events import TranscriptEvents
from engine.protocols.openai_transcriptions.uploads import FILE, parts_of, read_upload
from engine.protocols.operation import OperationCodec, model_of
from engine.protocols.quirks import PLAIN, Quirks

_FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
_PLAIN: Final = frozenset({"text", "srt", "vtt"})
_PLAIN_SAMPLES: Final = (b"\x01\x00", b"\x03\x00")
"""Whole numbers and fractions, by the tag of a WAV."""
_TRUTHS: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

_BYTES_A_TOKEN: Final = 4
_INPUT_TOKENS_A_SECOND: Final = 10
"""Of OpenAI's models: a recording of 0.1 s took one."""
_INPUT_TOKENS_A_SECOND_MAX: Final = 32
_OUTPUT_TOKENS_A_SECOND_MAX: Final = 25
"""A fast speaker says five words a second; a word of a script that vocabularies know little of
takes some tokens, and who speaks when takes some more."""
_TOKENS_BESIDE: Final = 1_024
_LONGEST_MS_BESIDE: Final = 10_000
"""Groq bills no less; others round up to a second."""


class OpenAITranscriptionsCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = "openai_transcriptions"
    paths: Mapping[Operation, str] = {
        "transcribe": "/audio/transcriptions",
        "translate": "/audio/translations",
    }

    def parse_request(self, call: Call) -> ClientRequest:
        """Its recording, which is measured, and what the answer is to be.

        Raises:
            InvalidRequestError: a field is wrong, or the recording is none.
        """
        document = read_upload(call)
        model, kind = model_of(document), _format_of(document)
        stream = call.operation == "transcribe" and _is_true(document, "stream")
        file: File = document[FILE]
        boundary = fresh_boundary(tuple(parts_of(document))).decode()
        return ClientRequest(
            protocol=self.name,
            model=model,
            stream=stream,
            include_usage=True,
            max_output_tokens=None,
            choices=1,
            operation=call.operation,
            document=document,
            demand=_demand_of(document, _length_ms(file.data)),
            content_type=form_type(boundary),
            answer_type=PLAIN_TYPE if kind in _PLAIN and not stream else None,
        )

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """The text that goes with the recording."""
        return _texts(request.document)

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """A form of the same parts, with the provider's name of the model. Raises
        InvalidRequestError: the model has no such parameter."""
        if (schema := media_params_schema("openai", upstream_model)) is not None:
            named = {name.partition("[")[0]: value for name, value in request.document.items()}
            check_params(schema, named, form=True)
        parts = parts_of({**request.document, "model": upstream_model})
        return b"".join(write_form(parts, boundary_of(request.content_type))[1])

    def decode_request(self, request: ClientRequest) -> Conversation:
        """See `crossing.decode_request`."""
        return crossing.decode_request(request)

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """Of what another protocol says."""
        return TranscriptEncoder()

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """Of what another protocol says: an object, or the text alone."""
        return encode_response(events, plain=request.answer_type is not None)

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """Events."""
        return TranscriptEvents()

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        return read_object(body)

    def decode_plain(self, body: bytes) -> Sequence[Event]:
        """Raises UpstreamRejectedError."""
        return read_plain(body)


def _texts(document: Mapping[str, Any]) -> Iterator[str]:
    for name, value in document.items():
        match name.removesuffix("[]"), value:
            case "prompt", str():
                yield value
            case "keywords", list():
                yield from value


def _format_of(document: Mapping[str, Any]) -> str:
    kind: str = document.get("response_format", "json")
    if kind not in _FORMATS:
        words = ", ".join(f"'{each}'" for each in _FORMATS)
        raise InvalidRequestError(
            f"'response_format' must be one of {words}.", param="response_format"
        )
    return kind


def _is_true(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name, "false")
    truth = _TRUTHS.get(value.lower()) if isinstance(value, str) else None
    if truth is None:
        raise InvalidRequestError(f"'{name}' must be true or false.", param=name)
    return truth


def _length_ms(recording: memoryview) -> int:
    """How long it sounds; raises InvalidRequestError. Plain samples are told by their number: to
    take 25 MB of them apart takes a third of a second."""
    if bytes(recording[12:16]) == b"fmt " and bytes(recording[20:22]) in _PLAIN_SAMPLES:
        length_ms = wav_duration_ms(recording)
        if length_ms is not None:
            return max(1, length_ms)
    return sound_ms(recording)


def _demand_of(document: Mapping[str, Any], length_ms: int) -> Demand:
    seconds = -(-length_ms // 1_000)
    size_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in _texts(document))
    return Demand(
        input_tokens=size_bytes + seconds * _INPUT_TOKENS_A_SECOND_MAX + _TOKENS_BESIDE,
        output_tokens=seconds * _OUTPUT_TOKENS_A_SECOND_MAX + _TOKENS_BESIDE,
        expected_input_tokens=size_bytes // _BYTES_A_TOKEN + seconds * _INPUT_TOKENS_A_SECOND,
        pieces={"milliseconds": length_ms + length_ms // 10 + _LONGEST_MS_BESIDE},
        flat={"milliseconds": length_ms},
    )


CODEC = OpenAITranscriptionsCodec()
