"""Reading JSON that may be anything."""

from __future__ import annotations

import orjson
import pytest

from engine.errors import InvalidRequestError
from engine.protocols.fields import (
    dict_of,
    dicts,
    is_held_uri,
    load_json,
    load_object,
    load_request,
    text_of,
)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'"a\ud83db"', "a\ufffdb"),
        (rb'"\udc00"', "\ufffd"),
        (rb'"\ud83d\ude00\ud83d"', "\U0001f600\ufffd"),
        (rb'"\\ud83d"', r"\ud83d"),
        (rb'{"\ud83d":1}', {"\ufffd": 1}),
    ],
)
def test_half_of_a_surrogate_pair_is_unknown(data: bytes, value: object) -> None:
    assert load_json(data) == value


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"\xff", rb'"\u12"', b"[" * 5_000])
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load_json(data)


@pytest.mark.parametrize("data", [b"1", b"[]", b"null", b'"x"'])
def test_what_is_no_object_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="object"):
        load_object(data)


def test_anything_else_is_nothing() -> None:
    assert list(dicts([{"a": 1}, 2, {}])) == [{"a": 1}, {}]
    assert list(dicts({"a": 1})) == []
    assert (dict_of([]), text_of(1)) == ({}, "")


@pytest.mark.parametrize(
    ("uri", "held"),
    [
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", True),
        ("https://api.openai.com/v1/files/file-1/content", True),
        ("https://me@generativelanguage.googleapis.com/v1beta/files/abc", True),
        ("//eu.generativelanguage.googleapis.com:443/v1beta/files/abc", True),
        ("v1beta/files/abc", True),
        ("files/abc", True),
        ("gs://bucket/file.pdf", True),
        ("https://example.com/files/abc", False),
        ("https://example.com/?of=@generativelanguage.googleapis.com/files/abc", False),
        ("data:application/pdf;base64,files/", False),
        ("", False),
    ],
)
def test_files_of_the_providers_are_known(uri: str, held: bool) -> None:
    assert is_held_uri(uri) == held


def test_a_request_keeps_its_integers_to_the_digit() -> None:
    body = b'{"tools":[{"maximum":123456789012345678901234567890}],"seed":18446744073709551615}'
    assert orjson.dumps(load_request(body)) == body


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":NaN}', b'{"a":"\\ud800"}'])
def test_a_request_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        load_request(body)
