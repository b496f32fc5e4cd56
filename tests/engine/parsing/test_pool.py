"""Bodies that are parsed in the helper process, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest
import trio

from engine.capabilities import Capabilities
from engine.capability_table import capabilities_of
from engine.errors import (
    BodyTooLargeError,
    GatewayError,
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    UnavailableError,
)
from engine.events import Call, Protocol
from engine.parsing.jobs import Ask, Count, Encode, Prepared, Target, do_here
from engine.parsing.pool import ParsingPool, ParsingSettings, open_parsing
from engine.parsing.prompts import Counted
from engine.protocols.quirks import PLAIN, Quirks
from engine.routing.values import Asked
from engine.spool import Spool
from engine.upstream.bodies import SpooledBody
from tests.gateways import PROTOCOLS, settled

SPOOL = Spool(None, 100_000_000)
APART = ParsingSettings(here_max_bytes=0, encodings=("o200k_base",))
MODELS = {
    "openai_chat": "gpt-5.2",
    "openai_responses": "gpt-5.1",
    "openai_completions": "gpt-3.5-turbo-instruct",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
TOOL = {"name": "f", "description": "does", "parameters": {"type": "object"}}
DOCUMENTS: dict[Protocol, dict[str, Any]] = {
    "openai_chat": {
        "messages": [{"role": "user", "content": "Hello, world"}],
        "functions": [TOOL],
        "max_tokens": 100,
        "seed": 3,
    },
    "openai_responses": {
        "input": "Hello, world",
        "instructions": "Be brief.",
        "metadata": {"large": orjson.Fragment("12345678901234567890123")},
        "max_output_tokens": 100,
    },
    "anthropic": {
        "messages": [{"role": "user", "content": "Hello, world"}],
        "max_tokens": 2_000,
        "top_k": 3,
    },
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "Hello, world"}]}],
        "generationConfig": {"maxOutputTokens": 100},
    },
    "openai_completions": {"prompt": ["one", "two"], "n": 2, "max_tokens": 5},
}


def call_of(client: Protocol, document: Any) -> Call:
    if client == "gemini":
        body = orjson.dumps(document)
        return Call(body, "secret", client, model="public", stream=True)
    return Call(orjson.dumps({"model": "public", **document}), "secret", client)


def target_of(spoken: str, *, quirks: Quirks = PLAIN) -> Target:
    model = MODELS[spoken]
    return Target(spoken, model, "o200k_base", capabilities_of(spoken, model), quirks, False)


def to(target: Target, output_limit: int | None = None) -> Ask:
    return lambda _asked: Encode((target,), output_limit)


HELLO = call_of("openai_chat", DOCUMENTS["openai_chat"])
TO_CHAT = to(target_of("openai_chat"))


def shown(outcome: Prepared | int | GatewayError) -> Any:
    """All of it that matters, comparable."""
    match outcome:
        case Prepared():
            document = orjson.dumps(outcome.request.document)
            plain = replace(outcome.request, document={})
            tokens = outcome.input.count()
            return outcome._replace(request=plain, input=Counted(tokens)), document
        case GatewayError():
            return outcome.status, outcome.code, outcome.kind, outcome.message, outcome.param
        case _:
            return outcome


def here(call: Call, ask: Ask) -> Prepared | int | GatewayError:
    try:
        return do_here(call, ask)
    except GatewayError as error:
        return error


async def apart(pool: ParsingPool, call: Call, ask: Ask) -> Prepared | int | GatewayError:
    try:
        return await pool.do(call, ask)
    except GatewayError as error:
        return error


async def test_the_size_says_where_a_body_is_parsed() -> None:
    async with open_parsing(replace(APART, here_max_bytes=len(HELLO.body)), SPOOL) as pool:
        await pool.do(HELLO, TO_CHAT)
        assert (pool.statistics.apart, pool.statistics.starts) == (0, 0), (
            "nobody pays for it unused"
        )
        larger = replace(HELLO, body=HELLO.body + b" ")
        for _ in range(3):
            await pool.do(larger, TO_CHAT)
        assert (pool.statistics.apart, pool.statistics.starts) == (3, 1)


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TO = {spoken: target_of(spoken) for spoken in MODELS}
NO_IMAGES = replace(target_of("openai_chat"), capabilities=Capabilities(media=frozenset()))
REFUSED: dict[str, tuple[Protocol, Any, Target]] = {
    "no JSON": ("openai_chat", b"{", TO["openai_chat"]),
    "no object": ("openai_chat", b"[1]", TO["openai_chat"]),
    "NaN": ("openai_chat", b'{"model": NaN}', TO["openai_chat"]),
    "no UTF-8": ("openai_chat", b'{"model": "\xff"}', TO["openai_chat"]),
    "no model": ("openai_chat", b"{}", TO["openai_chat"]),
    "duplicate keys": ("openai_chat", b'{"model": "m", "model": 1}', TO["openai_chat"]),
    "too deep to read": ("openai_chat", b'{"a":' * 1_100 + b"1" + b"}" * 1_100, TO["openai_chat"]),
    "too deep to write": (
        "openai_chat",
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"x":%s}'
        % (b"[" * 300 + b"]" * 300),
        TO["openai_chat"],
    ),
    "no messages": ("anthropic", {"max_tokens": 1}, TO["anthropic"]),
    "not to be translated": (
        "openai_chat",
        {"messages": [{"role": "user", "content": "x"}], "logit_bias": {"1": 5}},
        TO["anthropic"],
    ),
    "an id of the provider's": (
        "openai_responses",
        {"input": "x", "previous_response_id": "r"},
        TO["openai_responses"],
    ),
    "media": ("openai_chat", {"messages": [{"role": "user", "content": [IMAGE]}]}, NO_IMAGES),
}


async def test_both_places_do_the_same() -> None:
    """For all pairs of protocols, and for all that can be wrong."""
    quirks = Quirks(refuses=frozenset({"seed", "top_k"}))
    async with open_parsing(APART, SPOOL) as pool:
        for client, document in DOCUMENTS.items():
            call = call_of(client, document)
            for spoken in {*PROTOCOLS, client}:
                for limit in (None, 7):
                    ask = to(target_of(spoken, quirks=quirks), limit)
                    known = shown(here(call, ask))
                    assert shown(await apart(pool, call, ask)) == known, (client, spoken)
            counting: Ask = lambda _asked: Count("o200k_base", Capabilities())  # noqa: E731
            assert await pool.do(call, counting) == do_here(call, counting)
        for name, (client, document, target) in REFUSED.items():
            call = call_of(client, {} if isinstance(document, bytes) else document)
            if isinstance(document, bytes):
                call = replace(call, body=document)
            refused = here(call, to(target))
            assert isinstance(refused, InvalidRequestError | NotFoundError), name
            assert shown(await apart(pool, call, to(target))) == shown(refused), name
        assert pool.statistics.starts == 1, "it is the same helper all the time"


async def spooled(call: Call) -> Call:
    file = SPOOL.open()
    await file.append([call.body[:10], call.body[10:]])
    return replace(call, body=b"", spooled=file)


async def test_a_body_in_a_file_goes_on_in_another() -> None:
    async with open_parsing(APART, SPOOL) as pool:
        clients: tuple[Protocol, ...] = ("openai_chat", "anthropic", "gemini")
        for client in clients:
            for target in (TO[client], TO["openai_responses"]):
                call = call_of(client, DOCUMENTS[client])
                known, files = do_here(call, to(target)), await spooled(call)
                for ask in (to(target), lambda _asked, to=target: Encode((to,), in_memory=True)):
                    prepared = await pool.do(files, ask)
                    assert isinstance(prepared, Prepared)
                    if isinstance(prepared.body, SpooledBody):
                        body = await prepared.body.read(0)
                        prepared.body.close()
                    else:
                        body = prepared.body
                    assert shown(prepared._replace(body=body)) == shown(known)
                counting: Ask = lambda _asked: Count("o200k_base", Capabilities())  # noqa: E731
                assert await pool.do(files, counting) == do_here(call, counting)
                assert files.spooled is not None
                files.spooled.close()
        refused = await spooled(replace(HELLO, body=b"{"))
        with pytest.raises(InvalidRequestError):
            await pool.do(refused, TO_CHAT)
        assert pool.statistics.starts == 1

        # Who has left has closed the file; the helper is there for the next one all the same.
        assert refused.spooled is not None
        refused.spooled.close()
        with pytest.raises(UnavailableError):
            await pool.do(refused, TO_CHAT)
        assert isinstance(await pool.do(HELLO, TO_CHAT), Prepared)
        assert pool.statistics.starts == 1
    assert SPOOL.used_bytes == 0


def signalling(pool: ParsingPool, number: int) -> Callable[[Asked], Encode]:
    """Asked for the target, in the midst of a job, signal the helper."""

    def ask(_asked: Asked) -> Encode:
        assert pool.statistics.pid is not None
        os.kill(pool.statistics.pid, number)
        return Encode((target_of("openai_chat"),))

    return ask


async def test_what_the_helper_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_model(asked: Asked) -> Encode:
        assert asked.model == "public"
        raise ModelNotFoundError("no such model")

    def fault(_asked: Asked) -> Encode:
        raise KeyError("of ours")

    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    many = replace(HELLO, body=b'{"model":"m","x":[' + b"{}," * 4_100_000 + b"{}]}")
    async with open_parsing(APART, SPOOL) as pool:
        for call, ask, expected in (
            (HELLO, no_such_model, ModelNotFoundError),
            (HELLO, fault, KeyError),
            (many, TO_CHAT, BodyTooLargeError),
        ):
            with pytest.raises(expected):
                await pool.do(call, ask)
            assert isinstance(await pool.do(HELLO, TO_CHAT), Prepared)
        # Whoever tells a whole group of processes to end means that the gateway finishes first.
        for number in (signal.SIGINT, signal.SIGTERM):
            assert isinstance(await pool.do(HELLO, signalling(pool, number)), Prepared)
        command = ["ps", "eww", "-p", str(pool.statistics.pid)]
        environment = (await trio.run_process(command, capture_stdout=True)).stdout
        assert pool.statistics.starts == 1

    assert b"PYTHONPATH=" in environment
    assert b"canary" not in environment


async def test_a_helper_that_dies_or_hangs_is_replaced() -> None:
    async with open_parsing(replace(APART, deadline_s=2.0), SPOOL) as pool:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            with pytest.raises(UnavailableError) as caught:
                await pool.do(HELLO, signalling(pool, number))
            assert caught.value.retry_after_s is not None
        assert isinstance(await pool.do(HELLO, TO_CHAT), Prepared)
        assert pool.statistics.starts == 3


async def test_the_loop_goes_on_meanwhile() -> None:
    small = replace(HELLO, body=HELLO.body.replace(b"Hello, world", b"Hi"))
    async with open_parsing(replace(APART, here_max_bytes=len(small.body)), SPOOL) as pool:
        outcomes: list[Any] = []

        async def do_large() -> None:
            outcomes.append(await pool.do(HELLO, signalling(pool, signal.SIGSTOP)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do_large)
            await settled(lambda: pool.statistics.pid is not None)
            pid = pool.statistics.pid
            assert pid is not None
            for _ in range(50):
                await pool.do(small, TO_CHAT)
                await trio.lowlevel.checkpoint()
            await settled(lambda: is_stopped(pid))
            assert outcomes == []
            os.kill(pid, signal.SIGCONT)

        assert isinstance(outcomes[0], Prepared)


async def test_no_more_than_so_many_wait_and_who_has_left_is_not_served() -> None:
    settings = replace(APART, waiting_max=2)
    outcomes: list[Any] = []

    async def do_first() -> None:
        outcomes.append(await pool.do(HELLO, signalling(pool, signal.SIGSTOP)))

    async with open_parsing(settings, SPOOL) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(do_first)
        await settled(lambda: pool.statistics.apart == 1)
        with trio.CancelScope() as leaving:
            async with trio.open_nursery() as waiting:
                for _ in range(2):
                    waiting.start_soon(pool.do, HELLO, TO_CHAT)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(UnavailableError):
                    await pool.do(HELLO, TO_CHAT)
                leaving.cancel()
        pid = pool.statistics.pid
        assert pid is not None
        await settled(lambda: is_stopped(pid))
        os.kill(pid, signal.SIGCONT)
        await settled(lambda: bool(outcomes))
        assert isinstance(await pool.do(HELLO, TO_CHAT), Prepared)
        assert (pool.statistics.apart, pool.statistics.starts) == (2, 1)


PARENT = """
import trio
from engine.parsing.helper import start_helper

async def main():
    helper = start_helper(4 * 1024**3, [])
    await helper.receive()
    print(helper.pid, flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


async def test_it_ends_with_its_parent() -> None:
    command = [sys.executable, "-c", PARENT]
    async with trio.open_nursery() as nursery:
        parent = await nursery.start(partial(trio.run_process, command, **OF_A_KILLED))
        pid = int(await parent.stdout.receive_some())
        assert is_alive(pid)
        parent.kill()
    await settled(lambda: not is_alive(pid))


OF_A_KILLED: Any = {"stdout": subprocess.PIPE, "check": False}


def is_alive(pid: int) -> bool:
    return _state(pid) not in ("", "Z")


def is_stopped(pid: int) -> bool:
    return _state(pid) == "T"


def _state(pid: int) -> str:
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1]
