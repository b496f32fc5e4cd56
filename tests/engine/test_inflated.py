"""Providers that compress although `identity` was asked for: their clients do not notice."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import orjson
import pytest
import trio

from engine.errors import GatewayError
from engine.events import Outcome
from engine.ledger.receipts import Receipt
from engine.wire.http import Headers
from tests.costs import without_cost
from tests.engine.upstream.peer import Peer, Request, open_peer
from tests.gateways import content, open_setup, run

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
TEXTS = ["One", " two", " three", " four"]
ANSWER = orjson.dumps(
    {
        "id": "c-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(TEXTS)},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
)


def stream_events() -> list[bytes]:
    """A chat stream with its usage."""
    chunks: list[dict[str, object]] = [
        {"choices": [{"index": 0, "delta": {"content": text}}]} for text in TEXTS
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": USAGE})
    chunks = [{"id": "c-1", "object": "chat.completion.chunk", "model": "m"} | c for c in chunks]
    return [*(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def compressed_events(wbits: int) -> list[bytes]:
    """Each event flushed, as a server that streams does."""
    compressor = zlib.compressobj(wbits=wbits)
    parts = [compressor.compress(e) + compressor.flush(zlib.Z_SYNC_FLUSH) for e in stream_events()]
    return [*parts, compressor.flush()]


async def answer(request: Request, parts: list[bytes], *codings: str, status: int = 200) -> None:
    head: Headers = [(b":status", b"%d" % status)]
    head += [(b"content-encoding", coding.encode()) for coding in codings]
    request.connection.http2.send_headers(request.stream_id, head)
    for part in parts:
        await request.send_all(part)
    request.send(b"", ended=True)


async def ask(
    folder: Path, parts: list[bytes], *codings: str, stream: bool = True, status: int = 200
) -> tuple[bytes, Receipt, GatewayError | None]:
    """One call to a provider that answers with these bytes."""

    async def serve(peer: Peer) -> None:
        request = await peer.next_request()
        assert (b"accept-encoding", b"identity") in request.head
        await answer(request, parts, *codings, status=status)

    async with open_peer() as peer:
        base_url = f"http://127.0.0.1:{peer.port}"
        async with open_setup(folder, base_url=base_url) as setup, trio.open_nursery() as nursery:
            nursery.start_soon(serve, peer)
            changes = {"stream_options": {"include_usage": True}} if stream else {"stream": False}
            result = await run(setup, setup.call(**changes))
            nursery.cancel_scope.cancel()
    return result


@pytest.mark.parametrize(
    ("coding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15)]
)
async def test_a_compressed_stream(tmp_path: Path, coding: str, wbits: int) -> None:
    body, receipt, error = await ask(tmp_path, compressed_events(wbits), coding)
    assert error is None
    assert without_cost(body) == b"".join(stream_events())
    assert receipt.outcome is Outcome.COMPLETED
    assert receipt.usage["output_tokens"] == 4


@pytest.mark.parametrize("codings", [("gzip",), ("identity", "gzip"), ("identity, gzip",)])
async def test_a_compressed_answer_in_one_piece(tmp_path: Path, codings: tuple[str, ...]) -> None:
    body, receipt, _ = await ask(tmp_path, [gzip.compress(ANSWER)], *codings, stream=False)
    assert without_cost(body) == ANSWER
    assert receipt.outcome is Outcome.COMPLETED


async def test_a_compressed_refusal(tmp_path: Path) -> None:
    refusal = orjson.dumps({"error": {"message": "No such thing.", "code": "no_such_thing"}})
    _, _, error = await ask(tmp_path, [gzip.compress(refusal)], "gzip", status=400)
    assert error is not None
    assert (error.status, error.code) == (400, "no_such_thing")


@pytest.mark.parametrize("parts", [[b"\x8b\x02\x80"], [b""], [b"x" * 100_000]])
@pytest.mark.parametrize("coding", ["br", "gzip"])
async def test_a_refusal_that_cannot_be_read_is_one_by_its_status(
    tmp_path: Path, coding: str, parts: list[bytes]
) -> None:
    _, _, error = await ask(tmp_path, parts, coding, status=400)
    assert error is not None
    assert error.status == 400


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
async def test_other_codings_are_refused_by_name(tmp_path: Path, coding: str) -> None:
    _, receipt, error = await ask(tmp_path, [b"whatever"], coding)
    assert error is not None
    assert coding in error.message
    assert (error.status, receipt.outcome) == (502, Outcome.UPSTREAM_FAILED)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_bomb_ends_the_attempt(tmp_path: Path, stream: bool) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    _, receipt, error = await ask(tmp_path, [bomb], "gzip", stream=stream)
    assert error is not None
    assert "inflates to more" in error.message
    assert receipt.outcome is Outcome.UPSTREAM_FAILED


async def test_a_bomb_after_output_ends_the_stream(tmp_path: Path) -> None:
    compressor = zlib.compressobj(wbits=31)
    begun = compressor.compress(b"".join(stream_events()[:2]))
    parts = [begun + compressor.flush(zlib.Z_SYNC_FLUSH), compressor.compress(bytes(50_000_000))]
    body, receipt, error = await ask(tmp_path, [*parts, compressor.flush()], "gzip")
    assert error is None, "the head was out"
    assert content(body) == "".join(TEXTS[:2])
    assert b"cannot be read" in body
    assert receipt.outcome is Outcome.UPSTREAM_FAILED


@pytest.mark.parametrize("kept", [0, 2, 5])
async def test_what_breaks_off_is_billed_as_received(tmp_path: Path, kept: int) -> None:
    body, receipt, error = await ask(tmp_path, compressed_events(31)[:kept], "gzip")
    assert receipt.outcome is Outcome.UPSTREAM_FAILED
    if kept:
        assert content(body) == "".join(TEXTS[:kept])
        assert receipt.received_output_tokens == min(kept, len(TEXTS))
    else:
        assert error is not None


async def test_a_trailer_that_is_missing_after_the_end_is_forgiven(tmp_path: Path) -> None:
    """The protocol has said that all is there."""
    body, receipt, _ = await ask(tmp_path, compressed_events(31)[:-1], "gzip")
    assert without_cost(body) == b"".join(stream_events())
    assert receipt.outcome is Outcome.COMPLETED
