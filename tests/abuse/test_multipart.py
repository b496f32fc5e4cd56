"""Where forms are none of it: their bodies are refused as what they are, and within bounds.

Forms that are asked for are in `test_uploads`.
"""

from __future__ import annotations

import pytest

from tests.abuse.rig import BODY_MAX_BYTES, Rig, check_error

CHAT = "/v1/chat/completions"
BOUNDARY = b"--b\r\n"
PART = BOUNDARY + b'content-disposition: form-data; name="f"; filename="../../x"\r\n\r\n'

FORMS: dict[str, bytes] = {
    "one file": PART + b"data\r\n--b--\r\n",
    "100,000 parts": (PART + b"x\r\n") * 100_000 + b"--b--\r\n",
    "boundaries only": BOUNDARY * 1_000_000,
    "no end": PART + b"x" * 1_000_000,
    "a head without end": BOUNDARY + b"x-y: z\r\n" * 500_000,
    "parts in parts": (BOUNDARY + b"content-type: multipart/mixed; boundary=b\r\n\r\n") * 50_000,
    "a boundary that nearly is": (b"\r\n--" + b"b" * 69) * 100_000,
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "multipart/mixed"])
def test_a_form_is_no_request(unpaid: Rig, name: str, content_type: str) -> None:
    answer = unpaid.ask(CHAT, FORMS[name], headers={"content-type": content_type})

    assert answer.status == 400
    assert "JSON" in check_error(answer)["message"]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=" + "b" * 20_000,
        "multipart/form-data; boundary=b; boundary=c",
        "application/x-www-form-urlencoded",
        "text/plain; charset=utf-7",
        "application/json; charset=utf-16",
        "\x0b",
    ],
)
def test_whatever_a_body_says_it_is_it_is_read_as_json(unpaid: Rig, content_type: str) -> None:
    answer = unpaid.ask(CHAT, FORMS["one file"], headers={"content-type": content_type})

    assert answer.status == 400


def test_a_form_is_bounded_like_every_body(unpaid: Rig) -> None:
    body = PART + b"x" * BODY_MAX_BYTES

    assert unpaid.ask(CHAT, body, headers={"content-type": "multipart/form-data"}).status == 413


def test_parts_of_files_belong_to_an_upload_of_the_account(unpaid: Rig) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    begun = unpaid.ask("/v1/uploads", FORMS["one file"], headers=headers)
    part = unpaid.ask("/v1/uploads/upload_1/parts", FORMS["one file"], headers=headers)

    assert (begun.status, part.status) == (400, 404)  # it is announced in JSON
    assert check_error(begun)["code"] == "invalid_request"
    assert check_error(part)["code"] == "not_found"


@pytest.mark.parametrize("name", FORMS)
def test_forms_that_are_no_files(unpaid: Rig, name: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = unpaid.ask("/v1/files", FORMS[name], headers=headers)

    assert answer.status == 400
    check_error(answer)
    assert unpaid.setup.gateway.files.quota.stored_files == 0
