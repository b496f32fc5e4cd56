"""Agents: what an account sets up once, and then calls like a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from engine.agent import Method
from engine.conversation import Effort
from frontends.reference.chat import HELLO, IDEMPOTENCY, SESSION
from frontends.reference.claude import VERSION
from frontends.reference.gemini import ALT, at_versions
from frontends.reference.rows import (
    EVENTS,
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    always,
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

TAG: Final = "Agents"
_TOOL_NAME: Final = text(pattern="^[A-Za-z0-9_-]{1,64}$")
_ARGUMENTS: Final = thing({}, detail="JSON Schema of the arguments, an object's.")
_NUMBERS: Final[Mapping[str, Schema]] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": whole(1),
    "seed": whole(),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "stop": listed(text(), maxItems=8),
    "reasoning_effort": one_of(*get_args(Effort)),
    "parallel_tool_calls": flag(),
}
_FIELDS: Final[Mapping[str, Schema]] = {
    "name": text("It is called as `agent:NAME`.", pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"),
    "model": text("Which one plays it.", examples=["sim-openai"]),
    "description": nullable(text(maxLength=1_024)),
    "instructions": text("They go before whatever a client says."),
    "knowledge": thing(
        {
            "file_ids": listed(text("Of `/v1/files`.")),
            "sources_max": whole(1, detail="Passages in one prompt."),
            "context_tokens": whole(1, detail="What they take there at most."),
        },
        closed=True,
    ),
    "tools": listed(either(ref("AgentFunction"), ref("AgentHttpTool"))),
    "parameters": thing(_NUMBERS, closed=True, detail="Where a call says nothing else."),
    "limits": thing(
        {
            "rounds": whole(1, detail="Answers of the model, tools between them."),
            "seconds": number(0.001),
            "max_output_tokens": whole(1, detail="Of a round."),
            "spend_nanodollars": whole(1, detail="No round begins beyond."),
        },
        closed=True,
        detail="What one call may come to.",
    ),
    "metadata": by_name(text()),
}
_EXAMPLE: Final[dict[str, Any]] = {
    "model": "sim-openai",
    "instructions": "Answer briefly, and cite the handbook.",
    "tools": [
        {
            "type": "http",
            "name": "look_up_order",
            "description": "The state of an order.",
            "method": "GET",
            "url": "https://orders.example/v1/orders/{number}",
            "parameters": {"type": "object", "properties": {"number": {"type": "string"}}},
            "headers": {"Authorization": "Bearer OF_YOUR_SERVICE"},
        },
        {"type": "function", "name": "ask_a_person", "parameters": {"type": "object"}},
    ],
    "parameters": {"temperature": 0.2},
    "limits": {"rounds": 4, "spend_nanodollars": 50_000_000},
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    "AgentFunction": thing(
        {
            "type": exactly("function"),
            "name": _TOOL_NAME,
            "description": nullable(text()),
            "parameters": nullable(_ARGUMENTS),
            "strict": nullable(flag()),
        },
        "type",
        "name",
        detail="A function that whoever calls the agent runs.",
    ),
    "AgentHttpTool": thing(
        {
            "type": exactly("http"),
            "name": _TOOL_NAME,
            "description": text(),
            "parameters": _ARGUMENTS,
            "method": one_of(*get_args(Method)),
            "url": text("With `{name}` for arguments; the others are its query or its body."),
            "headers": by_name(nullable(text("A secret: shown as null from then on."))),
            "timeout_s": number(0),
            "max_bytes": whole(1),
        },
        "type",
        "name",
        "description",
        "method",
        "url",
        detail="A request that the gateway makes where the model asks for it.",
    ),
    "AgentRequest": thing(_FIELDS, "name", "model"),
    "AgentChange": thing(
        {name: nullable(schema) for name, schema in _FIELDS.items()},
        detail="What is said is replaced, and null takes it back.",
    ),
    "Agent": thing(
        {
            "id": text(),
            "object": exactly("agent"),
            "created_at": text(),
            "updated_at": text(),
            "version": whole(1),
            "called_as": text("The model's name of it."),
            **_FIELDS,
        },
        "id",
        "object",
        "version",
        "called_as",
        "name",
        "model",
    ),
    "AgentList": always(
        {
            "object": exactly("list"),
            "data": listed(ref("Agent")),
            "has_more": flag(),
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        }
    ),
    "AgentDeleted": always({"id": text(), "object": exactly("agent"), "deleted": flag()}),
}

_AGENT: Final = answers_json(ref("Agent"), "The agent.")

_CALLED: Final = "What the body says of a `model` is not looked at."
_CONTENTS: Final = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
_VERBS: Final = (
    Row(
        "POST",
        "/{version}/agents/<target>",
        "agentGenerateContent",
        TAG,
        "Have an agent answer contents.",
        answers_json(ref("GenerateContentResponse"), "The answer."),
        path="/{version}/agents/{agent_id}:generateContent",
        asks={JSON: ref("GenerateContentRequest")},
        parameters=(IDEMPOTENCY,),
        examples=(Example("a text", _CONTENTS),),
        relays=True,
        refuses=(404,),
    ),
    Row(
        "POST",
        "/{version}/agents/<target>",
        "agentStreamGenerateContent",
        TAG,
        "Have an agent answer contents, as it is generated.",
        {
            200: Answer(
                "The answer in parts.",
                {
                    JSON: listed(ref("GenerateContentResponse")),
                    EVENTS: anything("`data: {…}`, a `GenerateContentResponse` each."),
                },
            )
        },
        path="/{version}/agents/{agent_id}:streamGenerateContent",
        asks={JSON: ref("GenerateContentRequest")},
        parameters=(ALT, IDEMPOTENCY),
        examples=(Example("a text", _CONTENTS, query={"alt": "sse"}),),
        relays=True,
        refuses=(404,),
    ),
)

ROWS: Final = (
    Row(
        "POST",
        "/v1/agents",
        "createAgent",
        TAG,
        "Set up an agent.",
        answers_json(ref("Agent"), "The agent.", 201),
        asks={JSON: ref("AgentRequest")},
        examples=(Example("with tools", {"name": "support", **_EXAMPLE}),),
        refuses=(404, 409),
    ),
    Row(
        "GET",
        "/v1/agents",
        "listAgents",
        TAG,
        "The account's agents.",
        answers_json(ref("AgentList"), "A page of them."),
        parameters=(
            Parameter("limit", whole(1, 100), "20 unless said."),
            Parameter("order", one_of("asc", "desc")),
            Parameter("after", text()),
            Parameter("before", text()),
        ),
        examples=(Example("all"),),
        refuses=(404,),
    ),
    Row(
        "GET",
        "/v1/agents/<agent_id>",
        "getAgent",
        TAG,
        "An agent.",
        _AGENT,
        examples=(Example("one"),),
        refuses=(404,),
    ),
    Row(
        "PATCH",
        "/v1/agents/<agent_id>",
        "changeAgent",
        TAG,
        "Change what is said, and nothing else.",
        _AGENT,
        asks={JSON: ref("AgentChange")},
        examples=(Example("its words", {"instructions": "Answer at length."}),),
        refuses=(404, 409),
    ),
    Row(
        "DELETE",
        "/v1/agents/<agent_id>",
        "deleteAgent",
        TAG,
        "Remove an agent.",
        answers_json(ref("AgentDeleted"), "It is gone."),
        examples=(Example("one"),),
        refuses=(404,),
    ),
    Row(
        "POST",
        "/v1/agents/<agent_id>/chat/completions",
        "createAgentChatCompletion",
        TAG,
        "Have an agent answer a conversation.",
        answers_stream(
            ref("ChatCompletion"),
            "`data: {…}` chunks, a `chat.completion.chunk` each, and `data: [DONE]`.",
            "The answer.",
        ),
        detail=_CALLED,
        asks={JSON: ref("ChatCompletionRequest")},
        parameters=(IDEMPOTENCY, SESSION),
        examples=(Example("whole", {"model": "agent", "messages": HELLO}),),
        relays=True,
        refuses=(404,),
    ),
    Row(
        "POST",
        "/v1/agents/<agent_id>/responses",
        "createAgentResponse",
        TAG,
        "Have an agent answer, as items.",
        answers_stream(
            ref("Response"), "Numbered events: `response.created` … `response.completed`.", "Items."
        ),
        detail=_CALLED,
        asks={JSON: ref("ResponseRequest")},
        parameters=(IDEMPOTENCY, SESSION),
        examples=(Example("whole", {"model": "agent", "input": "Hello"}),),
        relays=True,
        refuses=(404,),
    ),
    Row(
        "POST",
        "/v1/agents/<agent_id>/messages",
        "createAgentMessage",
        TAG,
        "Have an agent answer a conversation, as Anthropic's clients ask.",
        answers_stream(
            ref("Message"), "`event: message_start` … `event: message_stop`.", "The message."
        ),
        detail=_CALLED,
        asks={JSON: ref("MessageRequest")},
        parameters=(VERSION, IDEMPOTENCY, SESSION),
        examples=(Example("whole", {"model": "agent", "max_tokens": 500, "messages": HELLO}),),
        relays=True,
        refuses=(404,),
    ),
    *(each for verb in _VERBS for each in at_versions(verb)),
)
