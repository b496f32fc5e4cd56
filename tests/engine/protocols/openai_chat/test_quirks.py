"""What a provider's row says about its server is heeded, in requests and in usage."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN
from engine.conversation import Conversation, Text, Turn
from engine.events import Call, Usage, UsageReport
from engine.protocols.codec import UpstreamTarget
from engine.protocols.openai_chat import CODEC
from engine.protocols.openai_usage import read_usage
from engine.protocols.quirks import PLAIN, Quirks

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
OLD = Quirks(output_limit_field="max_tokens")
NEW = Quirks(output_limit_field="max_completion_tokens")
SILENT = Quirks(include_usage=False)


def verbatim(quirks: Quirks, limit: int | None = None, **changes: Any) -> dict[str, Any]:
    request = CODEC.parse_request(Call(orjson.dumps(HELLO | changes), None))
    document = orjson.loads(CODEC.encode_verbatim(request, "m", limit, quirks))
    return {name: value for name, value in document.items() if name not in HELLO}


def translated(quirks: Quirks, **said: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    target = UpstreamTarget("gpt-5", UNKNOWN, stream=True, quirks=quirks)
    turns = (Turn("user", (Text("hello"),)),)
    got = CODEC.encode_request(Conversation(turns=turns, **said), target)
    return orjson.loads(got.body), got.dropped


@pytest.mark.parametrize(
    ("quirks", "limit", "said", "sent"),
    [
        (PLAIN, None, {"max_tokens": 9}, {"max_tokens": 9}),
        (OLD, None, {"max_tokens": 9}, {"max_tokens": 9}),
        (OLD, None, {"max_completion_tokens": 9}, {"max_tokens": 9}),
        (NEW, None, {"max_tokens": 9}, {"max_completion_tokens": 9}),
        (OLD, None, {"max_tokens": 9, "max_completion_tokens": 7}, {"max_tokens": 7}),
        (OLD, None, {"max_tokens": None, "max_completion_tokens": None}, {}),
        (OLD, None, {}, {}),
        (OLD, 5, {}, {"max_tokens": 5}),
        (OLD, 5, {"max_completion_tokens": 9}, {"max_tokens": 5}),
        (NEW, 5, {"max_tokens": 3}, {"max_completion_tokens": 3}),
    ],
)
def test_a_limit_has_the_name_that_the_server_knows(
    quirks: Quirks, limit: int | None, said: dict[str, Any], sent: dict[str, Any]
) -> None:
    assert verbatim(quirks, limit, **said) == sent


def test_usage_is_asked_for_where_the_server_takes_it() -> None:
    options = {"include_usage": True, "include_obfuscation": False}
    assert verbatim(PLAIN, stream=True)["stream_options"] == {"include_usage": True}
    assert verbatim(SILENT, stream=True) == {"stream": True}
    assert verbatim(SILENT, stream=True, stream_options=options) == {"stream": True}
    assert "stream_options" in translated(PLAIN)[0]
    assert "stream_options" not in translated(SILENT)[0]


def test_a_translated_limit_has_the_servers_name_too() -> None:
    assert translated(PLAIN, max_output_tokens=9)[0]["max_completion_tokens"] == 9
    document, _ = translated(OLD, max_output_tokens=9)
    assert document["max_tokens"] == 9
    assert "max_completion_tokens" not in document


def test_what_a_server_refuses_is_dropped_and_said() -> None:
    said: dict[str, Any] = {"end_user": "ann", "seed": 4, "metadata": {"a": "b"}}
    document, dropped = translated(PLAIN, **said)
    assert (document["user"], document["seed"], document["metadata"]) == ("ann", 4, {"a": "b"})
    assert dropped == ()
    document, dropped = translated(Quirks(refuses=frozenset({"user", "seed"})), **said)
    assert document["metadata"] == {"a": "b"}
    assert not {"user", "seed"} & document.keys()
    assert dropped == ("end_user", "seed")


def usage(total: object = None, reasoning: int = 30) -> dict[str, Any]:
    report: dict[str, Any] = {
        "prompt_tokens": 10,
        "completion_tokens": 40,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return report if total is None else report | {"total_tokens": total}


@pytest.mark.parametrize(
    ("apart", "total", "output_tokens"),
    [
        (None, None, 40),
        (None, 50, 40),
        (None, 80, 70),
        (None, 81, 40),
        (True, None, 70),
        (True, 80, 70),
        (True, 95, 70),
        (True, "80", 70),
        (True, 50, 40),
        (False, None, 40),
        (False, 80, 40),
    ],
)
def test_reasoning_is_counted_once(apart: bool | None, total: object, output_tokens: int) -> None:
    quirks = Quirks(reasoning_apart=apart)
    report = read_usage({"usage": usage(total)}, quirks)
    assert report == Usage(input_tokens=10, output_tokens=output_tokens, reasoning_tokens=30)
    without = read_usage({"usage": usage(total, reasoning=0)}, quirks)
    assert without == Usage(input_tokens=10, output_tokens=40)


def test_streams_and_whole_answers_heed_the_row() -> None:
    quirks = Quirks(reasoning_apart=True)
    report = UsageReport(Usage(input_tokens=10, output_tokens=70, reasoning_tokens=30))
    chunk = {"id": "c", "choices": [], "usage": usage()}
    message = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    whole = orjson.dumps({"id": "c", "choices": [message], "usage": usage()})
    frame = b"data: " + orjson.dumps(chunk) + b"\n\n"
    request = CODEC.parse_request(Call(orjson.dumps(HELLO | {"stream": True}), None))
    for decoder in (
        CODEC.open_decoder(end_marker=True, quirks=quirks),
        CODEC.open_verbatim(request, end_marker=True, quirks=quirks),
    ):
        [found] = [event for event in decoder.decode(frame) if isinstance(event, UsageReport)]
        assert found.usage == report.usage
    *_, last = CODEC.decode_response(whole, quirks)
    assert isinstance(last, UsageReport)
    assert last.usage == report.usage
