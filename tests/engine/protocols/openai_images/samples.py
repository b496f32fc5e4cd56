"""Requests and pictures for the tests of this folder."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson

from bench.simulate.pictures import jpeg, png
from engine.events import Call, Operation
from engine.media.forms import Field, File, write_form
from engine.protocols.codec import ClientRequest
from engine.protocols.openai_images import CODEC

PNG = png(64, 64, bytes(16))
JPEG = jpeg(64, 64, bytes(16))
PNG_64 = b64encode(PNG).decode()
JPEG_64 = b64encode(JPEG).decode()
MODEL = "gpt-image-1"


def parse(operation: Operation = "image", **document: Any) -> ClientRequest:
    """A request in JSON."""
    document = {"model": MODEL, "prompt": "A river."} | document
    return CODEC.parse_request(Call(orjson.dumps(document), None, "openai", operation))


def upload(*parts: Field | File, operation: Operation = "image_edit") -> ClientRequest:
    """A request in a form."""
    content_type, pieces = write_form(parts)
    body = b"".join(pieces)
    return CODEC.parse_request(Call(body, None, "openai", operation, content_type=content_type))


def fields(**values: str) -> list[Field]:
    """Fields of a form, with those that every request has."""
    return [Field(*each) for each in ({"model": MODEL, "prompt": "A boat."} | values).items()]


def picture(name: str = "image", data: bytes = PNG, filename: str = "a.png") -> File:
    """A file of a form."""
    return File(name, filename, "image/png", memoryview(data))
