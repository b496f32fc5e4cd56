"""OpenAI's runs as a codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from engine.demand import Demand
from engine.errors import GatewayError, InvalidRequestError
from engine.events import Call, Event, Finish, FinishReason, JobAccepted, Operation
from engine.job import FOLLOWED_MAX_S, JobAsk
from engine.owned import HeldRef, Kept, is_storable
from engine.protocols import openai_shared
from engine.protocols.codec import ClientRequest, VerbatimDecoder
from engine.protocols.fields import load_object, load_request, write_json
from engine.protocols.openai_runs.naming import names_in
from engine.protocols.openai_runs.reading import kept_of, known_as, report_of
from engine.protocols.openai_runs.streams import RunsDecoder
from engine.protocols.operation import OperationCodec
from engine.protocols.quirks import PLAIN, Quirks

PROMPT_TOKENS: Final = 65_536
"""What a run may read, all of its steps together, where the client does not say."""
COMPLETION_TOKENS: Final = 16_384
"""What it may write."""
_TOKENS_MIN: Final = 256
"""Less is refused by OpenAI."""
_TOKENS_MAX: Final = 2**28
_BOTH: Final = "/threads/runs"


class OpenAIRunsCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`."""

    name = "openai_runs"
    heartbeat = b": keep-alive\n\n"
    paths: Mapping[Operation, str] = {"run": _BOTH}

    def parse_request(self, call: Call) -> ClientRequest:
        """Whose assistant on which thread, and how much it may read and write.

        Raises:
            InvalidRequestError: a field is missing or wrong.
        """
        document = load_request(call.body)
        refs, places = names_in(document)
        thread_id = call.at.get("thread_id")
        if thread_id is not None:
            refs.insert(0, HeldRef(thread_id, "thread", "thread_id"))
        _check_named(document)
        for place in places:
            if (file := call.files.get(place.use.written)) is not None:
                place.holder[place.at] = file.held or place.use.written
        prompt = _limit(document, "max_prompt_tokens", PROMPT_TOKENS)
        completion = _limit(document, "max_completion_tokens", COMPLETION_TOKENS)
        return ClientRequest(
            protocol=self.name,
            model=_model_of(document, call, refs),
            stream=_flag(document, "stream"),
            include_usage=True,
            max_output_tokens=completion,
            choices=1,
            operation=call.operation,
            document=document | {"max_prompt_tokens": prompt},
            demand=Demand(
                input_tokens=prompt,
                output_tokens=completion,
                expected_input_tokens=min(prompt, len(call.body) // 4),
                pieces={"code_sessions": 1},
                lowerable=True,
            ),
            job=JobAsk("run", timeout_s=FOLLOWED_MAX_S),
            files=tuple([place.use for place in places]),
            refs=tuple(refs),
            stores=True,
            path=_BOTH if thread_id is None else f"/threads/{quote(thread_id, safe='')}/runs",
        )

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """Nothing is counted: what a run reads, its provider knows."""
        return iter(())

    def encode_verbatim(
        self,
        request: ClientRequest,
        upstream_model: str,
        output_limit: int | None,
        quirks: Quirks = PLAIN,
    ) -> bytes:
        """The client's document, with the model that is paid for, and bounds."""
        assert request.max_output_tokens is not None, "every run has a bound"
        limit = request.max_output_tokens
        if output_limit is not None:
            limit = max(_TOKENS_MIN, min(output_limit, limit))
        bounds = {"model": upstream_model, "max_completion_tokens": limit}
        return write_json(request.document | bounds)

    def answered(self, request: ClientRequest) -> ClientRequest:
        """Nothing of the document matters to the answer."""
        return replace(request, document={})

    def provider_headers(
        self, sent: Sequence[tuple[bytes, bytes]] = (), quirks: Quirks = PLAIN
    ) -> list[tuple[bytes, bytes]]:
        """The version that there is."""
        return [(b"openai-beta", b"assistants=v2")]

    # answers

    def open_verbatim(
        self, request: ClientRequest, *, end_marker: bool, quirks: Quirks = PLAIN
    ) -> VerbatimDecoder:
        """It ends with `[DONE]`, whatever else its provider's streams end with."""
        return RunsDecoder()

    def decode_response(self, body: bytes, quirks: Quirks = PLAIN) -> Sequence[Event]:
        """That it has been taken.

        Raises:
            ValueError: it is no run.
        """
        run = load_object(body)
        name, report = known_as(run), report_of(run)
        if not is_storable(name) or report is None:
            raise ValueError("not a run")
        return [JobAccepted(name, report), Finish(FinishReason.STOP)]

    def kept_in(self, body: bytes) -> tuple[Kept, ...]:
        """See `codec.KeptByProvider`."""
        return tuple(each for each in kept_of(load_object(body)) if each.object_id)

    def encode_stream_error(self, error: GatewayError, *, array: bool = False) -> bytes:
        """The event that the SDKs raise."""
        told = openai_shared.encode_error(error, self.field_names)
        return b"event: error\ndata: " + told + b"\n\nevent: done\ndata: [DONE]\n\n"


def _check_named(document: dict[str, Any]) -> None:
    assistant_id = document.get("assistant_id")
    if not isinstance(assistant_id, str) or not assistant_id:
        raise InvalidRequestError("'assistant_id' is required.", param="assistant_id")


def _model_of(document: dict[str, Any], call: Call, refs: Sequence[HeldRef]) -> str:
    """As the body says it, else the assistant's. Whose that is is not known at first: nobody is
    asked then."""
    model = document.get("model")
    if model is None:
        if call.model is not None:
            return call.model
        if any(ref.object_id not in call.held for ref in refs):
            return ""
        raise InvalidRequestError(
            "The model of the assistant is not known here; name one as 'model'.", param="model"
        )
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("'model' must be the name of a model.", param="model")
    return model


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(f"'{name}' must be true or false.", param=name)
    return bool(value)


def _limit(document: dict[str, Any], name: str, unsaid: int) -> int:
    value = document.get(name)
    if value is None:
        return unsaid
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not _TOKENS_MIN <= value <= _TOKENS_MAX:
        raise InvalidRequestError(
            f"'{name}' must be a whole number from {_TOKENS_MIN}.", param=name
        )
    return int(value)


CODEC: Final = OpenAIRunsCodec()
