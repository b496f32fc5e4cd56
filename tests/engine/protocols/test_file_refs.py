"""Files of the gateway's that requests name: where that may be, and what stands in their place."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine import Call
from engine.capabilities import UNKNOWN, Capabilities
from engine.conversation import FileStandIn, FileUse
from engine.errors import InvalidRequestError
from engine.events import Operation, Protocol
from engine.parsing.jobs import FilesNamedError, Prepared, Target, prepare_here
from engine.protocols.codec import HeldIdError
from engine.protocols.file_refs import bare_id, is_file_address
from engine.protocols.quirks import PLAIN

OURS = "abcdefghijklmnopqrstuvwxyz"
PDF = FileStandIn("application/pdf", "a.pdf", 9, b"%PDF-1.7\n")
PNG = FileStandIn("image/png", "a.png", 8, b"\x89PNG\r\n\x1a\n")
WORDS = FileStandIn("text/plain", "a.csv", 7, "a;b\nü;1".encode())
SOUND = FileStandIn("audio/wav", "a.wav", 4, b"RIFF")
FILES = {"pdf": PDF, "png": PNG, "words": WORDS, "sound": SOUND}


def data(file: FileStandIn) -> str:
    return base64.b64encode(file.data).decode()


def url(file: FileStandIn) -> str:
    return f"data:{file.mime_type};base64,{data(file)}"


# What a client of each protocol writes that names a file by its id, and one that sends it itself.

Part = dict[str, Any]


def of_chat(*parts: Part) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def of_responses(*parts: Part) -> dict[str, Any]:
    return {"model": "m", "input": [{"role": "user", "content": list(parts)}]}


def of_anthropic(*parts: Part) -> dict[str, Any]:
    return {"max_tokens": 9} | of_chat(*parts)


def of_gemini(*parts: Part) -> dict[str, Any]:
    return {"model": "m", "contents": [{"role": "user", "parts": list(parts)}]}


ASKED: dict[Protocol, Callable[..., dict[str, Any]]] = {
    "openai_chat": of_chat,
    "openai_responses": of_responses,
    "anthropic": of_anthropic,
    "gemini": of_gemini,
}
NAMED: dict[Protocol, Callable[[str], Part]] = {
    "openai_chat": lambda written: {"type": "file", "file": {"file_id": written}},
    "openai_responses": lambda written: {"type": "input_file", "file_id": written},
    "anthropic": lambda written: {
        "type": "document",
        "source": {"type": "file", "file_id": written},
    },
    "gemini": lambda written: {"fileData": {"fileUri": f"files/{written}"}},
}
PATHS: dict[Protocol, str] = {
    "openai_chat": "messages[0].content[0].file.file_id",
    "openai_responses": "input[0].content[0].file_id",
    "anthropic": "messages[0].content[0].source.file_id",
    "gemini": "contents[0].parts[0].fileData.fileUri",
}
INLINE: dict[tuple[Protocol, str], Part] = {
    ("openai_chat", "pdf"): {"type": "file", "file": {"filename": "a.pdf", "file_data": url(PDF)}},
    ("openai_chat", "png"): {"type": "image_url", "image_url": {"url": url(PNG)}},
    ("openai_chat", "words"): {"type": "text", "text": WORDS.data.decode()},
    ("openai_chat", "sound"): {
        "type": "input_audio",
        "input_audio": {"data": data(SOUND), "format": "wav"},
    },
    ("openai_responses", "pdf"): {
        "type": "input_file",
        "filename": "a.pdf",
        "file_data": url(PDF),
    },
    ("openai_responses", "png"): {
        "type": "input_image",
        "image_url": url(PNG),
        "detail": "auto",
    },
    ("openai_responses", "words"): {"type": "input_text", "text": WORDS.data.decode()},
    ("openai_responses", "sound"): {
        "type": "input_audio",
        "input_audio": {"data": data(SOUND), "format": "wav"},
    },
    ("anthropic", "pdf"): {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": data(PDF)},
    },
    ("anthropic", "png"): {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data(PNG)},
    },
    ("anthropic", "words"): {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": WORDS.data.decode()},
    },
    ("gemini", "pdf"): {"inlineData": {"mimeType": "application/pdf", "data": data(PDF)}},
    ("gemini", "png"): {"inlineData": {"mimeType": "image/png", "data": data(PNG)}},
    ("gemini", "words"): {"inlineData": {"mimeType": "text/plain", "data": data(WORDS)}},
    ("gemini", "sound"): {"inlineData": {"mimeType": "audio/wav", "data": data(SOUND)}},
}


def call_of(protocol: Protocol, *parts: Part, operation: Operation = "chat") -> Call:
    body = orjson.dumps(ASKED[protocol](*parts))
    return Call(body, None, protocol, operation, model="m" if protocol == "gemini" else None)


def written_in(protocol: Protocol, name: str) -> str:
    return f"files/{name}" if protocol == "gemini" else name


def prepared(call: Call, spoken: str, **files: FileStandIn) -> Prepared:
    named = {written_in(call.protocol, name): file for name, file in files.items()}
    target = Target(spoken, "up", "o200k_base", UNKNOWN, PLAIN, hides_reasoning=False)
    return prepare_here(replace(call, files=named), target)


@pytest.mark.parametrize("spoken", ASKED)
@pytest.mark.parametrize(("client", "name"), INLINE)
def test_a_file_goes_as_if_its_client_had_sent_it(
    client: Protocol, name: str, spoken: Protocol
) -> None:
    def sent(call: Call, **files: FileStandIn) -> tuple[bytes | str, int]:
        try:
            made = prepared(call, spoken, **files)
        except InvalidRequestError as error:  # the one as the other
            return error.message, 0
        assert isinstance(made.body, bytes)
        return made.body, sum(made.request.media.values())

    by_id = sent(call_of(client, NAMED[client](name)), **{name: FILES[name]})
    assert by_id == sent(call_of(client, INLINE[client, name]))


@pytest.mark.parametrize("client", ASKED)
def test_what_is_not_resolved_goes_to_nobody(client: Protocol) -> None:
    part = NAMED[client]("pdf")
    with pytest.raises(FilesNamedError) as named:
        prepared(call_of(client, part), client)
    assert named.value.uses == (FileUse(written_in(client, "pdf"), PATHS[client]),)
    with pytest.raises(FilesNamedError) as named:
        prepared(call_of(client, part, NAMED[client]("other")), client, pdf=PDF)
    assert [use.written for use in named.value.uses] == [written_in(client, "other")]


HELD: dict[str, tuple[FileStandIn, dict[str, Part]]] = {
    "pdf": (
        replace(PDF, held="file-at-theirs", uri="https://g.example/files/x"),
        {
            "openai_chat": {"type": "file", "file": {"file_id": "file-at-theirs"}},
            "openai_responses": {"type": "input_file", "file_id": "file-at-theirs"},
            "anthropic": {
                "type": "document",
                "source": {"type": "file", "file_id": "file-at-theirs"},
            },
            "gemini": {
                "fileData": {
                    "fileUri": "https://g.example/files/x",
                    "mimeType": "application/pdf",
                }
            },
        },
    ),
    "png": (
        replace(PNG, held="file-at-theirs", uri="https://g.example/files/x"),
        {
            "openai_responses": {
                "type": "input_image",
                "file_id": "file-at-theirs",
                "detail": "auto",
            },
            "anthropic": {"type": "image", "source": {"type": "file", "file_id": "file-at-theirs"}},
            "gemini": {
                "fileData": {"fileUri": "https://g.example/files/x", "mimeType": "image/png"}
            },
        },
    ),
    "sound": (
        replace(SOUND, held="file-at-theirs", uri="https://g.example/files/x"),
        {
            "gemini": {
                "fileData": {"fileUri": "https://g.example/files/x", "mimeType": "audio/wav"}
            },
        },
    ),
}


@pytest.mark.parametrize("client", ASKED)
@pytest.mark.parametrize(
    ("name", "spoken"), [(name, spoken) for name, (_, told) in HELD.items() for spoken in told]
)
def test_what_a_provider_has_is_named_by_its_id(
    client: Protocol, name: str, spoken: Protocol
) -> None:
    file, told = HELD[name]
    if not client.startswith("openai") and spoken.startswith("openai"):
        file = replace(file, uri=None)  # which is of Gemini's protocol alone
    made = prepared(call_of(client, NAMED[client](name)), spoken, **{name: file})

    assert isinstance(made.body, bytes)
    document = orjson.loads(made.body)
    turns = document.get("messages") or document.get("input") or document["contents"]
    parts = turns[0].get("content") or turns[0]["parts"]
    assert parts == [told[spoken]]
    assert made.held == ("file-at-theirs",)
    inline = prepared(call_of(client, NAMED[client](name)), spoken, **{name: FILES[name]})
    assert made.input.count() == inline.input.count(), "an id is nothing that is read"


@pytest.mark.parametrize("client", ASKED)
def test_a_file_counts_as_much_as_one_that_its_client_sends(client: Protocol) -> None:
    pdf = replace(PDF, size_bytes=3_000, data=b"%PDF-".ljust(3_000, b"x"))
    known = prepared(call_of(client, NAMED[client]("pdf")), client, pdf=pdf).bounds
    sent = replace(pdf, data=pdf.data)
    made = prepared(call_of(client, NAMED[client]("pdf")), client, pdf=sent)
    assert isinstance(made.body, bytes)
    inline = Call(made.body, None, client, model="m" if client == "gemini" else None)
    assert abs(prepared(inline, client).bounds.input_tokens - known.input_tokens) < 150
    assert known.expected_input_tokens == prepared(inline, client).bounds.expected_input_tokens
    # ... once for each place, and as much before it is known how it goes.
    twice = call_of(client, NAMED[client]("pdf"), NAMED[client]("pdf"))
    assert prepared(twice, client, pdf=pdf).bounds.input_tokens > 1.9 * known.input_tokens
    sketch = replace(pdf, data=b"?")
    assert prepared(call_of(client, NAMED[client]("pdf")), client, pdf=sketch).bounds == known


def test_a_large_file_at_its_provider_is_bounded_by_what_the_model_can_read() -> None:
    pdf = replace(PDF, size_bytes=3_000_000, held="file-at-theirs")
    call = replace(call_of("anthropic", NAMED["anthropic"]("pdf")), files={"pdf": pdf})
    known = Capabilities(context_window_tokens=200_000)
    tokens = [
        prepare_here(call, Target("anthropic", "up", "o200k_base", each, PLAIN, False)).bounds
        for each in (known, UNKNOWN)
    ]
    assert 200_000 < tokens[0].input_tokens < 250_000
    assert tokens[1].input_tokens > 4_000_000


SPOOFS: list[tuple[Protocol, dict[str, Any]]] = [
    (
        "anthropic",
        of_anthropic(NAMED["anthropic"]("pdf"))
        | {"system": [{"type": "document", "source": {"type": "file", "file_id": "theirs"}}]},
    ),
    (
        "anthropic",
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [
                {
                    "role": "user",
                    "content": [NAMED["anthropic"]("pdf")],
                    "content[0].source": {"file_id": "theirs"},
                }
            ],
        },
    ),
    (
        "openai_responses",
        {
            "model": "m",
            "input": [
                {
                    "role": "user",
                    "content": [NAMED["openai_responses"]("pdf")],
                    "content[0]": {"file_id": "theirs"},
                }
            ],
        },
    ),
    ("openai_chat", of_chat({"type": "image_url", "file": {"file_id": "theirs"}})),
    ("gemini", of_gemini({"fileData": {"fileUri": "gs://bucket/theirs"}})),
    (
        "gemini",
        of_gemini(
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1/models/theirs"}}
        ),
    ),
]


@pytest.mark.parametrize(("client", "document"), SPOOFS)
def test_ids_elsewhere_are_still_the_providers(client: Protocol, document: dict[str, Any]) -> None:
    call = Call(orjson.dumps(document), None, client, model="m" if client == "gemini" else None)
    with pytest.raises(HeldIdError):
        prepared(call, client, pdf=PDF)


def test_pictures_that_are_to_be_edited() -> None:
    document = {"model": "m", "prompt": "a", "images": [{"file_id": "png"}]}
    call = Call(orjson.dumps(document), None, "openai", "image_edit")
    with pytest.raises(FilesNamedError):
        prepared(call, "openai_images")
    made = prepared(call, "openai_images", png=PNG)
    assert isinstance(made.body, bytes)
    assert orjson.loads(made.body)["images"] == [{"image_url": url(PNG)}]
    assert made.request.media == {"image": 1}
    with pytest.raises(InvalidRequestError, match="must be a picture"):
        prepared(call, "openai_images", png=PDF)


def test_results_of_tools_name_files_too() -> None:
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "image", "source": {"type": "file", "file_id": "png"}}],
    }
    made = prepared(call_of("anthropic", result), "anthropic", png=PNG)
    assert isinstance(made.body, bytes)
    inner = orjson.loads(made.body)["messages"][0]["content"][0]["content"]
    assert inner == [INLINE["anthropic", "png"]]


@pytest.mark.parametrize(
    ("written", "is_ours"),
    [
        (OURS, True),
        (f"file-{OURS}", True),
        (f"file_{OURS}", True),
        (f"files/{OURS}", True),
        (f"https://gateway.example:8443/v1beta/files/{OURS}", True),
        (f"https://gateway.example/ai/v1beta/files/{OURS}", True),
        (f"v1beta/files/{OURS}", True),
        ("file-abc123", False),
        (f"file-{OURS}x", False),
        (f"file-{OURS.upper()}", False),
        (f"files/../{OURS}", False),
        (f"https://gateway.example/other/{OURS}", False),
        ("", False),
    ],
)
def test_spellings_of_an_id(written: str, *, is_ours: bool) -> None:
    assert bare_id(written) == (OURS if is_ours else None)


def test_addresses_that_are_none_of_ours() -> None:
    assert is_file_address("https://generativelanguage.googleapis.com/v1beta/files/abc")
    assert not is_file_address("https://a.example/v1beta/files/abc")
    assert not is_file_address("https://a.example/abc.pdf")
    assert not is_file_address("https://www.youtube.com/watch?v=abc")
