"""Every fault on demand, on both protocols: what the client sees and what the truth log says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import trio

from bench.simulate import Simulator, TruthRecord, open_simulator
from engine.wire.http2 import ErrorCodes
from tests.bench.peer import PATIENCE_S, Http2Client, chat_request, events_of, open_http2, text_of
from tests.bench.raw import Received, converse, post


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with open_simulator() as simulator:
        yield simulator
        assert simulator.statistics().crashes == 0


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Http2Client]:
    async with open_http2(simulator.port) as client:
        yield client


async def ended(simulator: Simulator, request_id: str = "one") -> TruthRecord:
    with trio.fail_after(PATIENCE_S):
        return await simulator.truth.wait_ended(request_id)


async def over_http1(simulator: Simulator, directives: str, *, stream: bool = True) -> Received:
    request = chat_request(directives, stream=stream)
    return await converse(simulator.port, post(request, more="x-request-id: one\r\n"))


INTERRUPTING = ("cut", "rst", "goaway", "eof", "error_event")


@pytest.mark.parametrize("fault", INTERRUPTING)
@pytest.mark.parametrize("per_event", [1, 17])
@pytest.mark.parametrize("cut_after", [0, 1, 20, 100])
async def test_after_exactly_so_many_tokens_over_http2(
    simulator: Simulator, client: Http2Client, fault: str, per_event: int, cut_after: int
) -> None:
    request = chat_request(
        f"tokens=100 tokens_per_event={per_event} cut_after={cut_after} fault={fault}",
        stream_options={"include_usage": True},
    )
    answer = await client.wait(await client.chat(request, "one"))
    record = await ended(simulator)
    assert answer.status == 200
    assert b"[DONE]" not in answer.body
    assert b'"finish_reason":"' not in answer.body
    assert record.usage_reported is None
    assert record.tokens_generated == record.tokens_written == cut_after
    assert len(record.text.split()) == cut_after
    *events, last = events_of(answer.body)
    if fault == "error_event":
        error = last["error"]
        assert isinstance(error, dict)
        assert (error["type"], record.ended) == ("server_error", "error")
        assert (answer.ended, answer.cut) == (True, False)
    else:
        assert all("error" not in event for event in [*events, last])
        assert record.ended == "cut"
        assert answer.ended == (fault == "eof")
        assert answer.cut == (fault in {"cut", "goaway"})
        assert answer.reset_code == (ErrorCodes.INTERNAL_ERROR if fault == "rst" else None)
        assert text_of(answer.body) == record.text
    assert client.h2.draining == (fault == "goaway")


@pytest.mark.parametrize("fault", INTERRUPTING)
async def test_after_exactly_so_many_tokens_over_http1(simulator: Simulator, fault: str) -> None:
    if fault in {"eof", "error_event"}:
        request = chat_request(f"tokens=50 tokens_per_event=4 cut_after=10 fault={fault}")
        more = "x-request-id: one\r\nconnection: close\r\n"
        received = await converse(simulator.port, post(request, more=more))
    else:
        received = await over_http1(
            simulator, f"tokens=50 tokens_per_event=4 cut_after=10 fault={fault}"
        )
    record = await ended(simulator)
    assert received.status == 200
    assert b"[DONE]" not in received.data
    assert record.tokens_generated == record.tokens_written == 10
    assert received.terminated == (fault in {"eof", "error_event"})
    assert received.reset == (fault == "rst")
    assert (b'"server_error"' in received.data) == (fault == "error_event")
    assert record.ended == ("error" if fault == "error_event" else "cut")


async def test_cut_after_alone_is_a_cut(simulator: Simulator) -> None:
    received = await over_http1(simulator, "tokens=50 cut_after=3")
    assert not received.terminated
    assert (await ended(simulator)).tokens_written == 3


async def test_a_fault_alone_strikes_half_way(simulator: Simulator, client: Http2Client) -> None:
    answer = await client.wait(await client.chat(chat_request("tokens=30 fault=rst"), "one"))
    assert answer.reset_code == ErrorCodes.INTERNAL_ERROR
    assert (await ended(simulator)).tokens_written == 15


async def test_eof_alone_comes_after_all_tokens(simulator: Simulator, client: Http2Client) -> None:
    answer = await client.wait(await client.chat(chat_request("tokens=30 fault=eof"), "one"))
    assert answer.ended
    record = await ended(simulator)
    assert (record.tokens_written, record.ended) == (30, "cut")


async def test_goaway_alone_lets_streams_finish(simulator: Simulator, client: Http2Client) -> None:
    paced = "tokens=30 tokens_per_second=300"
    other = await client.chat(chat_request(paced), "other")
    draining = await client.chat(chat_request(f"{paced} fault=goaway"), "one")
    await client.wait(draining, tokens=2)
    assert client.h2.draining
    for stream_id in (other, draining):
        answer = await client.wait(stream_id)
        assert answer.body.endswith(b"data: [DONE]\n\n")
    with trio.fail_after(PATIENCE_S):
        await client.wait_lost()
    assert (await ended(simulator)).ended == "done"
    assert (await ended(simulator, "other")).ended == "done"


async def test_goaway_alone_over_http1_closes_after_the_answer(simulator: Simulator) -> None:
    received = await over_http1(simulator, "tokens=30 fault=goaway")
    assert b"connection: close" in received.head
    assert received.terminated
    assert received.body.endswith(b"data: [DONE]\n\n")


async def test_goaway_can_exclude_the_request(simulator: Simulator, client: Http2Client) -> None:
    first = await client.chat(chat_request("tokens=30 tokens_per_second=300"), "first")
    refused = await client.chat(chat_request("fault=goaway_refused"), "one")
    answer = await client.wait(refused)
    assert answer.unprocessed
    assert not answer.head
    assert (await client.wait(first)).body.endswith(b"data: [DONE]\n\n")
    record = await ended(simulator)
    assert (record.ended, record.tokens_generated, record.status) == ("cut", 0, None)
    with trio.fail_after(PATIENCE_S):
        await client.wait_lost()


async def test_a_stream_can_be_refused(simulator: Simulator, client: Http2Client) -> None:
    answer = await client.wait(await client.chat(chat_request("fault=refused"), "one"))
    assert (answer.reset_code, answer.unprocessed) == (ErrorCodes.REFUSED_STREAM, True)
    assert (await client.wait(await client.chat(chat_request("tokens=1")))).ended
    assert (await ended(simulator)).ended == "cut"


@pytest.mark.parametrize("fault", ["refused", "goaway_refused"])
async def test_refusal_over_http1_is_a_connection_closed_unanswered(
    simulator: Simulator, fault: str
) -> None:
    received = await over_http1(simulator, f"fault={fault}")
    assert (received.data, received.reset) == (b"", False)


async def test_cut_takes_the_connection_with_it(simulator: Simulator, client: Http2Client) -> None:
    other = await client.chat(chat_request("tokens=100000 tokens_per_second=100"), "other")
    await client.wait(other, tokens=1)
    await client.wait(await client.chat(chat_request("tokens=10 cut_after=5"), "one"))
    assert (await client.wait(other)).cut
    assert (await ended(simulator, "other")).ended == "cut"


@pytest.mark.parametrize("stream", [True, False])
async def test_stall_for_a_while(simulator: Simulator, client: Http2Client, stream: bool) -> None:
    request = chat_request("tokens=10 cut_after=4 fault=stall stall_ms=100", stream=stream)
    answer = await client.wait(await client.chat(request, "one"))
    assert answer.ended
    record = await ended(simulator)
    assert (record.ended, record.tokens_written) == ("done", 10)
    assert record.first_token_at is not None
    assert record.ended_at is not None
    assert record.ended_at - record.first_token_at >= 0.09


@pytest.mark.parametrize("stream", [True, False])
async def test_stall_until_the_client_leaves(
    simulator: Simulator, client: Http2Client, stream: bool
) -> None:
    request = chat_request("tokens=10 cut_after=4 fault=stall", stream=stream)
    stream_id = await client.chat(request, "one")
    if stream:
        await client.wait(stream_id, tokens=4)
    await client.wait(await client.chat(chat_request("tokens=5")))
    client.h2.reset(stream_id)
    await client.flush()
    record = await ended(simulator)
    assert (record.ended, record.tokens_generated) == ("reset", 4)
    assert record.tokens_written == (4 if stream else 0)


async def test_stall_before_the_first_token(simulator: Simulator, client: Http2Client) -> None:
    stream_id = await client.chat(chat_request("tokens=10 cut_after=0 fault=stall"), "one")
    await client.wait(await client.chat(chat_request("tokens=5")))
    assert client.answers[stream_id].status == 200
    assert text_of(client.answers[stream_id].body) == ""


@pytest.mark.parametrize("fault", ["cut", "rst", "goaway"])
async def test_whole_completions_fail_before_a_byte(
    simulator: Simulator, client: Http2Client, fault: str
) -> None:
    request = chat_request(f"tokens=40 cut_after=10 fault={fault}", stream=False)
    answer = await client.wait(await client.chat(request, "one"))
    record = await ended(simulator)
    assert not answer.head
    assert not answer.ended
    assert (record.ended, record.tokens_generated, record.tokens_written) == ("cut", 10, 0)


async def test_a_whole_completion_can_end_too_early(
    simulator: Simulator, client: Http2Client
) -> None:
    request = chat_request("tokens=40 fault=eof", stream=False)
    answer = await client.wait(await client.chat(request, "one"))
    assert (answer.status, answer.ended) == (200, True)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.body)
    record = await ended(simulator)
    assert (record.ended, record.tokens_generated, record.tokens_written) == ("cut", 40, 0)


async def test_a_whole_completion_can_end_in_an_error(
    simulator: Simulator, client: Http2Client
) -> None:
    request = chat_request("tokens=40 fault=error_event", stream=False)
    answer = await client.wait(await client.chat(request, "one"))
    assert answer.status == 500
    assert orjson.loads(answer.body)["error"]["type"] == "server_error"
    assert (await ended(simulator)).ended == "error"


async def test_the_client_leaves_after_every_event(simulator: Simulator) -> None:
    """The log knows at least what the client has, whenever it leaves."""
    for seen in range(12):
        async with open_http2(simulator.port) as client:
            request = chat_request("tokens=10 tokens_per_second=1000 tokens_per_event=1")
            stream_id = await client.chat(request, str(seen))
            answer = await client.wait(stream_id, tokens=seen)
            received = answer.body.count(b'"delta":{"content"')
        record = await ended(simulator, str(seen))
        assert received <= record.tokens_written <= record.tokens_generated <= 10
        assert record.ended in {"reset", "done"}
        with trio.fail_after(PATIENCE_S):
            await simulator.wait_idle()
        assert simulator.statistics().scheduled_replies == 0
