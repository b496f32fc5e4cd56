"""What belongs to one account is not there for another, by whatever name it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.abuse.rig import PROMPT_CANARY, Rig, chat, check_error

CHAT = "/v1/chat/completions"


def as_other(rig: Rig) -> dict[str, str]:
    """The headers of the other account."""
    return {"authorization": f"Bearer {rig.other_key}"}


def served(rig: Rig, **headers: str) -> str:
    """The id of a request of the other account."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = rig.ask(CHAT, chat(), headers=as_other(rig) | named)
    assert answer.status == 200
    return answer.headers["x-request-id"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH", "HEAD"])
@pytest.mark.parametrize("suffix", ["", "/", "/cancel", "/../{id}", "%00", "?account=OTHER"])
def test_anothers_receipt(rig: Rig, method: str, suffix: str) -> None:
    request_id = served(rig)
    suffix = suffix.replace("{id}", request_id).replace("OTHER", rig.other_account_id)
    answer = rig.ask(f"/v1/receipts/{request_id}{suffix}", method=method)

    assert answer.status in {400, 404, 405}
    assert b"nanodollars" not in answer.body
    mine = rig.ask(f"/v1/receipts/{request_id}", method="GET", headers=as_other(rig))
    assert mine.status == 200


def test_a_receipt_that_is_anothers_and_one_that_is_nobodys_look_alike(rig: Rig) -> None:
    request_id = served(rig)
    nobodys = request_id[:-4] + "0000"
    anothers = rig.ask(f"/v1/receipts/{request_id}", method="GET")
    missing = rig.ask(f"/v1/receipts/{nobodys}", method="GET")

    assert anothers.status == missing.status == 404
    assert anothers.body.replace(request_id.encode(), b"ID") == missing.body.replace(
        nobodys.encode(), b"ID"
    )


@pytest.mark.parametrize(
    "query",
    [
        "account={account}",
        "account_id={account}",
        "key={key}&account={account}",
        "cursor={id}",
        "after={id}",
        "limit=100000000",
        "limit=-1",
        "from=0&to=99999999999999999999",
        "model=sim-openai'%20OR%201=1--",
        "outcome=%00",
        "cursor=" + "A" * 5_000,
    ],
)
def test_lists_have_what_is_ones_own(rig: Rig, query: str) -> None:
    request_id = served(rig)
    named = query.format(account=rig.other_account_id, key=rig.key, id=request_id)
    answer = rig.ask(f"/v1/receipts?{named}", method="GET")

    assert answer.status in {200, 400}
    assert request_id.encode() not in answer.body


def test_anothers_idempotency_key_gives_ones_own_answer(rig: Rig) -> None:
    theirs = served(rig, idempotency_key="shared")
    mine = rig.ask(CHAT, chat(), headers={"idempotency-key": "shared"})

    assert mine.status == 200
    assert mine.headers["x-request-id"] != theirs


def test_anothers_request_id_keys_nothing(rig: Rig) -> None:
    theirs = served(rig)
    answer = rig.ask(CHAT, chat(), headers={"x-request-id": theirs})

    assert answer.status == 200
    assert answer.headers["x-request-id"] != theirs


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--b--'
)
FORM_TYPE = {"content-type": "multipart/form-data; boundary=b"}
ANTHROPIC = {"anthropic-version": "2023-06-01"}
ON_FILES: dict[str, tuple[str, str, dict[str, str]]] = {
    "openai, shown": ("GET", "/v1/files/file-{id}", {}),
    "openai, bare": ("GET", "/v1/files/{id}", {}),
    "openai, content": ("GET", "/v1/files/file-{id}/content", {}),
    "openai, a range": ("GET", "/v1/files/file-{id}/content", {"range": "bytes=0-1"}),
    "openai, head": ("HEAD", "/v1/files/file-{id}/content", {}),
    "openai, removed": ("DELETE", "/v1/files/file-{id}", {}),
    "openai, after": ("GET", "/v1/files?after=file-{id}", {}),
    "anthropic, shown": ("GET", "/v1/files/file_{id}", ANTHROPIC),
    "anthropic, content": ("GET", "/v1/files/file_{id}/content", ANTHROPIC),
    "anthropic, removed": ("DELETE", "/v1/files/file_{id}", ANTHROPIC),
    "anthropic, after": ("GET", "/v1/files?after_id=file_{id}", ANTHROPIC),
    "anthropic, before": ("GET", "/v1/files?before_id=file_{id}", ANTHROPIC),
    "gemini, shown": ("GET", "/v1beta/files/{id}", {}),
    "gemini, v1": ("GET", "/v1/files/{id}", {"x-goog-api-key": "OWN"}),
    "gemini, content": ("GET", "/v1beta/files/{id}:download?alt=media", {}),
    "gemini, removed": ("DELETE", "/v1alpha/files/{id}", {}),
    "gemini, a page": ("GET", "/v1beta/files?pageToken={id}", {}),
}


@pytest.mark.parametrize("way", ON_FILES)
def test_anothers_file(unpaid: Rig, way: str) -> None:
    """It looks as a file that there never was, by each protocol's routes."""
    method, path, headers = ON_FILES[way]
    headers = {name: unpaid.key if value == "OWN" else value for name, value in headers.items()}
    data = FORM % b"the other account's words"
    made = unpaid.ask("/v1/files", data, headers=as_other(unpaid) | FORM_TYPE)
    assert made.status == 200, made.body
    file_id = made.document["id"].removeprefix("file-")
    nobodys = "a" * 26
    anothers = unpaid.ask(path.format(id=file_id), method=method, headers=headers)
    missing = unpaid.ask(path.format(id=nobodys), method=method, headers=headers)

    assert anothers.status == missing.status == (400 if "?" in path and "alt" not in path else 404)
    for request_id in (anothers.headers["x-request-id"], missing.headers["x-request-id"]):
        assert request_id
    assert b"words" not in anothers.body
    if method != "HEAD":
        protocol = "gemini" if way.startswith("gemini") else "openai_chat"
        protocol = "anthropic" if headers.get("anthropic-version") else protocol
        one, other = (
            check_error(answer, protocol)["message"].replace(said, "ID")
            for answer, said in ((anothers, file_id), (missing, nobodys))
        )
        assert one == other
    assert unpaid.ask("/v1/files", method="GET").document["data"] == []
    own = unpaid.ask(f"/v1/files/{file_id}/content", method="GET", headers=as_other(unpaid))
    assert own.body == b"the other account's words"
    gone = unpaid.ask(f"/v1/files/{file_id}", method="DELETE", headers=as_other(unpaid))
    assert gone.status == 200


@pytest.mark.parametrize("command", ["query", "upload", "upload, finalize", "finalize", "cancel"])
def test_anothers_upload(unpaid: Rig, command: str) -> None:
    path = "/upload/v1beta/files"
    begun = unpaid.ask(
        path,
        {"file": {}},
        headers=as_other(unpaid)
        | {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"},
    )
    assert begun.status == 200
    query = begun.headers["x-goog-upload-url"].partition("?")[2]
    said = {"x-goog-upload-command": command, "x-goog-upload-offset": "0"}
    answer = unpaid.ask(f"{path}?{query}", b"mine", headers=said)
    guessed = unpaid.ask(f"{path}?upload_id={'A' * 43}", b"mine", headers=said)

    assert answer.status == guessed.status == 404
    assert check_error(answer, "gemini")["message"] == check_error(guessed, "gemini")["message"]
    over = unpaid.ask(
        f"{path}?{query}", headers=as_other(unpaid) | {"x-goog-upload-command": "cancel"}
    )
    assert over.headers["x-goog-upload-status"] == "cancelled"
    assert query.split("=")[1].partition("&")[0] not in unpaid.logged()


@pytest.mark.parametrize(
    "name", ["..%2f..%2fledger.db", "%2e%2e%2ftmp", "....//x", "tmp", "file-..", "a%00b", "*", "%"]
)
def test_an_id_is_no_path(unpaid: Rig, name: str) -> None:
    for path in (f"/v1/files/{name}", f"/v1/files/{name}/content", f"/v1beta/files/{name}"):
        for method in ("GET", "DELETE"):
            answer = unpaid.ask(path, method=method)
            assert answer.status in {400, 404, 405}, (method, path)
            assert b"SQLite" not in answer.body


HELD: dict[str, tuple[str, dict[str, Any]]] = {
    "a stored response": ("/v1/responses", {"previous_response_id": "resp_1"}),
    "a conversation": ("/v1/responses", {"conversation": "conv_1"}),
    "a file of OpenAI": (
        "/v1/responses",
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
    ),
    "a file in a chat": (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}
            ]
        },
    ),
    "a vector store": (
        "/v1/responses",
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    ),
    "a container": (
        "/v1/responses",
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    ),
    "a file of Anthropic": (
        "/v1/messages",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
                    ],
                }
            ]
        },
    ),
    "a file of Gemini": (
        "/v1beta/models/sim-gemini:generateContent",
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {
                            "fileData": {
                                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/x"
                            }
                        }
                    ],
                }
            ]
        },
    ),
    "cached content": (
        "/v1beta/models/sim-gemini:generateContent",
        {"cachedContent": "cachedContents/x"},
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_what_lives_at_the_provider_is_not_told_apart_by_account(unpaid: Rig, name: str) -> None:
    path, fields = HELD[name]
    messages = [{"role": "user", "content": PROMPT_CANARY}]
    documents: dict[str, dict[str, Any]] = {
        CHAT: {"model": "sim-openai", "messages": messages},
        "/v1/responses": {"model": "sim-responses", "input": PROMPT_CANARY},
        "/v1/messages": {"model": "sim-anthropic", "messages": messages, "max_tokens": 9},
    }
    gemini = {"contents": [{"role": "user", "parts": [{"text": PROMPT_CANARY}]}]}
    protocol = {CHAT: "openai_chat", "/v1/messages": "anthropic"}.get(path, "openai_chat")
    protocol = "gemini" if path.startswith("/v1beta") else protocol

    answer = unpaid.ask(path, documents.get(path, gemini) | fields)

    assert answer.status == 404, answer.body
    check_error(answer, protocol)
