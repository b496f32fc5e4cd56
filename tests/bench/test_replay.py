"""Recordings are sent again byte for byte, however they are split."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import orjson
import pytest
import trio

from bench.simulate import Directives, SimulatorSettings, open_simulator
from bench.simulate.errors import ApiError
from bench.simulate.recorded import output_tokens, read_answer
from bench.simulate.replay import load_recording, split_body
from tests.bench.peer import PATIENCE_S, chat_request, open_http2
from tests.bench.raw import converse, post
from tests.bench.recordings import FOLDER, names_of, needs_recordings, read_recording
from tests.bench.talks import ask

EVENTS = (
    'data: {"choices":[{"index":0,"delta":{"content":"Añ"}}]}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"o 🌊"}}]}\n\n'
    'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}\n\n'
    "data: [DONE]\n\n"
)


def write_recording(folder: Path, name: str, **response: object) -> None:
    stored = {
        "response": {"status": 200, "headers": {"Content-Type": "text/event-stream"}, **response},
        "stream": True,
    }
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(orjson.dumps(stored))


@pytest.mark.parametrize("seed", range(10))
def test_splits_come_from_the_seed(seed: int) -> None:
    body = random.Random(seed).randbytes(1_000)
    directives = Directives(split_seed=seed, max_split=17)
    pieces = split_body(body, directives)
    assert b"".join(pieces) == body
    assert all(1 <= len(piece) <= 17 for piece in pieces)
    assert pieces == split_body(body, directives)
    assert pieces != split_body(body, Directives(split_seed=seed + 1, max_split=17))


def test_split_at_a_position() -> None:
    assert split_body(b"abcdef", Directives(split_at=2)) == [b"ab", b"cdef"]
    assert split_body(b"abcdef", Directives(split_at=0)) == [b"abcdef"]
    assert split_body(b"abcdef", Directives(split_at=99)) == [b"abcdef"]
    assert split_body(b"", Directives()) == []


async def test_replay_over_both_protocols(tmp_path: Path) -> None:
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "x-request-id": "req_recorded",
        "transfer-encoding": "chunked",
        "content-encoding": "gzip",
        "date": "Mon, 11 Nov 2024 23:43:59 GMT",
    }
    write_recording(tmp_path, "some-folder/a.json", body=EVENTS, headers=headers)
    request = chat_request("recording=some-folder/a.json split_seed=7 max_split=5")
    async with open_simulator(SimulatorSettings(recordings=tmp_path)) as simulator:
        more = "x-request-id: one\r\nconnection: close\r\n"
        received = await converse(simulator.port, post(request, more=more))
        async with open_http2(simulator.port) as client:
            answer = await client.wait(await client.chat(request, "two"))
        records = [simulator.truth.record(name) for name in ("one", "two")]
    assert received.body == answer.body == EVENTS.encode()
    assert received.head.count(b"transfer-encoding") == 1
    assert b"content-encoding" not in answer.head
    assert answer.head[b"x-request-id"] == b"req_recorded"
    assert answer.head[b"date"] != b"Mon, 11 Nov 2024 23:43:59 GMT"
    assert answer.ended
    for record in records:
        assert record is not None
        assert (record.ended, record.status, record.text) == ("done", 200, "Año 🌊")
        assert record.tokens_generated == record.tokens_written == 4
        assert record.usage_reported == {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "total_tokens": 13,
        }


async def test_every_piece_arrives_by_itself_with_a_gap(tmp_path: Path) -> None:
    write_recording(tmp_path, "a.json", body="abcdefgh")
    async with (
        open_simulator(SimulatorSettings(recordings=tmp_path)) as simulator,
        open_http2(simulator.port) as client,
    ):
        request = chat_request("recording=a.json max_split=1 gap_ms=20")
        answer = await client.wait(await client.chat(request))
    assert answer.reads == [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"]


async def test_statuses_and_binary_bodies(tmp_path: Path) -> None:
    audio = random.Random(3).randbytes(200_000)
    write_recording(tmp_path, "audio.json", body_b64=base64.b64encode(audio).decode())
    write_recording(tmp_path, "busy.json", status=429, body="{}", headers={"retry-after": "3"})
    write_recording(tmp_path, "empty.json", body="")
    async with open_simulator(SimulatorSettings(recordings=tmp_path)) as simulator:
        async with open_http2(simulator.port) as client:
            request = chat_request("recording=audio.json max_split=4000")
            assert (await client.wait(await client.chat(request))).body == audio
            answer = await client.wait(await client.chat(chat_request("recording=busy.json"), "x"))
            assert (answer.status, answer.head[b"retry-after"]) == (429, b"3")
            answer = await client.wait(await client.chat(chat_request("recording=empty.json")))
            assert (answer.body, answer.ended) == (b"", True)
        record = simulator.truth.record("x")
    assert record is not None
    assert record.ended == "error"


async def test_client_that_leaves_a_replay(tmp_path: Path) -> None:
    write_recording(tmp_path, "a.json", body=EVENTS)
    async with (
        open_simulator(SimulatorSettings(recordings=tmp_path)) as simulator,
        open_http2(simulator.port) as client,
    ):
        request = chat_request("recording=a.json max_split=1 gap_ms=1000")
        stream_id = await client.chat(request, "one")
        await client.wait(await client.chat(chat_request("recording=a.json")))
        client.h2.reset(stream_id)
        await client.flush()
        with trio.fail_after(PATIENCE_S):
            record = await simulator.truth.wait_ended("one")
    assert (record.ended, record.usage_reported) == ("reset", None)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.json",
        "/etc/passwd",
        "folder/../../secret.json",
        "link.json",
        "link/secret.json",
        "nothing.json",
        "folder",
        "plain.txt",
        "a\x00b.json",
        "x" * 5_000 + ".json",
    ],
)
def test_names_that_lead_nowhere_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "recordings"
    write_recording(tmp_path, "secret.json", body=EVENTS)
    write_recording(root, "folder/a.json", body=EVENTS)
    (root / "plain.txt").write_text("x")
    (root / "link.json").symlink_to(tmp_path / "secret.json")
    (root / "link").symlink_to(tmp_path)
    assert load_recording(root, "folder/a.json").body == EVENTS.encode()
    with pytest.raises(ApiError) as caught:
        load_recording(root, name)
    assert (caught.value.status, caught.value.code) == (400, "invalid_recording")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"response": {"status": 200, "headers": {}}}',
        '{"response": {"status": "x", "headers": {}, "body": ""}}',
        '{"response": {"status": 200, "headers": [], "body": ""}}',
        '{"response": {"status": 200, "headers": {}, "body_b64": "%"}}',
        '{"response": {"status": 200, "headers": {}, "body": 5}}',
    ],
)
def test_files_that_are_no_recordings_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ApiError, match="cannot be replayed"):
        load_recording(tmp_path, "bad.json")


def test_no_folder_no_replay() -> None:
    with pytest.raises(ApiError, match="without a recordings folder"):
        load_recording(None, "a.json")


EXPECTED = [
    (
        True,
        (
            b'event: message_start\ndata: {"type":"message_start","message":{"usage":'
            b'{"input_tokens":9,"output_tokens":1}}}\n\n'
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
            b'"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,'
            b'"delta":{"type":"text_delta","text":"So"}}\n\n'
            b'event: message_delta\ndata: {"type":"message_delta","delta":{},'
            b'"usage":{"output_tokens":4}}\n\n'
        ),
        {"input_tokens": 9, "output_tokens": 4},
        "So",
        4,
    ),
    (
        False,
        (
            b'{"type":"message","content":[{"type":"thinking","thinking":"hm"},'
            b'{"type":"text","text":"So"}],"usage":{"output_tokens":2}}'
        ),
        {"output_tokens": 2},
        "So",
        2,
    ),
    (
        True,
        (
            b'data: {"candidates": [{"content": {"parts": [{"text": "hm","thought": true}]}}]}'
            b"\r\n\r\n"
            b'data: {"candidates": [{"content": {"parts": [{"text": "So"}]}}],'
            b'"usageMetadata": {"candidatesTokenCount": 1,"thoughtsTokenCount": 5}}\r\n\r\n'
        ),
        {"candidatesTokenCount": 1, "thoughtsTokenCount": 5},
        "So",
        6,
    ),
    (
        True,
        (
            b'[{"candidates":[{"content":{"parts":[{"text":"S"}]}}]}\n,\r\n'
            b'{"candidates":[{"content":{"parts":[{"text":"o"}]},"finishReason":"STOP"}],'
            b'"usageMetadata":{"candidatesTokenCount":2}}\n]'
        ),
        {"candidatesTokenCount": 2},
        "So",
        2,
    ),
    (
        True,
        (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            b'"delta":"So"}\n\n'
            b'event: response.completed\ndata: {"type":"response.completed","response":'
            b'{"object":"response","output":[],"usage":{"output_tokens":4}}}\n\n'
        ),
        {"output_tokens": 4},
        "So",
        4,
    ),
    (
        False,
        (
            b'{"object":"response","output":[{"type":"reasoning","summary":[]},{"type":"message",'
            b'"content":[{"type":"output_text","text":"So"}]}],"usage":{"output_tokens":2}}'
        ),
        {"output_tokens": 2},
        "So",
        2,
    ),
    (
        True,
        (
            b'data: {"object":"text_completion","choices":[{"text":"S","index":0}]}\n\n'
            b'data: {"object":"text_completion","choices":[{"text":"o","index":0}]}\n\n'
            b'data: {"choices":[],"usage":{"completion_tokens":2}}\n\ndata: [DONE]\n\n'
        ),
        {"completion_tokens": 2},
        "So",
        2,
    ),
    (True, b"data: [1]\n\ndata: x\n\n", None, "", 0),
]


@pytest.mark.parametrize(("stream", "body", "usage", "text", "tokens"), EXPECTED)
def test_what_a_recorded_answer_says(
    stream: bool, body: bytes, usage: dict[str, int] | None, text: str, tokens: int
) -> None:
    assert read_answer(body, stream=stream) == (usage, text)
    assert output_tokens(usage) == tokens


@needs_recordings
@pytest.mark.parametrize(
    "name",
    names_of(
        "openai-chat",
        "openai-completions",
        "azure-openai-responses",
        "deepseek-responses",
        "openai-responses",
        "xai-responses",
        "anthropic-messages",
        "gemini-generateContent",
        "gemini-streamGenerateContent",
        "vertex-generateContent",
        "vertex-streamGenerateContent",
    ),
)
async def test_every_recording_replays_byte_for_byte(name: str) -> None:
    response = read_recording(name)["response"]
    folder = name.partition("/")[0]
    api = {
        "openai-chat": "openai",
        "openai-completions": "openai-completions",
        "anthropic-messages": "anthropic",
    }.get(folder, "openai-responses" if folder.endswith("responses") else "gemini")
    async with open_simulator(SimulatorSettings(recordings=FOLDER)) as simulator:
        for directives in ("split_seed=1 max_split=40", "split_seed=2 max_split=999"):
            received = await ask(api, f"recording={name} {directives}").send(simulator)
            assert received.status == response["status"]
            assert received.body == response["body"].encode(), directives
        for header, value in response["headers"].items():
            if header.lower() == "content-type":
                assert f"content-type: {value}".encode() in received.head
        async with open_http2(simulator.port) as client:
            request = chat_request(f"recording={name} split_seed=3 max_split=40")
            answer = await client.wait(await client.chat(request))
            assert answer.body == response["body"].encode()
        assert simulator.statistics().crashes == 0
