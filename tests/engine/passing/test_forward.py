"""What passes between a client and a provider that keeps state, byte by byte: recorded answers,
streams however they are split, providers that break off, clients that leave."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest
import trio
import trio.testing

from engine.errors import (
    ConcurrencyLimitedError,
    GatewayError,
    NotFoundError,
    ShutdownError,
    UpstreamError,
    UpstreamRejectedError,
)
from engine.ledger.owned_rows import OwnedRow
from engine.owned import Pin
from engine.passing.asked import Asked
from engine.passing.forward import Passed
from engine.passing.ids import see_ids
from engine.passing.table import PARAMETERS, ROUTES, Route
from tests.engine.upstream.peer import Request
from tests.gateways import Setup, add_key, settled
from tests.recordings import RECORDINGS, load, names
from tests.scripted import Script, open_scripted

KEEPS = 'state = "openai"\n'
CHOSEN = '[state]\nprovider = "sim"\n'
MEMBERS = (
    "assistants",
    "conversations",
    "fine_tuning",
    "responses-get",
    "vector_stores",
)
RECORDED = [each for member in MEMBERS for each in names(f"openai-{member}")]
"""Those of routes that cost something are left out below; files of batches are the gateway's."""
STREAM = [each for each in RECORDED if "starting-after" in str(each)]
RUN = ROUTES["GET", "/v1/threads/<thread_id>/runs/<run_id>"]
AT = {"thread_id": "thread_abc123", "run_id": "run_abc123"}


@asynccontextmanager
async def open_keeping(folder: Path, script: Script, server: str = "") -> AsyncIterator[Setup]:
    """A gateway whose only provider with state follows a script."""
    async with open_scripted(folder, script, provider=KEEPS, models=CHOSEN, server=server) as setup:
        yield setup


async def own(setup: Setup, at: dict[str, str]) -> None:
    """The account has these."""
    provider = setup.gateway.running.rules.providers["sim"]
    pin = Pin("sim", provider.credential_id(0))
    rows = [
        OwnedRow(text, PARAMETERS[name], setup.account_id, None, *pin, 0)  # type: ignore[arg-type]
        for name, text in at.items()
    ]
    await setup.gateway.ledger.own(rows)


@asynccontextmanager
async def asking(
    setup: Setup, route: Route, at: dict[str, str], **more: Any
) -> AsyncIterator[Passed]:
    admitted = setup.gateway.identify(setup.key, route.access)
    async with setup.gateway.passing.open(admitted, Asked(route, at, **more)) as passed:
        yield passed


async def ask(setup: Setup, route: Route, at: dict[str, str], **more: Any) -> bytes:
    """The whole answer."""
    async with asking(setup, route, at, **more) as passed:
        if passed.pieces is None:
            return passed.data
        return b"".join([piece async for piece in passed.pieces])


def route_of(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a recorded path, and its parameters; None: it costs something, or has files."""
    for route in ROUTES.values():
        pattern = re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", route.path)
        found = re.fullmatch(pattern, path)
        if found is not None and route.method == method:
            names = (*route.parameters, route.creates)
            free = route.operation is None and not {"file_id", "vector_store_file"} & set(names)
            return (route, found.groupdict()) if free and not route.lists_account else None
    return None


def saying(status: int, body: bytes, seen: list[Request]) -> Script:
    async def script(request: Request) -> None:
        seen.append(request)
        kind = b"text/event-stream" if body.startswith(b"event: ") else b"application/json"
        head = [(b":status", b"%d" % status), (b"content-type", kind)]
        request.connection.http2.send_headers(request.stream_id, head)
        await request.send_all(body, ended=True)

    return script


@pytest.mark.parametrize("name", RECORDED)
async def test_what_was_recorded_passes(tmp_path: Path, name: str) -> None:
    asked = orjson.loads((RECORDINGS / name).read_bytes())["request"]
    path, _, query = asked["path"].partition("?")
    found = route_of(asked["method"], path)
    if found is None:
        return
    route, at = found
    recording, seen = load(name), list[Request]()
    pairs = tuple(parse_qsl(query))
    async with open_keeping(tmp_path, saying(recording.status, recording.body, seen)) as setup:
        with pytest.raises(NotFoundError):
            await ask(setup, route, at, query=(*pairs, ("after", "run_unknown1")))
        assert not seen
        await own(setup, at)
        if recording.status != 200:
            with pytest.raises(UpstreamRejectedError):
                await ask(setup, route, at, query=pairs)
            return
        assert await ask(setup, route, at, query=pairs) == _without_operator(recording.body)
        [request] = seen
        head = dict(request.head)
        assert head[b":path"].decode().partition("?")[0] == path
        if not recording.stream:
            told = [each.object_id for each in see_ids(orjson.loads(recording.body))]
            owned = await setup.gateway.ledger.find_owned(setup.account_id, told)
            gone = route.removes is not None
            assert not owned if gone else set(owned) == {t for t in told if t[:5] != "file-"}


def _without_operator(body: bytes) -> bytes:
    return re.sub(rb'("organization_id"\s*:\s*")[^"]*"', rb'\1"', body)


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.skipif(not STREAM or not STREAM[0], reason="no recordings")
async def test_a_stream_is_the_same_however_it_comes(tmp_path: Path, size: int) -> None:
    body = b"".join(load(STREAM[0]).body.partition(b"event: ")[1:])[:20_000]

    async def script(request: Request) -> None:
        head = [(b":status", b"200"), (b"content-type", b"text/event-stream")]
        request.connection.http2.send_headers(request.stream_id, head)
        for start in range(0, len(body), size):
            await request.send_all(body[start : start + size])
        await request.send_all(b"", ended=True)

    async with open_keeping(tmp_path, script) as setup:
        await own(setup, AT)
        assert await ask(setup, RUN, AT) == body


async def test_a_silent_stream_has_heartbeats_and_ends_when_its_client_leaves(
    tmp_path: Path,
) -> None:
    codes: list[int] = []

    async def script(request: Request) -> None:
        head = [(b":status", b"200"), (b"content-type", b"text/event-stream")]
        request.connection.http2.send_headers(request.stream_id, head)
        request.connection.flush()
        codes.append(await request.wait_reset())

    async with open_keeping(tmp_path, script, server="heartbeat_s = 0.01") as setup:
        await own(setup, AT)
        async with asking(setup, RUN, AT) as passed:
            assert passed.pieces is not None
            async with aclosing(passed.pieces) as pieces:
                assert await anext(pieces) == b": keep-alive\n\n"
            assert setup.gateway.passing.under_way == 1
        await settled(lambda: bool(codes))
        assert codes == [8]  # CANCEL
        assert setup.gateway.passing.under_way == 0


async def test_a_provider_that_breaks_off_is_no_end(tmp_path: Path) -> None:
    async def script(request: Request) -> None:
        head = [(b":status", b"200"), (b"content-type", b"text/event-stream")]
        request.connection.http2.send_headers(request.stream_id, head)
        await request.send_all(b"event: a\ndata: {}\n\n")
        request.reset()

    async with open_keeping(tmp_path, script) as setup:
        await own(setup, AT)
        with pytest.raises(UpstreamError):
            await ask(setup, RUN, AT)
        with pytest.raises(UpstreamError):
            await ask(
                setup, ROUTES["GET", "/v1/threads/<thread_id>"], {"thread_id": AT["thread_id"]}
            )


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"no JSON", 502),
        (200, b'{"a":' * 1_100 + b"1" + b"}" * 1_100, 502),
        (401, b'{"error":{"message":"Incorrect API key provided: sk-abc123def456ghi7."}}', 502),
        (404, b'{"error":{"message":"No such File object: file-0123456789abcdef"}}', 404),
        (500, b'{"error":{"message":"The server had an error"}}', 500),
    ],
)
async def test_what_a_provider_refuses_is_told_in_words_for_clients(
    tmp_path: Path, status: int, body: bytes, said: int
) -> None:
    async with open_keeping(tmp_path, saying(status, body, [])) as setup:
        await own(setup, AT)
        with pytest.raises(GatewayError) as refused:
            await ask(setup, RUN, AT)
        assert refused.value.status == said
        for secret in ("sk-abc123", "file-0123456789abcdef"):
            assert secret not in refused.value.message


async def test_bodies_are_bounded_and_objects(tmp_path: Path) -> None:
    route = ROUTES["POST", "/v1/threads/<thread_id>"]
    at = {"thread_id": AT["thread_id"]}
    async with open_keeping(tmp_path, saying(200, b"{}", [])) as setup:
        await own(setup, at)
        deep = b'{"a":' * 500 + b"1" + b"}" * 500
        many = b"[" + b"{}," * 100_001 + b"1]"
        for body in (b"[]", b"1", b"{", deep, many):
            with pytest.raises(GatewayError) as refused:
                await ask(setup, route, at, body=body)
            assert refused.value.status == 400
        with trio.fail_after(10):
            assert await ask(setup, route, at, body=b'{"metadata":{}}') == b"{}"


CREATE = ROUTES["POST", "/v1/assistants"]
MADE = "asst_0123456789abcdef"


def making(asked: trio.Event, goes_on: trio.Event) -> Script:
    """A provider that takes its time to make an assistant."""

    async def script(request: Request) -> None:
        asked.set()
        await goes_on.wait()
        head = [(b":status", b"200"), (b"content-type", b"application/json")]
        request.connection.http2.send_headers(request.stream_id, head)
        await request.send_all(b'{"id":"%s","object":"assistant"}' % MADE.encode(), ended=True)

    return script


async def test_what_is_made_while_its_client_leaves_is_the_accounts(tmp_path: Path) -> None:
    asked, goes_on = trio.Event(), trio.Event()
    async with open_keeping(tmp_path, making(asked, goes_on)) as setup:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, setup, CREATE, {})
                await asked.wait()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                    assert setup.gateway.passing.under_way == 1
                    goes_on.set()
        assert setup.gateway.passing.under_way == 0
        assert set(await setup.gateway.ledger.find_owned(setup.account_id, [MADE])) == {MADE}


async def test_what_is_being_made_does_not_hold_up_the_gateways_end(tmp_path: Path) -> None:
    asked, goes_on = trio.Event(), trio.Event()
    refusals: list[GatewayError] = []

    async def make(setup: Setup) -> None:
        try:
            await ask(setup, CREATE, {})
        except GatewayError as error:
            refusals.append(error)

    async with open_keeping(tmp_path, making(asked, goes_on)) as setup:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(make, setup)
                await asked.wait()
                await setup.gateway.end_all()
        assert [type(error) for error in refusals] == [ShutdownError]
        assert setup.gateway.passing.under_way == 0


async def test_a_request_takes_one_of_the_accounts_slots(tmp_path: Path) -> None:
    asked, goes_on = trio.Event(), trio.Event()
    async with open_keeping(tmp_path, making(asked, goes_on)) as setup:
        limits = {"concurrent_streams": 1}
        _, key = await add_key(setup.gateway, setup.account_id, limits=limits)
        setup = replace(setup, key=key)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, setup, CREATE, {})
                await asked.wait()
                with pytest.raises(ConcurrencyLimitedError):
                    await ask(setup, CREATE, {})
                goes_on.set()
        await own(setup, {"assistant_id": "asst_another0123456789"})
        listed = orjson.loads(await ask(setup, ROUTES["GET", "/v1/assistants"], {}))
        assert len(listed["data"]) == 2, "what a list is put together from takes none"
