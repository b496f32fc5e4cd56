"""What a provider answers, the same in every run: one event a token, and a whole answer."""

from __future__ import annotations

from typing import Any, Final

import orjson

_WORDS: Final = (" the", " river", " runs", " over", " stones", ",", " and", " it", " sings", ".")
_USAGE: Final = {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}


def chat_stream(tokens: int) -> tuple[list[bytes], bytes]:
    """Events of an OpenAI chat completion, and its ending: finish, usage, end marker."""
    events = [_chat({"role": "assistant", "content": ""})]
    events += [_chat({"content": _word(number)}) for number in range(tokens)]
    usage = _USAGE | {"completion_tokens": tokens, "total_tokens": 12 + tokens}
    ending = _chat({}, finish_reason="stop") + _data(_CHUNK | {"choices": [], "usage": usage})
    return events, ending + b"data: [DONE]\n\n"


def anthropic_stream(tokens: int) -> tuple[list[bytes], bytes]:
    """The same of an Anthropic message."""
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    }  # fmt: skip
    block: dict[str, Any] = {"index": 0, "content_block": {"type": "text", "text": ""}}
    events = [_named("message_start", message=message), _named("content_block_start", **block)]
    events += [
        _named("content_block_delta", index=0, delta={"type": "text_delta", "text": _word(number)})
        for number in range(tokens)
    ]
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    ending = (
        _named("content_block_stop", index=0)
        + _named("message_delta", delta=stop, usage={"output_tokens": tokens})
        + _named("message_stop")
    )
    return events, ending


def chat_answer(tokens: int) -> bytes:
    """An OpenAI chat completion in one piece."""
    message = {"role": "assistant", "content": "".join(map(_word, range(tokens)))}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = _USAGE | {"completion_tokens": tokens, "total_tokens": 12 + tokens}
    whole = {**_CHUNK, "object": "chat.completion", "choices": [choice], "usage": usage}
    return orjson.dumps(whole)


_CHUNK: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "m",
}


def _word(number: int) -> str:
    return _WORDS[number % len(_WORDS)]


def _chat(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _data(_CHUNK | {"choices": [choice]})


def _data(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _named(name: str, **fields: Any) -> bytes:
    return b"event: %s\n" % name.encode() + _data({"type": name, **fields})
