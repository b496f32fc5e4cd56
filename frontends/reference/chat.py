"""Chat in OpenAI's words: chat completions, responses, legacy completions.

Sources: the types of OpenAI's SDK, and what `engine.protocols` reads of them. What is not shown
here goes on to a provider of the same protocol as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frontends.reference.rows import (
    JSON,
    Example,
    Parameter,
    Row,
    Schema,
    answers_json,
    answers_stream,
    anything,
    by_name,
    either,
    exactly,
    flag,
    listed,
    nullable,
    number,
    one_of,
    ref,
    text,
    thing,
    whole,
)

MODEL: Final = text("As `GET /v1/models` lists it.", examples=["sim-openai"])
STREAM: Final = flag("As server-sent events, while it is generated.")
METADATA: Final = nullable(by_name(text()))
HELLO: Final = [{"role": "user", "content": "Hello"}]

IDEMPOTENCY: Final = Parameter(
    "Idempotency-Key",
    text(minLength=1, maxLength=255, pattern="^[!-~]+$"),
    "A name of your own for the request: sent again, it is carried out and paid for once.",
    "header",
)
SESSION: Final = Parameter(
    "x-session-id", text(pattern="^[!-~]*$"), "Keeps a session to one deployment.", "header"
)

_PART: Final = thing(
    {
        "type": text("`text`, `image_url`, `input_audio`, `file`, `refusal`"),
        "text": text(),
        "image_url": thing({"url": text("`https:` or `data:`"), "detail": text()}, "url"),
        "input_audio": thing({"data": text("base64"), "format": one_of("wav", "mp3")}),
        "file": thing({"file_id": text("Of `/v1/files`."), "file_data": text("A `data:` URL.")}),
    },
    "type",
)
_CONTENT: Final = either(text(), listed(_PART))
_CALL: Final = thing(
    {
        "id": text(),
        "type": text("`function`"),
        "function": thing({"name": text(), "arguments": text("JSON")}, "name", "arguments"),
    }
)
_TOOL: Final = thing(
    {
        "type": text("`function`"),
        "function": thing(
            {
                "name": text(pattern="^[a-zA-Z0-9_-]{1,64}$"),
                "description": text(),
                "parameters": anything("JSON Schema of the arguments."),
                "strict": nullable(flag()),
            },
            "name",
        ),
    },
    "type",
)
_USAGE: Final = thing(
    {
        "prompt_tokens": whole(0),
        "completion_tokens": whole(0),
        "total_tokens": whole(0),
        "cost": number(0, detail="What it cost, in US dollars."),
        "credits": number(0, detail="The same in the gateway's credits."),
    },
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "ChatMessage": thing(
        {
            "role": one_of("developer", "system", "user", "assistant", "tool"),
            "content": nullable(_CONTENT),
            "name": text(),
            "tool_calls": listed(_CALL, "Of an assistant."),
            "tool_call_id": text("Which call a tool's message answers."),
        },
        "role",
    ),
    "ChatCompletionRequest": thing(
        {
            "model": MODEL,
            "messages": listed(ref("ChatMessage"), minItems=1),
            "stream": nullable(STREAM),
            "stream_options": nullable(
                thing({"include_usage": flag("Usage and cost in the last chunk.")})
            ),
            "max_completion_tokens": nullable(whole(1)),
            "max_tokens": nullable(whole(1, detail="The older name of the same.")),
            "temperature": nullable(number(0, 2)),
            "top_p": nullable(number(0, 1)),
            "n": nullable(whole(1, 128)),
            "stop": nullable(either(text(), listed(text()))),
            "seed": nullable(whole()),
            "presence_penalty": nullable(number(-2, 2)),
            "frequency_penalty": nullable(number(-2, 2)),
            "logprobs": nullable(flag()),
            "top_logprobs": nullable(whole(0, 20)),
            "tools": listed(_TOOL),
            "tool_choice": either(one_of("none", "auto", "required"), thing({})),
            "parallel_tool_calls": flag(),
            "response_format": thing({"type": one_of("text", "json_object", "json_schema")}),
            "reasoning_effort": nullable(one_of("none", "minimal", "low", "medium", "high")),
            "metadata": METADATA,
            "user": text(),
        },
        "model",
        "messages",
    ),
    "ChatCompletion": thing(
        {
            "id": text(),
            "object": exactly("chat.completion"),
            "created": whole(detail="Seconds since 1970."),
            "model": text(),
            "choices": listed(
                thing(
                    {
                        "index": whole(0),
                        "message": thing({"role": text(), "content": nullable(text())}, "role"),
                        "finish_reason": nullable(text("`stop`, `length`, `tool_calls`, …")),
                    },
                    "index",
                    "message",
                    "finish_reason",
                )
            ),
            "usage": _USAGE,
        },
        "id",
        "object",
        "created",
        "model",
        "choices",
    ),
    "ResponseRequest": thing(
        {
            "model": MODEL,
            "input": either(text(), listed(ref("ResponseInput"))),
            "instructions": nullable(text("Of the system.")),
            "stream": nullable(STREAM),
            "max_output_tokens": nullable(whole(16)),
            "temperature": nullable(number(0, 2)),
            "top_p": nullable(number(0, 1)),
            "tools": listed(thing({"type": text("`function`, …"), "name": text()}, "type")),
            "tool_choice": either(one_of("none", "auto", "required"), thing({})),
            "parallel_tool_calls": nullable(flag()),
            "text": thing({"format": thing({"type": text()}), "verbosity": nullable(text())}),
            "reasoning": nullable(thing({"effort": nullable(text()), "summary": nullable(text())})),
            "include": nullable(listed(text())),
            "store": nullable(flag("Whether the provider keeps it, where it does.")),
            "metadata": METADATA,
            "previous_response_id": nullable(text("A response of this account.")),
            "truncation": nullable(one_of("auto", "disabled")),
            "user": text(),
        },
        "model",
        "input",
    ),
    "ResponseInput": thing(
        {
            "type": text("`message`, `function_call`, `function_call_output`, `reasoning`, …"),
            "role": one_of("developer", "system", "user", "assistant"),
            "content": either(text(), listed(thing({"type": text()}, "type"))),
        }
    ),
    "Response": thing(
        {
            "id": text(),
            "object": exactly("response"),
            "created_at": number(),
            "status": nullable(text("`completed`, `incomplete`, `failed`, `in_progress`, …")),
            "model": text(),
            "output": listed(thing({"type": text()}, "type")),
            "usage": nullable(
                thing({"input_tokens": whole(0), "output_tokens": whole(0), "cost": number(0)})
            ),
        },
        "id",
        "object",
        "created_at",
        "model",
        "output",
    ),
    "InputTokens": thing(
        {"object": exactly("response.input_tokens"), "input_tokens": whole(0)},
        "object",
        "input_tokens",
    ),
    "CompletionRequest": thing(
        {
            "model": MODEL,
            "prompt": either(text(), listed(text()), listed(whole(0))),
            "stream": nullable(STREAM),
            "max_tokens": nullable(whole(0)),
            "temperature": nullable(number(0, 2)),
            "top_p": nullable(number(0, 1)),
            "stop": nullable(either(text(), listed(text()))),
            "user": text(),
        },
        "model",
        "prompt",
    ),
    "Completion": thing(
        {
            "id": text(),
            "object": exactly("text_completion"),
            "created": whole(),
            "model": text(),
            "choices": listed(thing({"text": text(), "index": whole(0)}, "text", "index")),
            "usage": _USAGE,
        },
        "id",
        "object",
        "choices",
    ),
}

ROWS: Final = (
    Row(
        "POST",
        "/v1/chat/completions",
        "createChatCompletion",
        "Chat",
        "Answer a conversation.",
        answers_stream(
            ref("ChatCompletion"),
            "`data: {…}` chunks, a `chat.completion.chunk` each, and `data: [DONE]`.",
            "The answer.",
        ),
        asks={JSON: ref("ChatCompletionRequest")},
        parameters=(IDEMPOTENCY, SESSION),
        examples=(
            Example("whole", {"model": "sim-openai", "messages": HELLO}),
            Example(
                "streamed",
                {
                    "model": "sim-openai",
                    "stream": True,
                    "stream_options": {"include_usage": True},
                    "messages": HELLO,
                },
            ),
            Example(
                "to a model of another protocol",
                {
                    "model": "sim-anthropic",
                    "max_completion_tokens": 100,
                    "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
                },
            ),
            Example(
                "with a tool",
                {
                    "model": "sim-openai",
                    "messages": HELLO,
                    "tools": [
                        {
                            "type": "function",
                            "function": {
                                "name": "get_weather",
                                "parameters": {
                                    "type": "object",
                                    "properties": {"place": {"type": "string"}},
                                },
                            },
                        }
                    ],
                },
            ),
        ),
        relays=True,
    ),
    Row(
        "POST",
        "/v1/responses",
        "createResponse",
        "Responses",
        "Answer, as items.",
        answers_stream(
            ref("Response"), "Numbered events: `response.created` … `response.completed`.", "Items."
        ),
        asks={JSON: ref("ResponseRequest")},
        parameters=(IDEMPOTENCY, SESSION),
        examples=(
            Example("whole", {"model": "sim-openai", "input": "Hello"}),
            Example("streamed", {"model": "sim-openai", "stream": True, "input": "Hello"}),
            Example(
                "with turns",
                {
                    "model": "sim-gemini",
                    "instructions": "Be brief.",
                    "input": [{"role": "user", "content": "Hello"}],
                    "store": False,
                },
            ),
        ),
        relays=True,
    ),
    Row(
        "POST",
        "/v1/responses/input_tokens",
        "countResponseTokens",
        "Responses",
        "Count the tokens of a response that is not asked for.",
        answers_json(ref("InputTokens"), "How many."),
        asks={JSON: ref("ResponseRequest")},
        examples=(Example("a text", {"model": "sim-openai", "input": "Hello"}),),
        relays=True,
    ),
    Row(
        "POST",
        "/v1/completions",
        "createCompletion",
        "Chat",
        "Go on with a text (legacy).",
        answers_stream(ref("Completion"), "`data: {…}` chunks and `data: [DONE]`.", "The text."),
        asks={JSON: ref("CompletionRequest")},
        parameters=(IDEMPOTENCY, SESSION),
        examples=(
            Example("whole", {"model": "sim-openai", "prompt": "Once upon", "max_tokens": 20}),
        ),
        relays=True,
    ),
)
