"""Images: OpenAI's SDK over real sockets, what is drawn and what is paid for it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import trio
from openai import AsyncOpenAI, OpenAI

from bench.simulate.pictures import png
from engine import Call
from engine.media.sniff import image_size, kind_of
from tests import recordings
from tests.bench.uploads import BOUNDARY, form
from tests.e2e.sdks import one_truth
from tests.fleet import model as table
from tests.fleet import open_fleet
from tests.gateways import HTTP2, add_key, settled
from tests.scripted import answering, open_scripted
from tests.served import Served, open_served

pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),  # variations
]

PNG = png(64, 64, bytes(16))
GPT, DALLE, OLD = "gpt-image-1", "dall-e-3", "dall-e-2"
MODELS = f"""
[providers.painter]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.gpt-image-1]
deployments = [{{ provider = "painter", model = "gpt-image-1" }}]
price = {{ input = 5, input_image = 10, output = 40 }}
[models.dall-e-3]
deployments = [{{ provider = "painter", model = "dall-e-3" }}]
price = {{ images = 0.04, by_image = [{{ quality = "hd", size = "1024x1792", images = 0.12 }}] }}
[models.dall-e-2]
deployments = [{{ provider = "painter", model = "dall-e-2" }}]
price = {{ images = 0.02 }}
"""
CENT = 10_000_000


@asynccontextmanager
async def open_sdk(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Served, AsyncOpenAI]]:
    async with (
        open_served(tmp_path, models=MODELS, **options) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
    ):
        yield served, client


def pictures_of(answer: openai.types.ImagesResponse) -> list[bytes]:
    return [base64.b64decode(image.b64_json or "") for image in answer.data or ()]


async def test_generations_of_a_model_that_is_paid_by_the_token(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(
            model=GPT, prompt="A river.", n=2, size="1536x1024", quality="low"
        )
        answer, truth = raw.parse(), one_truth(served)
        assert [image_size(each) for each in pictures_of(answer)] == [(1_536, 1_024)] * 2
        assert answer.usage is not None
        assert (answer.usage.output_tokens, answer.usage.input_tokens) == (
            truth.consumed["output_tokens"],
            truth.consumed["input_tokens"],
        )
        receipt = await served.receipt(raw.headers["x-request-id"])
        assert (receipt["operation"], receipt["outcome"]) == ("image", "completed")
        assert (receipt["usage"]["images"], receipt["provenance"]) == (2, "reported")
        assert receipt["service_tier"] == "low 1536x1024"
        cost = 5_000 * truth.input_tokens + 40_000 * 800
        assert receipt["price"]["nanodollars"] == cost
        assert raw.headers["x-credits-used"] == receipt["credits"]
        assert truth.api == "openai-image-generations"


@pytest.mark.parametrize(
    ("asked", "nanodollars"),
    [
        ({"model": DALLE}, 4 * CENT),
        ({"model": DALLE, "quality": "hd", "size": "1024x1792"}, 12 * CENT),
        ({"model": DALLE, "quality": "hd", "size": "1024x1024"}, 4 * CENT),
        ({"model": OLD, "n": 3, "size": "256x256"}, 6 * CENT),
    ],
)
async def test_generations_by_the_image_and_its_size(
    tmp_path: Path, asked: dict[str, Any], nanodollars: int
) -> None:
    """The addresses are the provider's own."""
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(prompt="A river.", **asked)
        answer = raw.parse()
        assert all((image.url or "").startswith("http") for image in answer.data or ())
        receipt = await served.receipt(raw.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == nanodollars
        assert receipt["usage"]["images"] == one_truth(served).consumed["images"]
        assert receipt["provenance"] == "reported"


@pytest.mark.parametrize(
    ("asked", "drawn", "cents"),
    [
        ({}, {"quality": "hd", "size": "1024x1792"}, 12),
        ({"quality": "standard"}, {"quality": "hd", "size": "1024x1792"}, 4),
        ({"quality": "hd", "size": "1024x1024"}, {"quality": "hd", "size": "1024x1792"}, 4),
        ({"quality": "hd", "size": "1024x1792"}, {"quality": "standard", "size": "1024x1024"}, 4),
        ({"quality": "hd", "size": "1024x1792"}, {}, 12),
    ],
)
async def test_who_gets_another_picture_pays_the_cheaper_one(
    tmp_path: Path, asked: dict[str, str], drawn: dict[str, str], cents: int
) -> None:
    """What was not asked for is the provider's to choose."""
    body = orjson.dumps({"data": [{"url": "https://a.example/1.png"}], **drawn})
    async with open_scripted(tmp_path, answering(body), models=MODELS) as setup:
        document = {"model": DALLE, "prompt": "A river."} | asked
        call = Call(orjson.dumps(document), setup.key, "openai", "image")
        async with setup.gateway.open_exchange(call) as exchange:
            assert (await exchange.head()).status == 200
        assert exchange.receipt.price_nanodollars == cents * CENT


async def test_the_words_are_counted_where_nothing_is_said_of_tokens(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(
            model=GPT, prompt="#sim usage=none\nA river.", quality="low"
        )
        receipt = await served.receipt(raw.headers["x-request-id"])
        tokens = receipt["usage"]["input_tokens"]
        assert 5 < tokens < 20
        assert receipt["price"]["nanodollars"] == 5_000 * tokens
        assert receipt["provenance"] == "counted"
        assert receipt["usage_provenance"] == {"images": "reported", "input_tokens": "counted"}


async def test_urls_of_the_gateway_where_the_provider_has_none(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        answer = await client.images.generate(
            model=GPT,
            prompt="A river.",
            n=2,
            size="1536x1024",
            response_format="url",
            output_format="jpeg",
        )
        assert [image.b64_json for image in answer.data or ()] == [None, None]
        async with served.http() as http:
            for image in answer.data or ():
                assert (image.url or "").startswith(f"{served.url}/media/")
                fetched = await http.get(image.url or "", headers={"authorization": ""})
                assert fetched.headers["content-type"] == "image/jpeg"
                assert image_size(fetched.content) == (1_536, 1_024)


async def test_edits_and_variations_are_uploads(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.edit(
            model=GPT,
            prompt="A boat on it.",
            image=[("../a.png", PNG), ("b.png", PNG)],
            mask=("mask.png", PNG),
            size="1024x1024",
            quality="low",
        )
        [drawn] = pictures_of(raw.parse())
        assert kind_of(drawn) == "image/png"
        edit, consumed = (
            await served.receipt(raw.headers["x-request-id"]),
            one_truth(served).consumed,
        )
        assert edit["usage"]["input_image_tokens"] == consumed["input_image_tokens"] == 3 * 323
        words = consumed["input_tokens"] - 3 * 323
        assert edit["price"]["nanodollars"] == 5_000 * words + 10_000 * 3 * 323 + 40_000 * 272
        varied = await client.images.with_raw_response.create_variation(
            model=OLD, image=("a.png", PNG), n=2, response_format="b64_json", size="256x256"
        )
        assert [image_size(each) for each in pictures_of(varied.parse())] == [(256, 256)] * 2
        receipt = await served.receipt(varied.headers["x-request-id"])
        assert receipt["operation"] == "image_variation"
        assert receipt["price"]["nanodollars"] == 4 * CENT


async def test_large_pictures_go_through_the_helper_and_files(tmp_path: Path) -> None:
    """It parses them apart, and what goes on goes from one file into another."""
    async with open_sdk(tmp_path) as (served, client):
        for size_bytes in (1_000_000, 6_000_000):
            raw = await client.images.with_raw_response.edit(
                model=GPT,
                prompt="A boat on it.",
                image=("a.png", PNG.ljust(size_bytes, b"\0")),
                response_format="url",
                quality="low",
            )
            [image] = raw.parse().data or []
            assert (image.url or "").startswith(f"{served.url}/media/")
            receipt = await served.receipt(raw.headers["x-request-id"])
            assert receipt["usage"]["input_image_tokens"] == 323
        assert served.setup.gateway.statistics()["parsing"]["apart"] == 2


async def test_pictures_to_be_drawn_over_by_url(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        url = "data:image/png;base64," + base64.b64encode(PNG).decode()
        body = {"model": GPT, "prompt": "A boat.", "quality": "low", "images": [{"image_url": url}]}
        answer = await client.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse)
        assert len(answer.data or ()) == 1
        assert one_truth(served).consumed["input_image_tokens"] == 323
        body["images"] = [{"file_id": "file-1"}]
        with pytest.raises(openai.NotFoundError, match="No such file: 'file-1'") as refused:
            await client.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse)
        assert refused.value.param == "images[0].file_id"


async def test_the_sdk_that_waits(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served:

        def ask() -> list[bytes]:
            with OpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client:
                drawn = client.images.generate(model=GPT, prompt="A river.", quality="low")
                again = client.images.edit(model=GPT, prompt="A boat.", image=pictures_of(drawn)[0])
                return pictures_of(again)

        [picture] = await trio.to_thread.run_sync(ask)
        assert kind_of(picture) == "image/png"


async def test_streams_show_unfinished_pictures(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(
            model=GPT,
            prompt="#sim answer_bytes=2000000\nA river.",
            quality="low",
            stream=True,
            partial_images=2,
        )
        events = [event async for event in raw.parse()]
        assert [event.type.rpartition(".")[2] for event in events] == [
            "partial_image", "partial_image", "completed",
        ]  # fmt: skip
        assert len(base64.b64decode(events[-1].b64_json)) == 2_000_000
        receipt, truth = await served.receipt(raw.headers["x-request-id"]), one_truth(served)
        assert receipt["usage"]["output_tokens"] == truth.consumed["output_tokens"] == 272 + 200
        assert receipt["usage"]["images"] == 1
        assert receipt["price"]["nanodollars"] == 5_000 * truth.input_tokens + 40_000 * 472


async def test_a_client_that_leaves_a_stream_pays_what_it_asked_with(tmp_path: Path) -> None:
    """An unfinished picture has no price that a provider has said."""
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(
            model=GPT,
            prompt="#sim tokens_per_second=5\nA river.",
            stream=True,
            partial_images=3,
        )
        stream = raw.parse()
        await anext(aiter(stream))
        await stream.close()
        receipt, truth = await served.receipt(raw.headers["x-request-id"]), one_truth(served)
        assert (receipt["outcome"], receipt["provenance"]) == ("client_left", "counted")
        assert receipt["usage"]["output_tokens"] == 0
        assert receipt["price"]["nanodollars"] == 5_000 * receipt["usage"]["input_tokens"] > 0
        await settled(lambda: truth.ended == "reset")


async def test_a_stream_that_breaks_off_says_so(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        raw = await client.images.with_raw_response.generate(
            model=GPT,
            prompt="#sim cut_after=1 fault=cut\nA river.",
            stream=True,
            partial_images=2,
        )
        events = aiter(raw.parse())
        assert (await anext(events)).type == "image_generation.partial_image"
        with pytest.raises(openai.APIError):
            await anext(events)
        receipt = await served.receipt(raw.headers["x-request-id"])
        assert (receipt["outcome"], receipt["usage"]["output_tokens"]) == ("upstream_failed", 0)
        assert "images" not in receipt["usage"]
        assert receipt["price"]["nanodollars"] == 5_000 * receipt["usage"]["input_tokens"]


async def test_a_client_that_leaves_while_it_is_drawn_pays_nothing(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        asked = {"model": GPT, "prompt": "#sim head_ms=60000\nA river."}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.images.generate, **asked))
            await settled(lambda: bool(served.setup.sim.truth.records()))
            nursery.cancel_scope.cancel()
        truth = one_truth(served)
        await settled(lambda: truth.ended == "reset")
        receipt = await served.receipt(truth.request_id or "")
        assert (receipt["outcome"], receipt["price"]["nanodollars"]) == ("client_left", 0)


@pytest.mark.parametrize(
    ("directives", "words"),
    [
        ("media=html", "no picture"),
        ("media=empty", "no picture"),
        ("fault=html", "not a JSON object"),
        ("fault=error_ok", "had an error"),
    ],
)
async def test_what_is_no_picture_is_not_paid_for(
    tmp_path: Path, directives: str, words: str
) -> None:
    async with open_sdk(tmp_path) as (served, client):
        with pytest.raises(openai.APIStatusError, match=words) as failed:
            await client.images.generate(model=GPT, prompt=f"#sim {directives}\nA river.")
        assert failed.value.status_code >= 500
        receipt = await served.receipt(failed.value.response.headers["x-request-id"])
        assert (receipt["outcome"], receipt["price"]["nanodollars"]) == ("upstream_failed", 0)


async def test_parameters_that_a_model_has_not_are_named(tmp_path: Path) -> None:
    async with open_sdk(tmp_path) as (served, client):
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"model": GPT, "quality": "hd"}, "quality"),
            ({"model": DALLE, "n": 2}, "n"),
            ({"model": OLD, "extra_body": {"wings": 2}}, "wings"),
            ({"model": "sim-anthropic"}, "model"),
        ]
        for asked, param in refusals:
            with pytest.raises(openai.BadRequestError, match=f"'{param}'|does 'image'") as refused:
                await client.images.generate(prompt="A river.", **asked)
            assert refused.value.param == param
        assert not served.setup.sim.truth.records()


async def test_the_second_deployment_draws_where_the_first_fails(tmp_path: Path) -> None:
    rows = ({"provider": name, "model": GPT} for name in ("sim0", "sim1"))
    models = table("pair", *rows, price={"input": 5, "output": 40})
    routing = "breaker = { failures = 0 }"
    async with open_fleet(tmp_path, 2, models=models, routing=routing) as fleet:
        fleet.sims[0].behave(None, "status=500")
        body = orjson.dumps({"model": "pair", "prompt": "A river.", "quality": "low"})
        drawn = Call(body, fleet.setup.key, "openai", "image")
        async with fleet.setup.gateway.open_exchange(drawn) as exchange:
            await exchange.head()
            answer = b"".join([chunk async for chunk in exchange])
        assert len(orjson.loads(answer)["data"]) == 1
        attempts = exchange.receipt.attempts
        assert [attempt.provider for attempt in attempts][-1] == "sim1"
        assert exchange.receipt.price_nanodollars > 0


BROKEN = {
    "no boundary": ("multipart/form-data", form([("image", PNG)]), "no boundary"),
    "truncated": (None, form([("prompt", "x"), ("image", PNG)])[:-20], "truncated"),
    "another boundary": ("multipart/form-data; boundary=b", form([("image", PNG)]), "does not"),
    "10,000 parts": (None, form([("n", "1")] * 10_000), "more than 256 parts"),
    "no picture": (None, form([("prompt", "x"), ("image", b"not at all")]), "must be a picture"),
    "huge headers": (
        None,
        form([("prompt" + "x" * 9_000, "x")]),
        "longer than 8192 bytes",
    ),
}


async def test_broken_uploads_say_what_is_wrong(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        for case, (content_type, body, words) in BROKEN.items():
            kind = content_type or f"multipart/form-data; boundary={BOUNDARY}"
            if "image" in case or case == "no picture":
                body = form([("model", GPT), ("prompt", "x"), ("image", b"not at all")])
            answer = await client.post(
                "/images/edits", content=body, headers={"content-type": kind}
            )
            assert answer.status_code == 400, case
            assert words in answer.json()["error"]["message"], case
        assert not served.setup.sim.truth.records()


async def test_an_upload_that_ends_too_early_asks_for_nothing(tmp_path: Path) -> None:
    """A body of another length than was said is never read as a whole one."""
    body = form([("model", GPT), ("prompt", "A boat."), ("image", PNG)])
    async with open_served(tmp_path, models=MODELS) as served:
        for content_length in (len(body) + 1, len(body) - 1):
            head = (
                f"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\n"
                f"authorization: Bearer {served.setup.key}\r\n"
                f"content-type: multipart/form-data; boundary={BOUNDARY}\r\n"
                f"content-length: {content_length}\r\n\r\n"
            )
            async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
                await stream.send_all(head.encode() + body)
                await stream.send_eof()
                with trio.fail_after(10):
                    answer = await stream.receive_some()
            assert not answer.startswith(b"HTTP/1.1 200 ")
        assert not served.setup.sim.truth.records()
        assert not served.setup.gateway.statistics()["open_exchanges"]


async def test_limits_hold_for_pictures_too(tmp_path: Path) -> None:
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        setup = served.setup
        _, key = await add_key(setup.gateway, setup.account_id, limits={"requests_per_min": 1})
        client.headers["authorization"] = f"Bearer {key}"
        asked = {"model": OLD, "prompt": "A river."}
        answers = [await client.post("/images/generations", json=asked) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert answers[1].json()["error"]["code"] == "rate_limit_exceeded"


async def test_what_funds_do_not_cover_is_refused_as_it_is(tmp_path: Path) -> None:
    """Fewer tokens would make no smaller picture."""
    async with open_sdk(tmp_path, funds_nanodollars=CENT) as (served, client):
        for model in (GPT, DALLE, OLD):
            with pytest.raises(openai.APIStatusError) as refused:
                await client.images.generate(model=model, prompt="A river.")
            assert refused.value.status_code == 402
        assert not served.setup.sim.truth.records()


async def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    server = "body_max_bytes = 1000"
    async with open_served(tmp_path, models=MODELS, server=server) as served:
        head = (
            f"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {served.setup.key}\r\n"
            f"content-type: multipart/form-data; boundary={BOUNDARY}\r\n"
            "content-length: 100000\r\n\r\n"
        )
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
            await stream.send_all(head.encode())
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")


RECORDED = [
    *recordings.names("openai-images-generations", status=200),
    *recordings.names("openai-images-edits", status=200),
]


async def test_recorded_answers_go_through_untouched(tmp_path: Path) -> None:
    if not all(isinstance(name, str) for name in RECORDED):
        pytest.skip("no recordings")
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        for seed, name in enumerate(RECORDED):
            recording = recordings.load(name)
            prompt = f"#sim recording={name} split_seed={seed}\nA river."
            count = len(orjson.loads(recording.body)["data"])
            document = {"model": OLD, "prompt": prompt, "n": count}
            answer = await client.post("/images/generations", json=document)
            assert answer.content == recording.body, name
            receipt = await served.receipt(answer.headers["x-request-id"])
            assert receipt["price"]["nanodollars"] == 2 * CENT * count, name
