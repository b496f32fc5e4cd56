"""What is made of what clients say of their files."""

from __future__ import annotations

import pytest

from engine.errors import InvalidRequestError, UnsupportedEncodingError
from frontends.direct import DirectHeaders
from frontends.file_content import disposition, shown_type
from frontends.uploading import digest_of, refuse_coded, sha256_field, type_of

SHA256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
FIELD = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"


@pytest.mark.parametrize(
    ("said", "filename", "kind"),
    [
        ("Application/PDF; q=1", "a.png", "application/pdf"),
        ("application/octet-stream", "a.png", "image/png"),
        (None, "notes.md", "text/markdown"),
        (None, "lines.jsonl", "application/jsonl"),
        (None, "a.html", "text/html"),
        ("text", "a", "application/octet-stream"),
        ("a/b\r\nx: y", "", "application/octet-stream"),
        ("", "", "application/octet-stream"),
    ],
)
def test_the_type_of_a_file(said: str | None, filename: str, kind: str) -> None:
    assert type_of(said, filename) == kind


@pytest.mark.parametrize(
    ("filename", "said"),
    [
        ("a.pdf", 'attachment; filename="a.pdf"'),
        ("", 'attachment; filename="upload"'),
        ('a"b;c.pdf', "attachment; filename=\"a_b;c.pdf\"; filename*=UTF-8''a%22b%3Bc.pdf"),
        ("naïve", "attachment; filename=\"na_ve\"; filename*=UTF-8''na%C3%AFve"),
        ("a\r\nx: y", "attachment; filename=\"a__x: y\"; filename*=UTF-8''a%0D%0Ax%3A%20y"),
        ("\ud800", "attachment; filename=\"_\"; filename*=UTF-8''%3F"),
    ],
)
def test_names_in_headers_are_ascii_and_one_line(filename: str, said: str) -> None:
    assert disposition(filename) == said


def test_only_what_is_known_to_be_harmless_keeps_its_type() -> None:
    for kind in ("image/png", "audio/mpeg", "video/mp4", "application/pdf", "text/plain"):
        assert shown_type(kind) == kind
    for kind in ("text/html", "image/svg+xml", "text/xml", "text/css", "multipart/x-mixed-replace"):
        assert shown_type(kind) == "application/octet-stream"


def headers(*values: str, name: str = "repr-digest") -> DirectHeaders:
    return DirectHeaders([(name.encode(), value.encode()) for value in values])


def test_digests_as_rfc_9530_writes_them() -> None:
    assert sha256_field(SHA256) == FIELD
    for said in (
        FIELD,
        f"md5=:eA==:, {FIELD}",
        f"{FIELD}, sha-512=:eA==:",
        FIELD.upper()[:8] + FIELD[8:],
    ):
        assert digest_of(headers(said), "repr-digest") == SHA256, said
    assert digest_of(headers("sha-512=:eA==:"), "repr-digest") is None
    assert digest_of(headers(), "repr-digest") is None
    other = sha256_field("00" * 32)
    for wrong in ("sha-256=", "sha-256=:eA==:", f"{FIELD}, {other}", f"sha-256={FIELD[9:-1]}"):
        with pytest.raises(InvalidRequestError):
            digest_of(headers(wrong), "repr-digest")


def test_nothing_is_unpacked() -> None:
    for plain in ("identity", "", "Identity, identity"):
        refuse_coded(headers(plain, name="content-encoding"))
    for coded in ("gzip", "identity, br", "x"):
        with pytest.raises(UnsupportedEncodingError):
            refuse_coded(headers(coded, name="content-encoding"))
