"""A stream for a client of this protocol, made of canonical events; and the whole answer, which is
the object at such a stream's end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from engine.errors import GatewayError
from engine.events import (
    Begin,
    BlockEnd,
    Citation,
    Event,
    Finish,
    FinishReason,
    LogprobsDelta,
    MediaDelta,
    NativeEvent,
    ReasoningDelta,
    RedactedReasoning,
    RefusalDelta,
    TextDelta,
    ToolCallBegin,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from engine.protocols import carried
from engine.protocols.codec import ClientRequest, Identity
from engine.protocols.fields import dict_of
from engine.protocols.openai_responses.composing import MESSAGE, REASONING, Composer
from engine.protocols.openai_responses.decode_request import LOGPROBS
from engine.protocols.openai_responses.marks import own, sign
from engine.protocols.openai_responses.output import REFUSAL, SUMMARY, OpenItem, Output
from engine.protocols.openai_responses.response import encode_response as encode_beginning
from engine.protocols.openai_responses.usage import encode_usage
from engine.protocols.openai_shared import encode_logprob

INCOMPLETE = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTEXT_LENGTH: "max_output_tokens",
    FinishReason.FILTERED: "content_filter",
    FinishReason.PROMPT_BLOCKED: "content_filter",
}
"""How an end is said that is no completion (WIRE-FACTS section 8); all others are."""


class ResponsesEncoder:
    """See `codec.StreamEncoder`.

    A message or a reasoning item ends where something else begins. Calls stay open to the end, as
    their arguments may come interleaved, unless the provider says where each ends.
    """

    def __init__(self, request: ClientRequest, identity: Identity) -> None:
        self._request = request
        self._identity = identity
        self._output = Composer()
        self._begun = False
        self._own = False
        """The events are of this protocol: items are told as their provider told them."""
        self._calls: dict[int, OpenItem] = {}
        self._natives: dict[object, OpenItem] = {}
        self._held: TextDelta | None = None
        """Its logprobs may follow, which belong into the same event."""
        wanted = request.document.get("include")
        self._logprobs = isinstance(wanted, list) and LOGPROBS in wanted
        self._finish: Finish | None = None
        self._usage: UsageReport | None = None

    @classmethod
    def resumed(
        cls, request: ClientRequest, identity: Identity, sent: Output, text: str
    ) -> ResponsesEncoder | None:
        """For an answer that has begun to go out, with so much text; see `Composer.resumed`."""
        output = Composer.resumed(sent, len(text))
        if output is None:
            return None
        output.response = encode_beginning(request, None, identity) | output.response
        encoder = cls(request, identity)
        encoder._output, encoder._begun = output, True
        return encoder

    @property
    def holding(self) -> bool:
        """A piece of text waits for its logprobs."""
        return self._held is not None

    def encode(self, event: Event) -> bytes:
        """The events of an event."""
        if type(event) is TextDelta and not self._logprobs and self._output.text is not None:
            return self._output.tell(event.text, []) if event.text and event.choice == 0 else b""
        if isinstance(event, UsageReport):
            self._usage = event
            return b""
        if isinstance(event, Begin):
            return self._begin(event)
        handler = _ENCODERS.get(type(event))
        if handler is None or event.choice:  # one answer was asked for
            return b""
        out = b"" if self._begun else self._begin(None)
        if not isinstance(event, LogprobsDelta):
            out += self._release()
        return out + handler(self, event)

    def _begin(self, event: Begin | None) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        self._output.response = encode_beginning(self._request, event, self._identity)
        if event is not None and (response := own(event.native).get("response")):
            self._own = True
            self._output.response = dict(response)
        return self._output.begin()

    # text

    def _encode_text(self, event: TextDelta) -> bytes:
        if not event.text:
            return b""
        if self._logprobs:
            self._held = event
            return b""
        return self._output.enter_text() + self._output.tell(event.text, [])

    def _release(self, logprobs: Sequence[Any] = ()) -> bytes:
        """The text that was held back."""
        held, self._held = self._held, None
        if held is None:
            return b""
        return self._output.enter_text() + self._output.tell(held.text, list(logprobs))

    def _encode_logprobs(self, event: LogprobsDelta) -> bytes:
        if event.refusal:
            return self._release()
        logprobs = [encode_logprob(token) for token in event.tokens]
        out = self._output.enter_text()
        assert self._output.text is not None
        self._output.text.logprobs += logprobs
        if self._held is None:
            return out + self._output.tell("", logprobs)
        return out + self._release(logprobs)

    def _encode_refusal(self, event: RefusalDelta) -> bytes:
        if not event.text:
            return b""
        item, out = self._output.enter(MESSAGE)
        part, added = self._output.enter_part(item, REFUSAL)
        self._output.keep(part.texts, event.text)
        place = item.place | {"content_index": part.index, "delta": event.text}
        return out + added + self._output.frame("response.refusal.delta", place)

    def _encode_citation(self, event: Citation) -> bytes:
        annotation = dict(own(event.native).get("annotation") or {})
        if not annotation:
            if event.url is None:
                return b""
            annotation = {"type": "url_citation", "url": event.url, "title": event.title or ""}
        out = self._output.enter_text()
        assert self._output.text is not None
        assert self._output.current is not None
        part = self._output.text
        if not own(event.native):
            for name, position in (("start_index", event.start), ("end_index", event.end)):
                annotation[name] = max(0, (position or 0) - part.start)
        place = self._output.current.place | {
            "content_index": part.index,
            "annotation_index": len(part.annotations),
            "annotation": annotation,
        }
        part.annotations.append(annotation)
        return out + self._output.frame("response.output_text.annotation.added", place)

    # reasoning

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        if self._own and not event.text:
            return b""
        out = b""
        current = self._output.current
        if current is not None and event.text and "encrypted_content" in current.fields:
            out = b"" if current.native else self._output.leave()  # the signed one had ended
        if not event.text and event.signature is None:
            return out
        item, added = self._output.enter(REASONING)
        out += added
        if event.text:
            part, added = self._output.enter_part(item, SUMMARY)
            self._output.keep(part.texts, event.text)
            place = item.place | {"summary_index": part.index, "delta": event.text}
            out += added + self._output.frame("response.reasoning_summary_text.delta", place)
        if event.signature is not None and not item.native:
            item.fields = item.fields | {"encrypted_content": sign(event.signature)}
        return out

    def _encode_redacted(self, event: RedactedReasoning) -> bytes:
        if self._own:
            return b""
        out = self._output.leave()
        item, added = self._output.begin_item(REASONING)
        item.fields = item.fields | {"encrypted_content": sign(event.signature, redacted=True)}
        return out + added + self._output.close(item, "completed")

    # calls

    def _encode_call(self, event: ToolCallBegin) -> bytes:
        fields = own(event.native)
        if "added" in fields:
            item, added = self._output.begin_item(dict(fields["added"]), native=True)
            self._natives[fields.get("index")] = item
            self._calls[event.index] = item
            return added
        out = self._output.leave()
        call = {
            "type": "function_call",
            "status": "in_progress",
            "arguments": "",
            "call_id": carried.carry(event.id, event.signature),
            "name": event.name,
        }
        self._calls[event.index], added = self._output.begin_item(call)
        return out + added

    def _encode_arguments(self, event: ToolCallDelta) -> bytes:
        item = self._calls.get(event.index)
        if item is None or not event.arguments:
            return b""
        self._output.keep(item.texts, event.arguments)
        custom = item.kind == "custom_tool_call"
        kind = "custom_tool_call_input" if custom else "function_call_arguments"
        return self._output.frame(f"response.{kind}.delta", item.place | {"delta": event.arguments})

    def _close_call(self, item: OpenItem, status: str) -> bytes:
        out = b""
        if not item.texts and status == "completed":  # its SDKs' users parse it
            item.texts.append("{}")
            out = self._output.frame(
                "response.function_call_arguments.delta", item.place | {"delta": "{}"}
            )
        return out + self._output.close(item, status)

    def _encode_block_end(self, event: BlockEnd) -> bytes:
        """Of thinking or of a call; texts of one message go on in it."""
        if self._output.current is not None:
            return b"" if self._output.current.kind == "message" else self._output.leave()
        last = max(self._calls, default=None)
        if last is None or self._calls[last].native:
            return b""
        return self._close_call(self._calls.pop(last), "completed")

    # the rest

    def _encode_media(self, event: MediaDelta) -> bytes:
        if self._own or event.kind != "image" or not event.data:
            return b""
        out = self._output.leave()
        kind = "image_generation_call"
        item, added = self._output.begin_item(
            {"type": kind, "status": "in_progress", "result": None}
        )
        item_format = (event.mime_type or "image/png").rpartition("/")[2]
        whole = item.encode("completed") | {"result": event.data, "output_format": item_format}
        progress = [
            self._output.frame(f"response.{kind}.{step}", item.place)
            for step in ("in_progress", "generating", "completed")
        ]
        closed = self._output.close(item, "completed", whole)
        return b"".join([out, added, *progress, closed])

    def _encode_native(self, event: NativeEvent) -> bytes:
        match dict(own(event.native)):
            case {"added": dict(fields), "index": index}:
                item, out = self._output.begin_item(dict(fields), native=True)
                self._natives[index] = item
                if item.kind in ("message", "reasoning"):
                    self._output.current, self._output.text = item, None
                return out
            case {"done": dict(fields), "index": index} if index in self._natives:
                item = self._natives.pop(index)
                if item is self._output.current:
                    self._output.current = self._output.text = None
                return self._output.close(item, "completed", fields)
            case {"event": dict(document)}:
                fields = {k: v for k, v in document.items() if k not in ("type", "sequence_number")}
                index = document.get("output_index")
                if isinstance(index, int) and index in self._natives:
                    fields["output_index"] = self._natives[index].index
                return self._output.frame(event.label, fields)
            case _:
                return b""

    def _remember(self, event: Finish) -> bytes:
        self._finish = event
        return b""

    # endings

    def finish(self) -> bytes:
        """What is open is closed; the terminal event with the whole answer."""
        out = b"" if self._begun else self._begin(None)
        return (
            out + self._release() + self._close_all(self._status) + self._output.end(self._final())
        )

    def cut(self, usage: Usage) -> bytes:
        """`response.incomplete` with the length reason and usage."""
        out = b"" if self._begun else self._begin(None)
        return out + self._release() + self._output.leave("incomplete") + self._output.cut(usage)

    def fail(self, error: GatewayError) -> bytes:
        """See `codec.FailsInPlace`."""
        out = b"" if self._begun else self._begin(None)
        return out + self._release() + self._output.fail(error)

    def whole(self) -> dict[str, Any]:
        """The whole answer, once `finish` was called."""
        return self._output.final(self._final())

    @property
    def _status(self) -> str:
        ended = self._finish is not None and self._finish.reason not in INCOMPLETE
        return "completed" if ended else "incomplete"

    def _close_all(self, status: str) -> bytes:
        out = [self._output.leave(status)]
        for index in sorted(self._calls):
            item = self._calls[index]
            if item.index in self._output.open and not item.native:
                out.append(self._close_call(item, status))
        return b"".join(out) + self._output.close_all(status)

    def _final(self) -> dict[str, Any]:
        finish = self._finish
        if finish is not None and (response := own(finish.native).get("response")):
            return dict(dict_of(response))
        reason = None if finish is None else INCOMPLETE.get(finish.reason)
        usage = None if self._usage is None else encode_usage(self._usage.usage)
        details = None if reason is None else {"reason": reason}
        return {"status": self._status, "incomplete_details": details, "usage": usage}


_ENCODERS: dict[type[Event], Callable[[ResponsesEncoder, Any], bytes]] = {
    TextDelta: ResponsesEncoder._encode_text,
    RefusalDelta: ResponsesEncoder._encode_refusal,
    ReasoningDelta: ResponsesEncoder._encode_reasoning,
    RedactedReasoning: ResponsesEncoder._encode_redacted,
    ToolCallBegin: ResponsesEncoder._encode_call,
    ToolCallDelta: ResponsesEncoder._encode_arguments,
    BlockEnd: ResponsesEncoder._encode_block_end,
    Citation: ResponsesEncoder._encode_citation,
    MediaDelta: ResponsesEncoder._encode_media,
    LogprobsDelta: ResponsesEncoder._encode_logprobs,
    NativeEvent: ResponsesEncoder._encode_native,
    Finish: ResponsesEncoder._remember,
}


def encode_response(events: Sequence[Event], request: ClientRequest, identity: Identity) -> bytes:
    """A whole answer for a client of this protocol: what a stream of it would end with."""
    encoder = ResponsesEncoder(request, identity)
    for event in events:
        encoder.encode(event)
    encoder.finish()
    return orjson.dumps(encoder.whole())
