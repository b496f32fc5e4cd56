"""Forms: what is read is what was written, what could be read in two ways is refused."""

from __future__ import annotations

import email.parser
import email.policy
import mmap
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidRequestError
from engine.media.forms import (
    FILENAME_MAX_CHARS,
    NAME_MAX_CHARS,
    PART_HEAD_MAX_BYTES,
    PARTS_MAX,
    Field,
    File,
    Form,
    parse_form,
    write_form,
)

TYPE = "multipart/form-data; boundary=b"


def part(head: bytes = b'name="a"', content: bytes = b"1", more: bytes = b"") -> bytes:
    return (
        b"--b\r\nContent-Disposition: form-data; "
        + head
        + b"\r\n"
        + more
        + b"\r\n"
        + content
        + b"\r\n"
    )


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def read(body: bytes, content_type: str = TYPE) -> list[tuple[str, ...]]:
    """The parts as plain values: (name, text), or (name, file name, content)."""
    return [
        (one.name, one.value)
        if isinstance(one, Field)
        else (one.name, one.filename, bytes(one.data).decode("latin-1"))
        for one in parse_form(content_type, body).parts
    ]


def test_a_form_as_the_sdks_send_it() -> None:
    body = form(
        part(b'name="model"', b"whisper-1"),
        part(b'name="timestamp_granularities[]"', b"word"),
        part(b'name="timestamp_granularities[]"', b"segment"),
        part(
            b'name="file"; filename="a.mp3"', b"\xff\xfb\r\n--\r\n", b"Content-Type: audio/mpeg\r\n"
        ),
    )

    found = parse_form(TYPE, body)

    assert found.texts("model") == ["whisper-1"]
    assert found.texts("timestamp_granularities") == ["word", "segment"]
    (file,) = found.files("file")
    assert (file.filename, file.content_type) == ("a.mp3", "audio/mpeg")
    assert bytes(file.data) == b"\xff\xfb\r\n--\r\n"
    assert file.data.obj is body, "the bytes of a file are not copied"


def test_lists_keep_their_order_however_they_are_spelled() -> None:
    found = parse_form(
        TYPE,
        form(
            *(
                part(f'name="{name}"; filename="{i}"'.encode())
                for i, name in enumerate(("image", "image[]", "mask", "image"))
            )
        ),
    )

    assert [file.filename for file in found.files("image")] == ["0", "1", "3"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (TYPE, form(part())),
        ("Multipart/Form-Data;BOUNDARY=b", form(part())),
        ('multipart/form-data; charset=utf-8; boundary="b";', form(part())),
        (TYPE, b"who reads this?\r\n" + form(part()) + b"\r\nand this?"),
        (TYPE, form(part()).replace(b"--b\r\n", b"--b \t\r\n")),
        (TYPE, form(part()).removesuffix(b"\r\n")),
        (TYPE, form(part(b"name=a"))),
        (TYPE, form(part(more=b"content-transfer-encoding: 8BIT\r\n"))),
        (TYPE, form(part(more=b"Content-Type: text/plain; charset=UTF-8\r\n"))),
        (TYPE, form(part(more=b"X-Long: one\r\n two\r\n"))),
    ],
    ids=[
        "plain",
        "case",
        "quoted",
        "around",
        "padding",
        "no-last-crlf",
        "token",
        "8bit",
        "charset",
        "fold",
    ],
)
def test_spellings_of_one_form(content_type: str, body: bytes) -> None:
    assert read(body, content_type) == [("a", "1")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"\r\n", "\r\n"),
        (b"-b", "-b"),
        (b"\r\n-b\r\n--", "\r\n-b\r\n--"),
        ("naïve".encode(), "naïve"),
    ],
)
def test_what_nearly_is_a_boundary_is_content(content: bytes, text: str) -> None:
    assert read(form(part(content=content), part(b'name="z"'))) == [("a", text), ("z", "1")]


def test_a_form_without_parts() -> None:
    assert parse_form(TYPE, b"--b--") == Form(())


@pytest.mark.parametrize(
    ("parameter", "filename"),
    [
        (b'filename="../../x"', "x"),
        (b'filename="/etc/passwd"', "passwd"),
        (b'filename="C:\\Users\\me\\x.mp3"', "x.mp3"),
        (b'filename="\\\\\\\\host\\\\share\\\\x"', "x"),
        (b'filename=".."', ""),
        (b'filename="a/"', ""),
        (b'filename=""', ""),
        (b'filename="a\\"b.mp3"', 'a"b.mp3'),
        (b'filename="a%22b%0D%0Ac"', 'a"bc'),
        (b'filename="a%00b"', "a%00b"),
        (b"filename=x.mp3", "x.mp3"),
        ('filename="日本.wav"'.encode(), "日本.wav"),
        (b"filename=\"x\"; filename*=UTF-8''na%C3%AFve.mp3", "naïve.mp3"),
        (b"filename*=utf-8'en'..%2F..%5Cx%00.mp3; filename=y", "x.mp3"),
        (b"filename*=iso-8859-1''%E9", "é"),
    ],
)
def test_of_a_file_name_only_the_base_name_is_kept(parameter: bytes, filename: str) -> None:
    assert read(form(part(b'name="f"; ' + parameter))) == [("f", filename, "1")]


HEAD_BYTES = len(part().partition(b"\r\n\r\n")[0]) - len(b"--b\r\n")
HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "no boundary": ("multipart/form-data", form(part()), "has no boundary"),
    "an empty boundary": ("multipart/form-data; boundary=", form(part()), "malformed"),
    "a boundary of 71": ("multipart/form-data; boundary=" + "b" * 71, form(part()), "1 to 70"),
    "a boundary that ends so": ('multipart/form-data; boundary="b "', form(part()), "1 to 70"),
    "two boundaries": (TYPE + "; boundary=c", form(part()), "twice"),
    "another type": ("multipart/mixed; boundary=b", form(part()), "not multipart/form-data"),
    "no type": ("", form(part()), "malformed"),
    "the wrong boundary": ("multipart/form-data; boundary=c", form(part()), "does not stand"),
    "an empty body": (TYPE, b"", "is empty"),
    "JSON": (TYPE, b'{"model": "whisper-1"}', "does not stand"),
    "cut in a content": (TYPE, form(part())[:-8], "truncated"),
    "cut in the last boundary": (TYPE, form(part())[:-4], "truncated"),
    "cut in a head": (TYPE, form(part())[:30], "truncated"),
    "cut after a boundary": (TYPE, b"--b", "truncated"),
    "no closing boundary": (TYPE, part() * 2, "truncated"),
    "line feeds only": (TYPE, form(part()).replace(b"\r\n", b"\n"), "CRLF"),
    "text after a boundary": (TYPE, form(part()).replace(b"b\r", b"bc\r"), "something else"),
    "no name": (TYPE, form(part(b'filename="x"')), "no name"),
    "no headers": (TYPE, b"--b\r\n\r\n1\r\n--b--", "no name"),
    "nothing at all in a part": (TYPE, b"--b\r\n\r\n--b--", "no name"),
    "another disposition": (TYPE, form(part().replace(b"form-data", b"attachment")), "no name"),
    "two names": (TYPE, form(part(b'name="a"; name="c"')), "says 'name' twice"),
    "two dispositions": (
        TYPE,
        form(part(more=b'content-disposition: form-data; name="z"\r\n')),
        "'content-disposition' twice",
    ),
    "a quote that never ends": (TYPE, form(part(b'name="a')), "malformed"),
    "a header that is none": (TYPE, form(part(more=b"what?\r\n")), "malformed"),
    "NUL in a header": (TYPE, form(part(b'name="f"; filename="a\0b"')), "malformed"),
    "a lone CR in a header": (TYPE, form(part(more=b"x: a\rb\r\n")), "malformed"),
    "a header in Latin-1": (TYPE, form(part(b'name="\xe9"')), "not UTF-8"),
    "a head without end": (TYPE, part().replace(b"\r\n\r\n", b"\r\n") + form(part()), "no end"),
    "a huge head": (TYPE, form(part(more=b"x: " + b"y" * 8_192 + b"\r\n")), "longer than"),
    "many headers": (TYPE, form(part(more=b"x: y\r\n" * 500_000)), "longer than"),
    "a huge head, and no end": (TYPE, b"--b\r\nx: " + b"y" * 1_000_000, "longer than"),
    "a long name": (TYPE, form(part(b"name=n" + b"n" * NAME_MAX_CHARS)), "longer than"),
    "a long file name": (
        TYPE,
        form(part(b'name="a"; filename="' + b"n" * (FILENAME_MAX_CHARS + 1) + b'"')),
        "longer than",
    ),
    "10,000 parts": (TYPE, form(*[part()] * 10_000), f"more than {PARTS_MAX} parts"),
    "text that is none": (TYPE, form(part(content=b"\xff\xfb")), "neither UTF-8 text nor a file"),
    "text of another charset": (
        TYPE,
        form(part(more=b"Content-Type: text/plain; charset=utf-16\r\n")),
        "another charset",
    ),
    "base64": (TYPE, form(part(more=b"Content-Transfer-Encoding: base64\r\n")), "has to be binary"),
    "filename* of no charset": (TYPE, form(part(b'name="a"; filename*=x')), "malformed"),
    "filename* in UTF-7": (TYPE, form(part(b"name=\"a\"; filename*=utf-7''x")), "malformed"),
    "filename* that is no UTF-8": (TYPE, form(part(b"name=a; filename*=utf-8''%ff")), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_broken_form_is_refused_and_the_fault_named(case: str) -> None:
    content_type, body, message = HOSTILE[case]

    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        parse_form(content_type, body)


def test_bounds_are_inclusive() -> None:
    room = b"x: " + b"y" * (PART_HEAD_MAX_BYTES - HEAD_BYTES - len(b"\r\nx: ")) + b"\r\n"
    name = b'name="' + b"n" * NAME_MAX_CHARS + b'"; filename="' + b"f" * FILENAME_MAX_CHARS + b'"'

    assert read(form(part(more=room))) == [("a", "1")]
    assert read(form(part(name))) == [("n" * NAME_MAX_CHARS, "f" * FILENAME_MAX_CHARS, "1")]
    assert len(read(form(*[part()] * PARTS_MAX))) == PARTS_MAX
    long = "b" * 70
    assert read(form(part()).replace(b"--b", b"--" + long.encode()), TYPE[:-1] + long)


def test_the_field_at_fault_is_named() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_form(TYPE, form(part(b'name="file"', b"\xff\xfb")))

    assert caught.value.param == "file"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n--" * 2_000_000,
        (b"\r\n--" + b"b" * 60) * 100_000,
        (b"b" * 31 + b"\r\n--") * 200_000,
    ],
    ids=["starts", "nearly", "tails"],
)
def test_a_file_full_of_what_nearly_is_a_boundary_is_read_once(body: bytes) -> None:
    content_type = "multipart/form-data; boundary=" + "b" * 61 + "c"
    whole = form(part(b'name="f"; filename="x"', body)).replace(
        b"--b\r", b"--" + b"b" * 61 + b"c\r"
    )

    with pytest.raises(InvalidRequestError, match="truncated"):
        parse_form(content_type, whole)


@pytest.mark.parametrize("head", [b"; " * 4_000, b" " * 8_000, b';a="\\' * 1_500, b"a" * 8_000])
def test_a_strange_head_is_read_once(head: bytes) -> None:
    """A reader that goes back for each byte would take minutes for these."""
    with pytest.raises(InvalidRequestError):
        parse_form(TYPE, form(*[part(head + b"\x7f")] * PARTS_MAX))
    with pytest.raises(InvalidRequestError):
        parse_form(head.decode() + "\x7f", b"")


def test_a_view_and_a_map_are_read_as_bytes_are() -> None:
    body = form(part(b'name="f"; filename="x"', b"data"))
    with mmap.mmap(-1, len(body)) as pages:
        pages[:] = body
        with memoryview(pages) as view:
            (mapped,) = parse_form(TYPE, view).files("f")
            assert mapped.data.obj is pages
            assert bytes(mapped.data) == b"data"
            mapped.data.release()
            del mapped
    (inner,) = parse_form(TYPE, memoryview(b"xx" + body + b"yy")[2:-2]).files("f")
    assert bytes(inner.data) == b"data"


# Names as clients have them: no control characters, and no escapes of browsers in clear, which
# browsers do not escape either.
alphabet = st.sampled_from("aé日😀 \"';=\\/.-\u2028")
names = st.text(alphabet, max_size=8)
plain_names = st.text(alphabet.filter(lambda one: one not in "/\\."), max_size=8)
content = st.sampled_from([b"", b"\r\n", b"\r", b"\n--", b"--", b"\0\xff", b"x" * 50])
types = st.sampled_from([None, "audio/mpeg", "text/plain; charset=utf-8"])
parts = st.lists(
    st.builds(Field, names, st.text(alphabet | st.sampled_from("\r\n"), max_size=8))
    | st.builds(File, names, plain_names, types, content.map(memoryview)),
    max_size=8,
)


def written(fields: list[Field | File]) -> tuple[str, bytes]:
    content_type, pieces = write_form(fields)
    return content_type, b"".join(pieces)


@given(parts)
def test_what_is_written_is_read_again(fields: list[Field | File]) -> None:
    content_type, body = written(fields)

    found = parse_form(content_type, body)

    assert [_default_type(one) for one in fields] == list(found.parts)


def _default_type(one: Field | File) -> Field | File:
    if isinstance(one, Field) or one.content_type is not None:
        return one
    return File(one.name, one.filename, "application/octet-stream", one.data)


@given(parts)
def test_another_reader_of_mime_reads_the_same(fields: list[Field | File]) -> None:
    content_type, body = written(fields)
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(head + body)

    others = list(message.walk())[1:]

    assert [one.get_payload(decode=True) for one in others] == [
        one.value.encode() if isinstance(one, Field) else bytes(one.data) for one in fields
    ]
    for one, other in zip(fields, others, strict=True):
        if one.name.isascii() and not set(one.name) & set('"\\'):
            assert other.get_param("name", header="content-disposition") == one.name


@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.sampled_from(
                [b"", b"\r\n", b"--b", b"\r\n--b", b"--", b";", b'"', b"\0", b"\xff", b"\\", b": "]
            ),
        )
    ),
)
def test_a_damaged_form_is_read_or_refused(cut: int, damage: list[tuple[int, bytes]]) -> None:
    body = form(part(), part(b'name="f"; filename="x"', b"\0\r\n", b"Content-Type: audio/mpeg\r\n"))
    for where, what in damage:
        at = where % (len(body) + 1)
        body = body[:at] + what + body[at + len(what) // 2 :]
    if cut % 3 == 0:
        body = body[: cut % (len(body) + 1)]
    try:
        found = parse_form(TYPE, body)
    except InvalidRequestError:
        return
    assert len(found.parts) <= body.count(b"--b")


def test_names_are_escaped_as_browsers_do() -> None:
    file = File('f"', 'a"\r\n.mp3', None, memoryview(b""))

    _, body = written([file])

    assert b'; name="f%22"; filename="a%22%0D%0A.mp3"\r\n' in body


def test_a_type_that_would_end_the_header_is_not_written() -> None:
    _, body = written([File("f", "x", "audio/mpeg\r\nx: y", memoryview(b""))])

    assert b"Content-Type: application/octet-stream\r\n" in body


def test_a_boundary_that_stands_in_the_content_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = iter(["aa", "bb", "cc", "dd"])
    monkeypatch.setattr("secrets.token_hex", lambda _size: next(drawn))
    array = bytearray(b"-- cc --")

    content_type, _ = write_form(
        [
            Field("text", "see aa"),
            File("f", "", None, memoryview(b"\0bb\0")),
            File("f", "", None, memoryview(array)),
        ]
    )

    assert content_type == "multipart/form-data; boundary=dd"


def test_files_are_written_without_a_copy() -> None:
    data = memoryview(b"x" * 1000)

    _, pieces = write_form([Field("model", "m"), File("f", "x", None, data)])

    assert len(pieces) == 3
    assert pieces[1] is data
