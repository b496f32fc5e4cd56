"""Files in the stream of a run: a client is told its own names for them, wherever they stand."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.events import Call
from engine.metering.tokens import counter_for
from engine.protocols.codec import Identity
from engine.protocols.openai_runs import CODEC
from engine.protocols.openai_runs.reading import files_of
from engine.relay import RelaySettings, open_relay

KNOWN, DRAWN, CITED, FOUND = "file-Known1", "file-Drawn1", "file-Cited1", "file-Found1"
NAMES = {KNOWN: "file-ours1"}
PART = {"index": 0, "type": "image_file", "image_file": {"file_id": DRAWN}}
TEXT: dict[str, Any] = {
    "value": f"See \"file-Words1\" and '{DRAWN}'.",
    "annotations": [
        {"type": "file_citation", "text": "[1]", "file_citation": {"file_id": CITED, "quote": ""}},
        {"type": "file_path", "text": "sandbox:/a.png", "file_path": {"file_id": DRAWN}},
        {"type": "file_citation", "text": "[2]", "file_citation": {"file_id": KNOWN}},
    ],
}
CALLS = [
    {
        "id": "call_1",
        "type": "code_interpreter",
        "code_interpreter": {
            "input": 'open("file-Words1")',
            "outputs": [{"type": "image", "image": {"file_id": DRAWN}}],
        },
    },
    {
        "id": "call_2",
        "type": "file_search",
        "file_search": {"results": [{"file_id": FOUND, "file_name": "file-name-99"}]},
    },
]
STEP = {"type": "tool_calls", "tool_calls": CALLS}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("thread.run.created", {"id": "run_1", "object": "thread.run", "thread_id": "thread_1",
                            "status": "queued", "metadata": {"file_id": "file-Words1"}}),
    ("thread.run.step.delta", {"id": "step_1", "object": "thread.run.step.delta",
                               "delta": {"step_details": STEP}}),
    ("thread.message.delta", {"id": "msg_1", "object": "thread.message.delta",
                              "delta": {"content": [PART]}}),
    ("thread.message.delta", {"id": "msg_1", "object": "thread.message.delta",
                              "delta": {"content": [{"type": "text", "text": TEXT}]}}),
    ("thread.message.completed", {"id": "msg_1", "object": "thread.message", "thread_id":
                                  "thread_1", "attachments": [{"file_id": KNOWN, "tools": []}],
                                  "content": [PART, {"type": "text", "text": TEXT}]}),
]  # fmt: skip


def streamed(events: list[tuple[str, dict[str, Any]]]) -> bytes:
    """As a provider sends them."""
    told = [b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(it)) for name, it in events]
    return b"".join(told) + b"event: done\ndata: [DONE]\n\n"


def relayed(body: bytes, size: int, *, keeps: bool = True) -> tuple[bytes, list[str]]:
    """What a client gets of a stream that comes in pieces of a size, and what was made."""
    call = Call(
        body=b'{"assistant_id": "asst_0a1b2c", "stream": true}',
        key=None,
        protocol="openai",
        operation="run",
        at={"thread_id": "thread_0a1b2c"},
        held=frozenset({"asst_0a1b2c", "thread_0a1b2c"}),
        model="guide",
    )
    settings = RelaySettings(
        client=CODEC,
        provider=CODEC,
        request=CODEC.parse_request(call),
        count=counter_for("o200k_base"),
        identity=Identity("req_1", "m", 0),
        end_marker=True,
        body_max_bytes=1_000_000,
        names=NAMES,
        call_file=(lambda name: name.replace("file-", "file-made-")) if keeps else None,
    )
    relay = open_relay(settings)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    out = b"".join(relay.feed(piece) for piece in pieces) + relay.end_of_input()
    assert (relay.terminal, relay.error) == (True, None)
    return out + relay.finish(), list(relay.made())


def renamed(names: dict[str, str]) -> bytes:
    """The stream with these names in the places of files, every other byte as it came."""

    def put(value: Any, at: str = "") -> Any:
        match value:
            case dict():
                return {key: put(it, key) if key != "metadata" else it for key, it in value.items()}
            case list():
                return [put(it, at) for it in value]
            case _:
                return names.get(value, value) if at == "file_id" else value

    return streamed([(name, put(document)) for name, document in EVENTS])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1_000, 10**6])
def test_every_file_of_a_stream_has_the_clients_name_however_it_is_split(size: int) -> None:
    out, made = relayed(streamed(EVENTS), size)
    new = {name: name.replace("file-", "file-made-") for name in (DRAWN, CITED, FOUND)}
    assert out == renamed(NAMES | new)
    assert sorted(made) == sorted(new)


def test_a_provider_that_keeps_nothing_makes_nothing() -> None:
    assert relayed(streamed(EVENTS), 100, keeps=False) == (renamed(NAMES), [])


def test_what_was_made_is_remembered_up_to_a_bound_and_all_of_it_is_named() -> None:
    parts = [{"image_file": {"file_id": f"file-Drawn{number}"}} for number in range(150)]
    body = {"object": "thread.message.delta", "delta": {"content": parts}}
    out, made = relayed(streamed([("thread.message.delta", body)]), 10**6)
    assert out.count(b"file-made-Drawn") == 150
    assert len(made) == 100


def test_words_are_no_files() -> None:
    assert list(files_of({"metadata": {"file_id": DRAWN}, "file_id": "file_search"})) == []
    assert list(files_of({"a": [{"file_ids": [DRAWN, 1, CITED]}], "file_id": None})) == [
        DRAWN,
        CITED,
    ]
