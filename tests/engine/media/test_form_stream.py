"""Forms as they arrive: the same as of the whole body, however that is split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidRequestError
from engine.media.form_stream import (
    FIELDS_MAX_BYTES,
    FileBegins,
    FileData,
    FileEnds,
    FormStream,
)
from engine.media.forms import PART_HEAD_MAX_BYTES, PARTS_MAX, Field, parse_form

TYPE = "multipart/form-data; boundary=b"
DISPOSITION = b"Content-Disposition: form-data; "
FIELD = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"Content-Type: application/pdf\r\n\r\n%b\r\n"
)
END = b"--b--\r\n"

Part = tuple[str, ...]


def read(pieces: Sequence[bytes]) -> list[Part]:
    """The parts as plain values: (name, text), or (name, file name, type, content)."""
    stream = FormStream(TYPE)
    parts: list[Part] = []
    file: FileBegins | None = None
    content = b""
    for piece in pieces:
        for event in stream.feed(piece):
            match event:
                case Field(name, value):
                    assert file is None
                    parts.append((name, value))
                case FileBegins():
                    assert file is None
                    file, content = event, b""
                case FileData(data):
                    assert file is not None
                    assert data
                    content += data
                case FileEnds():
                    assert file is not None
                    kind = str(file.content_type)
                    parts.append((file.name, file.filename, kind, content.decode("latin-1")))
                    file = None
    stream.finish()
    assert file is None
    return parts


def read_whole(body: bytes) -> list[Part]:
    return [
        (one.name, one.value)
        if isinstance(one, Field)
        else (one.name, one.filename, str(one.content_type), bytes(one.data).decode("latin-1"))
        for one in parse_form(TYPE, body).parts
    ]


def outcome(pieces: Sequence[bytes]) -> list[Part] | str:
    """The parts, or what is wrong with them."""
    try:
        return read(pieces)
    except InvalidRequestError as error:
        return str(error)


def outcome_of_whole(body: bytes) -> list[Part] | str:
    try:
        return read_whole(body)
    except InvalidRequestError as error:
        return str(error)


BODIES = {
    "a file between fields": FIELD + FILE % b"\xff\r\n--\r\n--bb" + FIELD + END,
    "what nearly is a boundary": FILE % (b"\r\n-\r\n--\r\n--a\r\r\n" * 3) + END,
    "empty": FILE % b"" + FIELD.replace(b"user_data", b"") + END,
    "no parts": b"--b--",
    "around": b"who reads this?\r\n" + FIELD + END + b"and this?\r\n--b\r\nno form",
    "padding": (FIELD + END).replace(b"--b\r\n", b"--b \t\r\n"),
    "no last line": FIELD + b"--b--",
    "no headers": b"--b\r\n\r\n1\r\n" + END,
    "cut in the preamble": b"words\r\n--",
    "nothing": b"",
    "cut behind a boundary": FIELD + b"--b",
    "cut in a head": FIELD + FILE[:40],
    "cut in a file": FIELD + FILE % b"content",
    "cut in the last boundary": FIELD + b"--b-",
    "lines without CR": (FIELD + END).replace(b"\r\n", b"\n"),
    "words behind a boundary": b"--b words\r\n" + FIELD + END,
    "too much padding": b"--b" + b" " * 65 + b"\r\n" + FIELD + END,
    "no name": FIELD.replace(b'name="purpose"', b"") + END,
    "an unending head": b"--b\r\n" + DISPOSITION + b"name=a\r\n--b\r\n\r\n1\r\n" + END,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_every_split_is_the_whole(body: bytes) -> None:
    whole = outcome([body])
    assert whole == outcome_of_whole(body)
    assert outcome([body[at : at + 1] for at in range(len(body))]) == whole
    for at in range(1, len(body)):
        assert outcome([body[:at], body[at:]]) == whole, at


_SHREDS = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"--b",
        b"--",
        b"-",
        b"b",
        b" ",
        b": ",
        DISPOSITION + b"name=a",
        DISPOSITION + b'name="f"; filename="../x"',
        b"Content-Type: text/plain; charset=latin-1",
        FIELD,
        FILE % b"1",
        END,
        b"\xff",
    ]
)


@given(st.lists(_SHREDS, max_size=12), st.lists(st.integers(0, 400), max_size=6))
def test_it_reads_what_is_read_of_the_whole(shreds: list[bytes], cuts: list[int]) -> None:
    body = b"".join(shreds)
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    split = [body[a:b] for a, b in pairwise(edges)]
    found = outcome(split)

    assert outcome([body]) == found
    expected = outcome_of_whole(body)
    assert found == expected or (isinstance(found, str) and isinstance(expected, str)), (
        "of several faults another one may be met first"
    )


def test_a_file_passes_through_at_once() -> None:
    stream = FormStream(TYPE)
    assert list(stream.feed(FILE[: FILE.index(b"%b")])) == [
        FileBegins("file", "a.bin", "application/pdf")
    ]
    assert list(stream.feed(b"1")) == [FileData(b"1")]
    data = b"x" * 100_000
    [passed] = stream.feed(data)

    assert isinstance(passed, FileData)
    assert passed.data is data, "what holds no beginning of a boundary is not copied"
    assert [event.data for event in stream.feed(b"1\r\n--") if isinstance(event, FileData)] == [
        b"1"
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\nX: " + b"x" * (PART_HEAD_MAX_BYTES + 2),
        FIELD * (PARTS_MAX + 1),
        FIELD.replace(b"user_data", b"x" * (FIELDS_MAX_BYTES + 1)),
        FIELD.replace(b"user_data", b"x" * (FIELDS_MAX_BYTES // 2)) * 3,
        b"--b\r\n" + DISPOSITION + b"name=a\r\nX: \xff\r\n\r\n",
        b"--b\r\n" + DISPOSITION + b"name=a\r\ncontent-transfer-encoding: base64\r\n\r\n",
    ],
    ids=["head", "parts", "field", "fields", "no text", "coded"],
)
def test_it_is_refused_before_it_ends(body: bytes) -> None:
    stream = FormStream(TYPE)
    with pytest.raises(InvalidRequestError):
        list(stream.feed(body))


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "multipart/mixed"])
def test_what_is_no_form(content_type: str) -> None:
    with pytest.raises(InvalidRequestError):
        FormStream(content_type)
