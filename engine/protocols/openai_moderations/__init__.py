"""OpenAI's `POST /v1/moderations`: whether texts and images break rules. Free of charge.

Source: the type file `moderation_create_params` of OpenAI's SDK. No other protocol has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.demand import Demand
from engine.errors import InvalidRequestError
from engine.events import Begin, Call, Event, Finish, FinishReason, Operation, UsageReport
from engine.protocols.codec import ClientRequest
from engine.protocols.fields import dict_of, load_object, load_request, text_of
from engine.protocols.openai_shared import read_error
from engine.protocols.openai_usage import read_usage
from engine.protocols.operation import OperationCodec, model_of
from engine.protocols.quirks import PLAIN, Quirks

DEFAULT_MODEL: Final = "omni-moderation-latest"
"""Where the client names none (the type file says so)."""
_INPUTS_MAX: Final = 2_048
_BYTES_A_TOKEN: Final = 4


class OpenAIModerationsCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = "openai_moderations"
    paths: Mapping[Operation, str] = {"moderate": "/moderations"}

    def parse_request(self, call: Call) -> ClientRequest:
        """Its model and inputs. Raises InvalidRequestError."""
        document = load_request(call.body)
        document.setdefault("model", DEFAULT_MODEL)
        texts = _texts(document.get("input"))
        size_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        return ClientRequest(
            protocol=self.name,
            model=model_of(document),
            stream=False,
            include_usage=False,
            max_output_tokens=0,
            choices=1,
            operation=call.operation,
            document=document,
            demand=Demand(
                input_tokens=len(call.body),
                expected_input_tokens=size_bytes // _BYTES_A_TOKEN,
            ),
        )

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """What is judged."""
        return iter(_texts(request.document.get("input")))

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """Raises ValueError, UpstreamRejectedError."""
        document = load_object(body)
        if document.get("error"):
            raise read_error(200, body)
        if not isinstance(document.get("results"), list):
            raise ValueError("no results")
        begin = Begin(text_of(document.get("id")) or None, text_of(document.get("model")) or None)
        usage = read_usage(document, quirks)
        reported = [] if usage is None else [UsageReport(usage)]
        return [begin, Finish(FinishReason.STOP), *reported]


def _texts(value: object) -> list[str]:
    """The texts among the inputs; raises InvalidRequestError."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and 0 < len(value) <= _INPUTS_MAX:
        if all(isinstance(item, str) for item in value):
            return list(value)
        if all(_is_part(item) for item in value):
            return [text_of(item.get("text")) for item in value]
    raise InvalidRequestError(
        "'input' must be a string, an array of strings, or an array of objects of type 'text' or "
        f"'image_url'; of an array no more than {_INPUTS_MAX}, and not empty.",
        param="input",
    )


def _is_part(value: Any) -> bool:
    match dict_of(value).get("type"):
        case "text":
            return isinstance(value.get("text"), str)
        case "image_url":
            return isinstance(dict_of(value.get("image_url")).get("url"), str)
        case _:
            return False


CODEC = OpenAIModerationsCodec()
