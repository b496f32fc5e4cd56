"""Messages, in Anthropic's words.

Sources: the types of Anthropic's SDK, and what `engine.protocols.anthropic` reads of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frontends.reference.chat import HELLO, IDEMPOTENCY, MODEL, SESSION, STREAM
from frontends.reference.rows import (
    JSON,
    Example,
    Parameter,
    Row,
    Schema,
    answers_json,
    answers_stream,
    anything,
    either,
    exactly,
    listed,
    nullable,
    number,
    one_of,
    ref,
    text,
    thing,
    whole,
)

VERSION: Final = Parameter(
    "anthropic-version", text(examples=["2023-06-01"], pattern="^[!-~]*$"), place="header"
)
_BETA: Final = Parameter(
    "anthropic-beta", text(pattern="^[!-~]*$"), "Goes on to Anthropic's models.", "header"
)
_BLOCK: Final = thing(
    {
        "type": text("`text`, `image`, `document`, `tool_use`, `tool_result`, `thinking`, …"),
        "text": text(),
        "source": thing({"type": text("`base64`, `url`, `file`, …")}, "type"),
    },
    "type",
)
_TEXT: Final = either(text(), listed(_BLOCK))
_FIELDS: Final[Mapping[str, Schema]] = {
    "model": MODEL,
    "messages": listed(
        thing({"role": one_of("user", "assistant"), "content": _TEXT}, "role", "content"),
        minItems=1,
    ),
    "system": _TEXT,
    "tools": listed(
        thing({"name": text(), "description": text(), "input_schema": anything("JSON Schema")})
    ),
    "tool_choice": thing({"type": one_of("auto", "any", "tool", "none")}, "type"),
    "thinking": thing({"type": text("`enabled`, `disabled`, `adaptive`")}, "type"),
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "MessageRequest": thing(
        {
            **_FIELDS,
            "max_tokens": whole(1),
            "stream": STREAM,
            "temperature": number(0, 1),
            "top_p": number(0, 1),
            "top_k": whole(0),
            "stop_sequences": listed(text()),
            "metadata": thing({"user_id": nullable(text())}),
        },
        "model",
        "messages",
        "max_tokens",
    ),
    "Message": thing(
        {
            "id": text(),
            "type": exactly("message"),
            "role": exactly("assistant"),
            "model": text(),
            "content": listed(thing({"type": text()}, "type")),
            "stop_reason": nullable(text("`end_turn`, `max_tokens`, `tool_use`, …")),
            "usage": thing(
                {"input_tokens": whole(0), "output_tokens": whole(0), "cost": number(0)},
                "input_tokens",
                "output_tokens",
            ),
        },
        "id",
        "type",
        "role",
        "model",
        "content",
        "stop_reason",
        "usage",
    ),
    "MessageTokensRequest": thing(_FIELDS, "model", "messages"),
    "MessageTokens": thing({"input_tokens": whole(0)}, "input_tokens"),
}

ROWS: Final = (
    Row(
        "POST",
        "/v1/messages",
        "createMessage",
        "Messages",
        "Answer a conversation, as Anthropic's clients ask.",
        answers_stream(
            ref("Message"), "`event: message_start` … `event: message_stop`.", "The message."
        ),
        asks={JSON: ref("MessageRequest")},
        parameters=(VERSION, _BETA, IDEMPOTENCY, SESSION),
        examples=(
            Example("whole", {"model": "sim-anthropic", "max_tokens": 500, "messages": HELLO}),
            Example(
                "streamed, to a model of another protocol",
                {"model": "sim-openai", "stream": True, "max_tokens": 500, "messages": HELLO},
            ),
        ),
        relays=True,
    ),
    Row(
        "POST",
        "/v1/messages/count_tokens",
        "countMessageTokens",
        "Messages",
        "Count the tokens of a message that is not sent.",
        answers_json(ref("MessageTokens"), "How many."),
        asks={JSON: ref("MessageTokensRequest")},
        parameters=(VERSION,),
        examples=(Example("a text", {"model": "sim-anthropic", "messages": HELLO}),),
        relays=True,
    ),
)
