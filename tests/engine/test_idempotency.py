"""A request that is sent twice with one key is carried out, and paid for, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from engine import Call, Exchange
from engine.errors import (
    GatewayError,
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    IdempotencyUsedError,
    InsufficientFundsError,
    InvalidRequestError,
)
from engine.events import Head, Outcome, Protocol, TextDelta, new_request_id
from engine.idempotency import ANSWER_MAX_BYTES, decide, digest_of, stored_answer
from engine.ledger.idempotency import EarlierRequest
from engine.ledger.records import StoredAnswer
from engine.media.forms import Field, File, write_form
from engine.spool import Spool
from tests.engine.upstream.peer import Request
from tests.gateways import PROTOCOLS, Setup, drain, open_setup, run, settled
from tests.scripted import open_scripted
from tests.sounds import wav

KEY = "order-66"


def again(call: Call, **changes: object) -> Call:
    """The same request, sent anew."""
    return replace(call, request_id=new_request_id(), **changes)  # type: ignore[arg-type]


def keyed(setup: Setup, directives: str = "tokens=9", *, stream: bool = False) -> Call:
    return replace(setup.call(directives, stream=stream), idempotency_key=KEY)


def asked(setup: Setup) -> int:
    """How many requests have reached the provider."""
    return len(setup.sim.truth.records())


async def refused(setup: Setup, call: Call) -> GatewayError:
    with pytest.raises(GatewayError) as error:
        async with setup.gateway.open_exchange(call):
            pass
    return error.value


async def whole(setup: Setup, call: Call) -> tuple[Head, bytes, Exchange]:
    async with setup.gateway.open_exchange(call) as exchange:
        head = await exchange.head()
        return head, await drain(exchange), exchange


@pytest.mark.parametrize("client", PROTOCOLS)
async def test_the_same_answer_is_given_again(tmp_path: Path, client: Protocol) -> None:
    async with open_setup(tmp_path) as setup:
        call = replace(setup.call_of(client, client, "tokens=9", stream=False), idempotency_key=KEY)
        head, body, first = await whole(setup, call)
        balance = await setup.balance()
        assert not first.replayed
        for _ in range(2):
            same_head, same_body, second = await whole(setup, again(call))
            assert second.replayed
            assert same_body == body
            assert same_head.status == head.status
            assert same_head.headers == (*head.headers, (b"idempotent-replayed", b"true"))
            assert second.receipt.to_json() == first.receipt.to_json()
            assert second.receipt.idempotency_key == KEY
        assert asked(setup) == 1
        assert await setup.balance() == balance


@pytest.mark.parametrize("boundary", [b"a", b"aa", b"------------------------d74496d66958873e"])
def test_forms_are_alike_whatever_their_boundary(boundary: bytes, tmp_path: Path) -> None:
    def form(boundary: bytes, content: bytes) -> Call:
        body = b"--%b\r\nContent-Disposition: form-data; name=x\r\n\r\n%b\r\n--%b--\r\n" % (
            boundary,
            content,
            boundary,
        )
        kind = f"multipart/form-data; boundary={boundary.decode()}"
        return Call(body, None, "openai", "transcribe", content_type=kind)

    for size in (1, 64 * 1024 - 40, 256 * 1024 - 70, 256 * 1024 - 64, 700_000):
        content = b"." * size
        told = digest_of(form(b"another", content))
        assert digest_of(form(boundary, content)) == told
        assert digest_of(form(boundary, content + b".")) != told
        call = form(boundary, content)
        spool = Spool(tmp_path, 2_000_000)
        file = spool.open()
        trio.run(file.append, [call.body])
        assert digest_of(replace(call, body=b"", spooled=file)) == told
        file.close()


async def test_it_is_given_as_events_too(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = keyed(setup)
        await whole(setup, call)
        async with setup.gateway.open_exchange(again(call)) as exchange:
            events = [event async for event in exchange.events()]
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == setup.sim.truth.records()[0].text
        assert asked(setup) == 1


async def test_an_answer_that_is_no_json_is_given_as_events_too(tmp_path: Path) -> None:
    table = 'deployments = [{ provider = "sim", model = "whisper-1" }]\nprice = { seconds = 0.01 }'
    async with open_setup(tmp_path, models=f"[models.whisper-1]\n{table}") as setup:
        parts: list[Field | File] = [
            Field("model", "whisper-1"),
            Field("response_format", "srt"),
            File("file", "a.wav", None, memoryview(wav(900))),
        ]
        content_type, pieces = write_form(parts)
        call = Call(
            b"".join(pieces),
            setup.key,
            "openai",
            "transcribe",
            idempotency_key=KEY,
            content_type=content_type,
        )
        head, body, _ = await whole(setup, call)
        async with setup.gateway.open_exchange(again(call)) as exchange:
            assert (await exchange.head()).headers[: len(head.headers)] == head.headers
            events = [event async for event in exchange.events()]
        [text] = [event.text for event in events if isinstance(event, TextDelta)]
        assert text.encode() == body
        assert asked(setup) == 1


async def test_a_gateway_that_starts_anew_knows_it(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = keyed(setup)
        _, body, first = await whole(setup, call)
        ledger, account_id = setup.gateway.ledger, setup.account_id
        earlier = await ledger.earlier_request(account_id, KEY, 0)
        assert earlier is not None
        assert (earlier.request_id, earlier.ended) == (call.request_id, True)
        assert earlier.answer is not None
        assert earlier.answer.body.encode() == body
        assert earlier.receipt == first.receipt.to_json()


async def test_another_request_with_the_key_is_refused(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = keyed(setup)
        await whole(setup, call)
        for other in (
            again(call, body=setup.call("tokens=10", stream=False).body),
            again(call, body=setup.call("tokens=9", stream=True).body),
        ):
            error = await refused(setup, other)
            assert isinstance(error, IdempotencyMismatchError)
            assert error.request_id == call.request_id
        assert asked(setup) == 1


async def test_while_it_runs_the_second_is_told_to_wait(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        call = keyed(setup, "tokens=1000 tokens_per_second=10")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(whole, setup, call)
            await settled(lambda: asked(setup) == 1)
            error = await refused(setup, again(call))
            nursery.cancel_scope.cancel()
        assert isinstance(error, IdempotencyInProgressError)
        assert (error.request_id, error.retry_after_s) == (call.request_id, 1)


@pytest.mark.parametrize("running", [True, False])
async def test_a_stream_is_not_given_again(tmp_path: Path, running: bool) -> None:
    async with open_setup(tmp_path) as setup:
        call = keyed(setup, "tokens=20 tokens_per_second=400", stream=True)
        async with setup.gateway.open_exchange(call) as exchange:
            await exchange.head()
            if running:
                error = await refused(setup, again(call))
            await drain(exchange)
        if not running:
            error = await refused(setup, again(call))
        assert isinstance(error, IdempotencyUsedError)
        assert error.request_id == call.request_id
        assert asked(setup) == 1


async def left(setup: Setup, call: Call) -> None:
    """A client that leaves in the midst."""
    async with setup.gateway.open_exchange(call) as exchange:
        await exchange.head()


async def failed(setup: Setup, call: Call) -> None:
    """A provider that fails."""
    _, receipt, error = await run(setup, call)
    assert receipt.outcome is Outcome.UPSTREAM_FAILED
    assert error is not None


@pytest.mark.parametrize(
    ("directives", "first", "outcome"),
    [
        ("tokens=100000 tokens_per_second=50", left, "client_left"),
        ("status=500", failed, "upstream_failed"),
    ],
)
async def test_without_an_answer_the_key_is_free_again(
    tmp_path: Path, directives: str, first: Callable[..., object], outcome: str
) -> None:
    async with open_setup(tmp_path) as setup:
        call = keyed(setup, directives, stream=True)
        await first(setup, call)  # type: ignore[misc]
        settled_receipt = await read_settled(setup, call.request_id)
        assert (settled_receipt["outcome"], settled_receipt["idempotency_key"]) == (outcome, KEY)
        other = keyed(setup, "tokens=3", stream=True)
        _, receipt, error = await run(setup, other)
        assert error is None
        assert receipt.outcome is Outcome.COMPLETED
        assert receipt.idempotency_key == KEY
        assert isinstance(await refused(setup, again(other)), IdempotencyUsedError)


async def test_while_the_first_is_read_on_the_key_is_taken(tmp_path: Path) -> None:
    async with open_setup(tmp_path, provider='on_cancel = "drain"') as setup:
        call = keyed(setup, "tokens=100 tokens_per_second=200", stream=True)
        await left(setup, call)
        error = await refused(setup, again(call))
        assert isinstance(error, IdempotencyUsedError)
        await settled(lambda: setup.gateway.statistics()["open_drains"] == 0)
        await read_settled(setup, call.request_id)
        _, receipt, _ = await run(setup, again(call))
        assert receipt.outcome is Outcome.COMPLETED


async def read_settled(setup: Setup, request_id: str) -> dict[str, object]:
    principal = setup.gateway.authenticate(setup.key)
    with trio.fail_after(30):
        while True:
            receipt = await setup.gateway.receipt(principal, request_id)
            if receipt["state"] == "settled":
                return receipt
            await trio.sleep(0.002)


async def test_a_request_that_was_not_admitted_leaves_the_key_free(tmp_path: Path) -> None:
    async with open_setup(tmp_path, funds_nanodollars=0) as setup:
        call = keyed(setup)
        assert isinstance(await refused(setup, call), InsufficientFundsError)
        await setup.gateway.ledger.fund(setup.account_id, 10**9, "later")
        _, receipt, error = await run(setup, again(call))
        assert error is None
        assert receipt.outcome is Outcome.COMPLETED


async def test_accounts_do_not_share_keys(tmp_path: Path) -> None:
    async with open_setup(tmp_path) as setup:
        ledger = setup.gateway.ledger
        other = await ledger.create_account("another")
        await ledger.fund(other.account_id, 10**9, "second")
        _, secret = await setup.gateway.create_key(other.account_id, "another")
        call = keyed(setup)
        _, body, _ = await whole(setup, call)
        _, theirs, exchange = await whole(setup, again(call, key=secret))
        assert not exchange.replayed
        assert exchange.receipt.account_id == other.account_id
        assert asked(setup) == 2
        assert (await whole(setup, again(call)))[1] == body
        assert (await whole(setup, again(call, key=secret)))[1] == theirs


async def test_many_at_once_are_carried_out_once(tmp_path: Path) -> None:
    requests: list[Request] = []
    answered: list[bytes] = []
    turned_away: list[GatewayError] = []

    async def answer_late(request: Request) -> None:
        requests.append(request)
        await settled(lambda: len(turned_away) == 49)
        request.answer(b'{"choices":[{"message":{"content":"one"}}]}', ended=True)

    async with open_scripted(tmp_path, answer_late) as setup:
        call = keyed(setup)

        async def ask() -> None:
            try:
                answered.append((await whole(setup, again(call)))[1])
            except GatewayError as error:
                turned_away.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert len(answered) == 1
        assert all(isinstance(error, IdempotencyInProgressError) for error in turned_away)
        assert (await whole(setup, again(call)))[1] == answered[0]
        assert len(requests) == 1


async def test_keys_are_forgotten_in_time(tmp_path: Path) -> None:
    now = [1_800_000_000_000]
    async with open_setup(tmp_path, clock=lambda: now[0]) as setup:
        call = keyed(setup)
        await whole(setup, call)
        now[0] += 86_399_000
        assert (await whole(setup, again(call)))[2].replayed
        now[0] += 2_000
        assert not (await whole(setup, again(call)))[2].replayed
        assert asked(setup) == 2


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "ключ", "a\nb", "\x7f", "one, two"])
async def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    async with open_setup(tmp_path) as setup:
        error = await refused(setup, replace(setup.call(stream=False), idempotency_key=key))
        assert isinstance(error, InvalidRequestError)
        assert error.param == "Idempotency-Key"
        assert asked(setup) == 0


async def test_a_large_answer_is_not_kept(tmp_path: Path) -> None:
    """The second request learns of the first one's receipt."""
    head = Head(200, ((b"content-type", b"application/json"),))
    assert stored_answer(head, b"x" * ANSWER_MAX_BYTES) is not None
    assert stored_answer(head, b"x" * (ANSWER_MAX_BYTES + 1)) is None
    assert stored_answer(head, b'"\xff"') is None
    async with open_setup(tmp_path) as setup:
        asked_for = setup.call("tokens=250000", stream=False, max_tokens=250_000)
        call = replace(asked_for, idempotency_key=KEY)
        _, body, _ = await whole(setup, call)
        assert len(body) > ANSWER_MAX_BYTES
        assert isinstance(await refused(setup, again(call)), IdempotencyUsedError)


def test_an_archived_request_keeps_its_key() -> None:
    """Its receipt is in a file; that there was an answer is all that is known."""
    earlier = EarlierRequest("req_1", "d", False, True, None, StoredAnswer(200, (), "{}"))
    with pytest.raises(IdempotencyUsedError):
        decide(earlier, "d")
