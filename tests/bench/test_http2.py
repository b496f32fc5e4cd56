"""The simulated provider over HTTP/2: prior knowledge and TLS, real sockets."""

from __future__ import annotations

from bench.simulate import open_simulator
from tests.bench.peer import chat_request, open_http2, text_of


async def test_stream_matches_the_truth_log() -> None:
    async with open_simulator() as simulator, open_http2(simulator.port) as client:
        request = chat_request("tokens=40 tokens_per_event=3")
        answer = await client.wait(await client.chat(request, "one"))
        record = simulator.truth.record("one")
        assert record is not None
        assert answer.status == 200
        assert answer.ended
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert text_of(answer.body) == record.text
        assert record.tokens_generated == record.tokens_written == 40
        assert record.ended == "done"
        assert record.protocol == "h2"
        assert simulator.statistics().crashes == 0


async def test_cut_after_is_exact() -> None:
    async with open_simulator() as simulator, open_http2(simulator.port) as client:
        request = chat_request("tokens=40 tokens_per_event=17 cut_after=20")
        answer = await client.wait(await client.chat(request, "one"))
        assert answer.cut
        record = simulator.truth.record("one")
        assert record is not None
        assert record.ended == "cut"
        assert record.tokens_written == 20
        assert text_of(answer.body) == record.text
