"""Exchanges whose provider takes media as bytes only, while clients name them by URL."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from engine import Call
from engine.errors import GatewayError, InsufficientFundsError
from engine.events import Protocol, new_request_id
from tests.gateways import DOLLAR, HTTP2, Setup, chat_body, open_setup, run
from tests.webserver import PNG, Answer, WebServer, answer, open_webserver

PDF = b"%PDF-1.7\n%%EOF\n"
ANSWERS = {"/cat": answer(), "/law": answer(PDF, "application/pdf")}
TEXT = "#sim tokens=3\nWhat is this?"


def models_text(port: int, egress: str) -> str:
    """Providers of two protocols that take bytes only, and what may be fetched."""
    tables = "".join(
        f"""
[providers.{name}]
protocol = "{name}"
base_url = "$SIM/{version}"
http2 = "{HTTP2}"
inlines = ["image", "document"]
[models.{name}]
deployments = [{{ provider = "{name}", model = "sim-{name}" }}]
price = {{ input = 1, output = 2 }}
"""
        for name, version in (("gemini", "v1beta"), ("anthropic", "v1"))
    )
    return f"""
[egress]
http = true
ports = [{port}]
private = ["127.0.0.1"]
{egress}
{tables}"""


@dataclass(frozen=True, slots=True)
class Place:
    """A gateway, and the server that clients' URLs lead to."""

    setup: Setup
    web: WebServer

    def url(self, path: str) -> str:
        """A URL that may be fetched."""
        return f"http://127.0.0.1:{self.web.port}{path}"

    def call(self, protocol: Protocol, model: str, *paths: str, **more: Any) -> Call:
        """A request with an image, and a document where its protocol has them by URL."""
        image, document = self.url(paths[0]), self.url(paths[-1])
        key, stream = self.setup.key, False
        fields: dict[str, Any] = {"model": model, "stream": stream, **more}
        match protocol:
            case "openai_chat":
                content: list[Any] = [
                    {"type": "text", "text": TEXT},
                    {"type": "image_url", "image_url": {"url": image}},
                ]
                fields["messages"] = [{"role": "user", "content": content}]
            case "openai_responses":
                content = [
                    {"type": "input_text", "text": TEXT},
                    {"type": "input_image", "image_url": image},
                ]
                if len(paths) > 1:
                    content.append({"type": "input_file", "file_url": document})
                fields["input"] = [{"role": "user", "content": content}]
            case _:
                content = [
                    {"type": "text", "text": TEXT},
                    {"type": "image", "source": {"type": "url", "url": image}},
                ]
                if len(paths) > 1:
                    content.append({"type": "document", "source": {"type": "url", "url": document}})
                fields |= {"messages": [{"role": "user", "content": content}], "max_tokens": 99}
        return Call(body=orjson.dumps(fields), key=key, protocol=protocol)

    def sent(self) -> Any:
        """What the provider was asked last."""
        return self.setup.sim.truth.records()[-1].request


@asynccontextmanager
async def open_place(folder: Path, *, egress: str = "", **options: Any) -> AsyncIterator[Place]:
    answers: dict[str, Answer] = dict(ANSWERS)
    async with open_webserver(answers) as web:
        models = models_text(web.port, egress)
        async with open_setup(folder, models=models, **options) as setup:
            yield Place(setup, web)


def gemini_part(mime_type: str, data: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(data).decode()}}


def anthropic_source(mime_type: str, data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"type": "base64", "media_type": mime_type, "data": encoded}


@pytest.mark.parametrize(
    ("protocol", "paths"),
    [
        ("openai_chat", ["/cat"]),
        ("openai_responses", ["/cat", "/law"]),
        ("anthropic", ["/cat", "/law"]),
    ],
)
async def test_a_gemini_provider_gets_the_bytes(
    tmp_path: Path, protocol: Protocol, paths: list[str]
) -> None:
    async with open_place(tmp_path) as place:
        _, receipt, error = await run(place.setup, place.call(protocol, "gemini", *paths))
        parts = place.sent()["contents"][0]["parts"]

    assert error is None
    assert receipt.outcome == "completed"
    expected = [gemini_part("image/png", PNG), gemini_part("application/pdf", PDF)]
    assert [part for part in parts if "text" not in part] == expected[: len(paths)]
    assert sorted(place.web.paths) == paths


@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic"])
async def test_an_anthropic_provider_gets_them_too(tmp_path: Path, protocol: Protocol) -> None:
    """Of a client of its own protocol, whose body goes through verbatim, as well."""
    async with open_place(tmp_path) as place:
        _, _, error = await run(place.setup, place.call(protocol, "anthropic", "/cat"))
        content = place.sent()["messages"][0]["content"]

    assert error is None
    sources = [block["source"] for block in content if block["type"] == "image"]
    assert sources == [anthropic_source("image/png", PNG)]


async def test_a_large_body_is_treated_alike(tmp_path: Path) -> None:
    async with open_place(tmp_path, funds_nanodollars=100 * DOLLAR) as place:
        call = place.call("openai_chat", "gemini", "/cat", user="x" * 600_000)
        _, _, error = await run(place.setup, call)
        parts = place.sent()["contents"][0]["parts"]

    assert error is None
    assert gemini_part("image/png", PNG) in parts


async def test_a_url_is_fetched_once_however_often_it_is_named(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        image = {"type": "image_url", "image_url": {"url": place.url("/cat")}}
        content = [{"type": "text", "text": TEXT}, *[image] * 5]
        body = chat_body(
            model="gemini", stream=False, messages=[{"role": "user", "content": content}]
        )
        _, _, error = await run(place.setup, Call(body=body, key=place.setup.key))

    assert error is None
    assert place.web.paths == ["/cat"]


async def test_other_providers_get_the_url(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        _, _, error = await run(place.setup, place.call("openai_chat", "sim-openai", "/cat"))
        content = place.sent()["messages"][0]["content"]

    assert error is None
    assert content[1] == {"type": "image_url", "image_url": {"url": place.url("/cat")}}
    assert place.web.heads == []


async def test_nothing_is_fetched_where_that_is_turned_off(tmp_path: Path) -> None:
    async with open_place(tmp_path, egress="enabled = false") as place:
        await run(place.setup, place.call("openai_chat", "gemini", "/cat"))

    assert place.web.heads == []


async def test_a_url_that_cannot_be_had_costs_nothing_and_asks_nobody(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        with pytest.raises(GatewayError) as caught:
            await run(place.setup, place.call("openai_responses", "gemini", "/gone"))
        balance, asked = await place.setup.balance(), place.setup.sim.truth.records()

    assert (caught.value.code, caught.value.param) == ("url_refused", "input")
    assert balance == DOLLAR
    assert list(asked) == []


async def test_nothing_is_fetched_for_who_cannot_pay(tmp_path: Path) -> None:
    async with open_place(tmp_path, funds_nanodollars=0) as place:
        with pytest.raises(InsufficientFundsError):
            await run(place.setup, place.call("openai_chat", "gemini", "/cat"))

    assert place.web.heads == []


async def test_a_request_with_lowered_output_has_its_media(tmp_path: Path) -> None:
    """It is encoded again once it is known how little can be paid."""
    async with open_place(tmp_path, funds_nanodollars=5_000_000) as place:
        _, receipt, error = await run(place.setup, place.call("openai_chat", "gemini", "/cat"))
        sent = place.sent()

    assert error is None
    assert receipt.outcome == "completed"
    assert sent["generationConfig"]["maxOutputTokens"] < 16_384
    assert gemini_part("image/png", PNG) in sent["contents"][0]["parts"]


async def test_a_replayed_request_fetches_nothing(tmp_path: Path) -> None:
    async with open_place(tmp_path) as place:
        call = replace(place.call("openai_chat", "gemini", "/cat"), idempotency_key="once")
        first, _, _ = await run(place.setup, call)
        place.web.answers.clear()
        second, _, error = await run(place.setup, replace(call, request_id=new_request_id()))

    assert error is None
    assert first == second
    assert place.web.paths == ["/cat"]


async def test_a_client_that_leaves_ends_the_fetch(tmp_path: Path) -> None:
    asked, left = trio.Event(), trio.Event()

    async def wait(stream: trio.abc.Stream) -> None:
        asked.set()
        assert await stream.receive_some() == b""
        left.set()

    async with open_place(tmp_path, egress="idle_timeout_s = 60\ntimeout_s = 60") as place:
        place.web.answers["/slow"] = wait
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, place.setup, place.call("openai_chat", "gemini", "/slow"))
            await asked.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            await left.wait()

        assert await place.setup.balance() == DOLLAR
        assert list(place.setup.sim.truth.records()) == []


async def test_nothing_is_fetched_to_be_counted(tmp_path: Path) -> None:
    """Counting is free; a provider that takes bytes only would refuse the URL."""
    async with open_place(tmp_path) as place:
        call = place.call("anthropic", "anthropic", "/cat")
        head, body = await place.setup.gateway.count_tokens(replace(call, operation="count_tokens"))

    assert dict(head.headers)[b"x-parshall-counted"] == b"estimate"
    assert orjson.loads(body)["input_tokens"] > 0
    assert place.web.heads == []
