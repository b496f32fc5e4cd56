"""Requests for pictures to models that chat, and chats with models that draw."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.capabilities import UNKNOWN, Capabilities
from engine.conversation import Conversation, ImageOptions, JsonObject, Media, Text, Tool, Turn
from engine.errors import InvalidRequestError, UpstreamError, UpstreamRejectedError
from engine.events import Begin, Call, Event, Finish, FinishReason, MediaDelta, UsageReport
from engine.media.forms import Field
from engine.protocols import gemini
from engine.protocols.codec import ClientRequest, Identity, InexpressibleError, UpstreamTarget
from engine.protocols.openai_images import CODEC
from engine.protocols.registry import upstream_codec
from engine.usage import Usage
from tests.engine.protocols.openai_images.samples import (
    JPEG_64,
    PNG_64,
    fields,
    parse,
    picture,
    upload,
)

WHO = Identity("img_1", "model", 7)
GEMINI = UpstreamTarget("gemini-2.5-flash-image", UNKNOWN, stream=False)
URL = "https://example.com/a.png"


def to_gemini(request: ClientRequest) -> dict[str, Any]:
    encoded = gemini.CODEC.encode_request(CODEC.decode_request(request), GEMINI)
    document: dict[str, Any] = orjson.loads(encoded.body)
    return document


@pytest.mark.parametrize(
    ("size", "config"),
    [
        (None, None),
        ("auto", None),
        ("1024x1024", {"aspectRatio": "1:1"}),
        ("1024x1536", {"aspectRatio": "2:3"}),
        ("1792x1024", {"aspectRatio": "16:9"}),
        ("2048x2048", {"aspectRatio": "1:1", "imageSize": "2K"}),
        ("3840x2160", {"aspectRatio": "16:9", "imageSize": "2K"}),
        ("4K", {"imageSize": "4K"}),
    ],
)
def test_generations_of_gemini(size: str | None, config: dict[str, str] | None) -> None:
    sent = to_gemini(parse() if size is None else parse(size=size))
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "A river."}]}]
    wanted = {"responseModalities": ["IMAGE"]} | ({"imageConfig": config} if config else {})
    assert sent["generationConfig"] == wanted


def test_edits_of_gemini_have_their_pictures_first() -> None:
    inline = {"inlineData": {"mimeType": "image/png", "data": PNG_64}}
    [content] = to_gemini(upload(*fields(), picture()))["contents"]
    assert content["parts"] == [inline, {"text": "A boat."}]
    url = "data:image/png;base64," + PNG_64
    named = parse("image_edit", images=[{"image_url": url}, {"image_url": URL}])
    conversation = CODEC.decode_request(named)
    assert conversation.turns[0].parts[:2] == (
        Media("image", "image/png", PNG_64),
        Media("image", url=URL),
    )


def test_what_it_can_consume_there() -> None:
    conversation = CODEC.decode_request(parse(quality="low", size="1024x1024"))
    demand = gemini.CODEC.encode_request(conversation, GEMINI).demand
    assert demand is not None
    assert (demand.pieces, demand.tier) == ({"images": 1}, "1K")
    assert demand.output_tokens >= 2_520


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"n": 2}, "choices"),
        ({"background": "transparent"}, "image.background"),
        ({"output_format": "gif"}, "image.format"),
    ],
)
def test_what_gemini_cannot_draw(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InexpressibleError) as refused:
        to_gemini(parse(**asked))
    assert refused.value.field == field


def test_what_is_lost_on_gemini_is_said() -> None:
    asked: dict[str, Any] = {
        "quality": "high",
        "output_format": "webp",
        "output_compression": 5,
        "style": "vivid",
    }
    conversation = CODEC.decode_request(parse(**asked))
    dropped = gemini.CODEC.encode_request(conversation, GEMINI).dropped
    assert set(dropped) == {"image.quality", "image.format", "image.compression", "style"}
    masked = CODEC.decode_request(upload(*fields(), picture(), picture("mask")))
    assert [(one.field, one.harmless) for one in masked.unexpressed] == [("mask", False)]
    with pytest.raises(InexpressibleError):
        CODEC.decode_request(upload(Field("model", "m"), picture(), operation="image_variation"))


def drawn(*pictures: str, reason: FinishReason = FinishReason.STOP) -> list[Event]:
    more = {"output_image_tokens": 1_290, "images": len(pictures)}
    return [
        Begin("1", "gemini", 5),
        *[MediaDelta("image", "image/png", each) for each in pictures],
        Finish(reason, explanation="No."),
        UsageReport(Usage(10, output_tokens=1_300, more=more)),  # type: ignore[arg-type]
    ]


def test_an_answer_of_gemini() -> None:
    answer = orjson.loads(CODEC.encode_response(drawn(PNG_64), parse(), WHO))
    assert answer == {
        "created": 5,
        "data": [{"b64_json": PNG_64}],
        "output_format": "png",
        "size": "64x64",
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 10},
            "output_tokens": 1_300,
            "output_tokens_details": {"image_tokens": 1_290, "text_tokens": 10},
            "total_tokens": 1_310,
        },
    }
    assert CODEC.decode_response(CODEC.encode_response(drawn(JPEG_64), parse(), WHO))


@pytest.mark.parametrize("operation", ["image", "image_edit"])
def test_a_stream_of_gemini_is_one_event_a_picture(operation: Any) -> None:
    request = parse(stream=True) if operation == "image" else upload(*fields(), picture())
    encoder = CODEC.open_encoder(request, WHO)
    assert b"".join(encoder.encode(event) for event in drawn(PNG_64, JPEG_64)) == b""
    assert encoder.holding
    stream = encoder.finish()
    assert stream.count(b"event: ") == 2
    kind = {"image": "image_generation", "image_edit": "image_edit"}[operation]
    assert stream.count(b'"type":"%b.completed"' % kind.encode()) == 2
    decoder = CODEC.open_decoder(end_marker=False)
    events = [event for frame in decoder.split(stream) for event in decoder.decode(frame)]
    assert [event.data for event in events if isinstance(event, MediaDelta)] == [PNG_64, JPEG_64]
    report = events[-1]
    assert isinstance(report, UsageReport)
    assert report.usage.output_tokens == 1_300


def test_answers_without_a_picture() -> None:
    with pytest.raises(UpstreamError, match="without a picture"):
        CODEC.encode_response(drawn(), parse(), WHO)
    with pytest.raises(UpstreamError, match="no picture"):
        CODEC.encode_response(drawn("PGh0bWw+"), parse(), WHO)
    with pytest.raises(UpstreamRejectedError, match=r"No\.") as refused:
        CODEC.encode_response(drawn(reason=FinishReason.FILTERED), parse(), WHO)
    assert (refused.value.status, refused.value.code) == (400, "moderation_blocked")


def chat(*parts: Any, **more: Any) -> Conversation:
    return Conversation((Turn("user", (Text("A river."), *parts)),), **more)


def to_images(
    conversation: Conversation, model: str = "gpt-image-1", *, stream: bool = False
) -> dict[str, Any]:
    encoded = CODEC.encode_request(conversation, UpstreamTarget(model, UNKNOWN, stream=stream))
    document: dict[str, Any] = orjson.loads(encoded.body)
    assert encoded.operation == ("image_edit" if "images" in document else "image")
    assert encoded.demand is not None
    return document


def test_a_chat_with_a_model_that_draws() -> None:
    assert to_images(chat(), stream=True) == {
        "model": "gpt-image-1", "prompt": "A river.", "stream": True,
    }  # fmt: skip
    assert to_images(chat(choices=2, end_user="u"), "dall-e-2") == {
        "model": "dall-e-2", "prompt": "A river.", "n": 2, "user": "u",
        "response_format": "b64_json",
    }  # fmt: skip


def test_its_pictures_are_drawn_over() -> None:
    sent = to_images(chat(Media("image", "image/png", PNG_64), Media("image", url=URL)))
    data_url = f"data:image/png;base64,{PNG_64}"
    assert sent["images"] == [{"image_url": data_url}, {"image_url": URL}]


@pytest.mark.parametrize(
    ("size", "model", "sent"),
    [
        ("1344x768", "gpt-image-1", "1536x1024"),
        ("1344x768", "dall-e-3", "1792x1024"),
        ("864x1184", "gpt-image-2", "1024x1536"),
        ("1344x768", "dall-e-2", "1024x1024"),
        ("4K", "gpt-image-1", None),
    ],
)
def test_sizes_are_the_nearest_of_the_model(size: str, model: str, sent: str | None) -> None:
    assert to_images(chat(image=ImageOptions(size=size)), model).get("size") == sent


def test_only_the_last_turn_is_drawn() -> None:
    turns = (
        Turn("system", (Text("In blue."),)),
        Turn("user", (Text("A cat."),)),
        Turn("assistant", (Text("Here."),)),
        Turn("user", (Text("A river."),)),
    )
    target = UpstreamTarget("gpt-image-1", UNKNOWN, stream=False)
    encoded = CODEC.encode_request(Conversation(turns, temperature=1.0), target)
    assert orjson.loads(encoded.body)["prompt"] == "In blue.\n\nA river."
    assert encoded.dropped == ("temperature", "turns")


@pytest.mark.parametrize(
    ("conversation", "field"),
    [
        (chat(tools=(Tool("t"),)), "tools"),
        (chat(output_format=JsonObject()), "output_format"),
        (chat(modalities=("audio",)), "modalities"),
        (chat(choices=11), "choices"),
        (chat(Media("audio", "audio/wav", "AAAA")), "turns"),
        (Conversation((Turn("assistant", (Text("x"),)),)), "turns"),
        (Conversation((Turn("user", (Media("image", url=URL),)),)), "turns"),
    ],
)
def test_chats_that_cannot_be_drawn(conversation: Conversation, field: str) -> None:
    with pytest.raises(InexpressibleError) as refused:
        to_images(conversation)
    assert refused.value.field == field


def test_a_model_that_draws_in_one_piece() -> None:
    with pytest.raises(InexpressibleError, match="no stream"):
        to_images(chat(), "dall-e-3", stream=True)


def test_who_is_spoken_to_how() -> None:
    serves = Capabilities(serves=frozenset({"image"})).serves
    for client in ("openai_chat", "openai_responses", "gemini"):
        assert upstream_codec(client, "openai", frozenset(), serves) is CODEC
    assert upstream_codec("anthropic", "openai", frozenset(), serves) is None
    assert upstream_codec(CODEC.name, "gemini", frozenset()) is gemini.CODEC


def of_gemini(**image: Any) -> Conversation:
    document = {
        "contents": [{"parts": [{"text": "A river."}]}],
        "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": image},
    }
    call = Call(orjson.dumps(document), None, "gemini", model="m")
    return gemini.CODEC.decode_request(gemini.CODEC.parse_request(call))


def test_what_geminis_clients_say_of_pictures() -> None:
    assert of_gemini(aspectRatio="16:9").image == ImageOptions("1344x768")
    assert of_gemini(aspectRatio="16:9", imageSize="2K").image == ImageOptions("2688x1536")
    assert of_gemini(imageSize="4K").image == ImageOptions("4K")
    assert of_gemini().image is None
    [lost] = of_gemini(personGeneration="allow").unexpressed
    assert (lost.field, lost.harmless) == ("generationConfig.imageConfig.personGeneration", False)
    with pytest.raises(InvalidRequestError, match="'aspectRatio' must be one of"):
        of_gemini(aspectRatio="7:5")


@pytest.mark.parametrize("ratio", ["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "21:9"])
@pytest.mark.parametrize("scale", ["1K", "2K", "4K"])
def test_shapes_come_back_as_they_were(ratio: str, scale: str) -> None:
    conversation = of_gemini(aspectRatio=ratio, imageSize=scale)
    sent = orjson.loads(gemini.CODEC.encode_request(conversation, GEMINI).body)
    config = sent["generationConfig"]["imageConfig"]
    assert config["aspectRatio"] == ratio
    assert config.get("imageSize", "1K") == scale
