"""Requests for pictures: what is taken, what is refused, what goes on, what it can consume."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import InvalidRequestError, NotFoundError
from engine.events import Call
from engine.media.forms import Field, File, parse_form
from engine.protocols.codec import HeldIdError
from engine.protocols.openai_images import CODEC
from engine.protocols.openai_images.sizes import INPUT_IMAGE_TOKENS, output_tokens
from engine.protocols.registry import client_codec, upstream_codec
from tests import recordings
from tests.engine.protocols.openai_images.samples import (
    JPEG,
    MODEL,
    PNG,
    fields,
    parse,
    picture,
    upload,
)


def test_what_is_asked_for_in_json_goes_on_as_it_is() -> None:
    request = parse(n=2, size="1024x1536", quality="low", background="opaque", unheard_of=1)
    assert client_codec("openai", "image") is CODEC
    assert list(CODEC.prompt_texts(request)) == ["A river."]
    sent = orjson.loads(CODEC.encode_verbatim(request, "upstream", None))
    assert sent == request.document | {"model": "upstream"}
    assert CODEC.answered(request).document == {}


@pytest.mark.parametrize(
    ("model", "sent"), [("gpt-image-1", False), ("openai/gpt-image-2", False), ("dall-e-3", True)]
)
def test_models_that_know_one_form_of_answers_are_not_asked_for_it(model: str, sent: bool) -> None:
    request = parse(response_format="b64_json")
    assert ("response_format" in orjson.loads(CODEC.encode_verbatim(request, model, None))) is sent
    form = upload(*fields(response_format="b64_json"), picture())
    assert (b"b64_json" in CODEC.encode_verbatim(form, model, None)) is sent


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["A river."]}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"n": "2"}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"partial_images": 4}, "partial_images"),
        ({"frame_count": 17}, "frame_count"),
        ({"response_format": "png"}, "response_format"),
        ({"output_format": "svg"}, "output_format"),
        ({"quality": "high 1024"}, "quality"),
        ({"size": "1024 x 1024"}, "size"),
    ],
)
def test_what_is_refused_names_its_field(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(**wrong)
    assert refused.value.param == param


def test_a_form_goes_on_with_another_name_of_the_model() -> None:
    request = upload(
        Field("n", "2"),
        *fields(quality="low"),
        picture("image[]", filename="../x"),
        picture("image[]", JPEG),
        picture("mask"),
    )
    assert request.document == {"n": 2, "model": MODEL, "prompt": "A boat.", "quality": "low"}
    assert request.media == {"image": 3}
    sent = parse_form(request.content_type, CODEC.encode_verbatim(request, "upstream", None))
    assert sent.texts("model") == ["upstream"]
    assert (sent.texts("n"), sent.texts("prompt")) == (["2"], ["A boat."])
    files = [part for part in sent.parts if isinstance(part, File)]
    assert [(file.name, file.filename, bytes(file.data)) for file in files] == [
        ("image[]", "x", PNG),
        ("image[]", "a.png", JPEG),
        ("mask", "a.png", PNG),
    ]


def test_a_variation_has_no_words() -> None:
    request = upload(Field("model", "dall-e-2"), picture(), operation="image_variation")
    assert request.model == "dall-e-2"
    with pytest.raises(InvalidRequestError, match="multipart form"):
        parse("image_variation")


@pytest.mark.parametrize(
    ("parts", "words", "param"),
    [
        ([], "'image' must be a file", "image"),
        ([picture()] * 17, "up to 16", "image"),
        ([picture(data=b"GIF8")], "'image' must be a picture", "image"),
        ([picture(data=b"")], "'image' must be a picture", "image"),
        ([picture(), picture("mask", b"<html>")], "'mask' must be a picture", "mask"),
        ([picture(), picture("mask"), picture("mask")], "'mask' must be one file", "mask"),
        ([picture(), picture("video")], "no file 'video'", "video"),
        ([picture(), Field("image[]", "data:image/png,")], "must be a file", "image[]"),
        ([picture(), Field("mask[image_url]", "x")], "must be a file", "mask[image_url]"),
        ([picture(), Field("images[][image_url]", "x")], "be a file", "images[][image_url]"),
        ([picture(), Field("images[][file_id]", "file-1")], "names nothing", "images[][file_id]"),
        ([picture(), Field("n", "2"), Field("n", "1")], "'n' twice", "n"),
        ([picture(), Field("n", "two")], "'n' must be a whole number", "n"),
        ([picture(), Field("stream", "maybe")], "'stream' must be true", "stream"),
    ],
)
def test_forms_that_are_refused(parts: list[Field | File], words: str, param: str) -> None:
    with pytest.raises((InvalidRequestError, NotFoundError), match=words) as refused:
        upload(*fields(), *parts)
    assert refused.value.param == param


@pytest.mark.parametrize("operation", ["image", "image_edit"])
def test_what_is_neither_json_nor_a_form(operation: Any) -> None:
    with pytest.raises(InvalidRequestError, match="JSON"):
        CODEC.parse_request(Call(b"--x--", None, "openai", operation))


def test_pictures_by_url() -> None:
    url = "https://example.com/a.png"
    request = parse("image_edit", images=[{"image_url": url}], mask={"image_url": url})
    assert request.media == {"image": 2}
    refusals: list[Any] = [[], [{}], [url], [{"image_url": url}] * 17, None]
    for wrong in refusals:
        with pytest.raises(InvalidRequestError) as refused:
            parse("image_edit", images=wrong)
        assert (refused.value.param or "").startswith("images")


@pytest.mark.parametrize(
    ("held", "param"),
    [
        ({"images": [{"image_url": "file-0123456789abcdef01"}]}, "images[0].image_url"),
        ({"images": [{"image_url": "gs://bucket/x"}]}, "images[0].image_url"),
    ],
)
def test_files_of_the_providers_are_refused(held: dict[str, Any], param: str) -> None:
    with pytest.raises(HeldIdError) as refused:
        parse("image_edit", **held)
    assert refused.value.param == param


def test_what_it_can_consume() -> None:
    demand = parse(n=2, quality="low", size="1024x1024", partial_images=3, stream=True).demand
    assert demand is not None
    assert (demand.pieces, demand.tier) == ({"images": 2}, "low 1024x1024")
    assert demand.output_tokens == 2 * (408 + 300)
    assert not demand.flat, "what came is known by what came"
    demand = upload(*fields(), picture(), picture("mask")).demand
    assert demand is not None
    assert demand.tier == "auto auto"
    assert demand.input_tokens >= 2 * INPUT_IMAGE_TOKENS
    moving = parse(output_format="gif", frame_count=4, quality="low", size="1024x1024").demand
    assert moving is not None
    assert moving.output_tokens == 4 * 408


@pytest.mark.parametrize(
    ("quality", "size", "known"),
    [
        ("low", "1024x1024", 272),
        ("medium", "1024x1536", 1_584),
        ("high", "1024x1536", 6_240),
        ("auto", "auto", 7_024),  # the next model's, of a square
        (None, None, 7_024),
        ("high", "3584x2048", 12_329),
        ("high", "99999x99999", 10_000),
    ],
)
def test_the_bound_is_above_the_known_figures(
    quality: str | None, size: str | None, known: int
) -> None:
    assert known <= output_tokens(quality, size) <= 3 * known


def test_who_has_it() -> None:
    assert upstream_codec(CODEC.name, "openai", frozenset()) is CODEC
    assert upstream_codec(CODEC.name, "anthropic", frozenset()) is None


NAMES = [
    *recordings.names("openai-images-generations", status=200),
    *recordings.names("openai-images-edits", status=200),
    *recordings.names("openai-images-variations", status=200),
]


@pytest.mark.parametrize("name", NAMES)
def test_recorded_answers_have_pictures(name: str) -> None:
    usage = CODEC.decode_response(recordings.load(name).body)[-1].usage  # type: ignore[union-attr]
    assert usage is not None
    assert usage.more["images"] in (1, 2)
