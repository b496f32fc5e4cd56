"""Files of accounts, in each protocol's API of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frontends.reference.claude import VERSION
from frontends.reference.gemini import TAG, at_versions
from frontends.reference.models import GOOGLE_KEY
from frontends.reference.rows import (
    BYTES,
    FORM,
    JSON,
    Answer,
    Example,
    Parameter,
    Row,
    Schema,
    always,
    answers_json,
    either,
    exactly,
    file_bytes,
    flag,
    listed,
    nullable,
    one_of,
    ref,
    text,
    thing,
    whole,
)

DOCUMENT: Final = "notes.txt"
"""The file of examples."""
_PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_STORED: Final = (404, 409, 413, 415, 507)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "File": always(
        {
            "id": text(),
            "object": exactly("file"),
            "bytes": whole(0),
            "created_at": whole(),
            "expires_at": nullable(whole()),
            "filename": text(),
            "purpose": text(),
            "status": text(),
        },
        "As OpenAI's clients know it.",
    ),
    "FileList": always(
        {
            "object": exactly("list"),
            "data": listed(ref("File")),
            "has_more": flag(),
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        }
    ),
    "AnthropicFile": always(
        {
            "id": text(),
            "type": exactly("file"),
            "filename": text(),
            "mime_type": text(),
            "size_bytes": whole(0),
            "created_at": text(),
            "downloadable": flag(),
        },
        "As Anthropic's clients know it.",
    ),
    "AnthropicFileList": always(
        {
            "data": listed(ref("AnthropicFile")),
            "has_more": flag(),
            "first_id": nullable(text()),
            "last_id": nullable(text()),
        }
    ),
    "GeminiFile": thing(
        {
            "name": text("`files/…`"),
            "displayName": text(),
            "mimeType": text(),
            "sizeBytes": text(),
            "createTime": text(),
            "sha256Hash": text(),
            "uri": text(),
            "state": text(),
        },
        "name",
        "mimeType",
        "sizeBytes",
        "uri",
        detail="As Gemini's clients know it.",
    ),
    "GeminiFileList": thing({"files": listed(ref("GeminiFile")), "nextPageToken": text()}, "files"),
    "FileDeleted": thing({"id": text(), "deleted": flag()}, detail="Gemini's is empty."),
    "FileForm": thing(
        {
            "file": file_bytes(),
            "purpose": one_of(*_PURPOSES, detail="OpenAI's clients have to say it."),
            "expires_after[anchor]": one_of("created_at"),
            "expires_after[seconds]": whole(3_600, 2_592_000),
        },
        "file",
    ),
    "GeminiUpload": thing(
        {"file": thing({"displayName": text(), "mimeType": text()})},
        detail="Of the start of a `resumable` upload; of a `raw` one the body is the file.",
    ),
}

_SHARED: Final = (
    "With `anthropic-version` or `x-goog-api-key` the answer has the shape of Anthropic's or "
    "Gemini's, else of OpenAI's."
)
_FACES: Final = (VERSION, GOOGLE_KEY)
_ONE: Final = either(ref("File"), ref("AnthropicFile"), ref("GeminiFile"))
_CONTENT: Final = {
    200: Answer("The file, as an attachment.", {"*/*": file_bytes()}, ("etag",)),
    206: Answer("The `Range` of it.", {"*/*": file_bytes()}, ("etag",)),
    304: Answer("It is what `If-None-Match` says."),
}
_ASKED: Final = (
    Parameter("Range", text(pattern="^[ -~]*$"), "`bytes=0-99`", "header"),
    Parameter("If-None-Match", text(pattern="^[!-~]*$"), "An `etag`.", "header"),
)
_GEMINI_UPLOAD: Final = Row(
    "POST",
    "/upload/{version}/files",
    "uploadGeminiFile",
    TAG,
    "Store a file, as Gemini's clients do: in one request or in several.",
    {
        200: Answer(
            "The file; of a part of it, headers that say how far it is.",
            {
                JSON: thing({"file": ref("GeminiFile")}, "file"),
                "text/plain": text("Nothing.", maxLength=0),
            },
            ("x-goog-upload-url", "x-goog-upload-status"),
        )
    },
    detail=(
        "`X-Goog-Upload-Protocol` is `resumable` (the answer to the `start` says in "
        "`x-goog-upload-url` where the rest goes), `multipart` or `raw`."
    ),
    asks={JSON: ref("GeminiUpload"), BYTES: file_bytes()},
    asks_required=False,
    parameters=(
        Parameter(
            "X-Goog-Upload-Protocol", one_of("resumable", "multipart", "raw"), place="header"
        ),
        Parameter("X-Goog-Upload-Command", one_of("start"), place="header"),
        Parameter("upload_id", text(), "Of an upload in several requests."),
    ),
    examples=(
        Example(
            "raw",
            DOCUMENT,
            media_type=BYTES,
            headers={"x-goog-upload-protocol": "raw"},
        ),
        Example(
            "the start of several",
            {"file": {"displayName": "Notes", "mimeType": "text/plain"}},
            headers={
                "x-goog-upload-protocol": "resumable",
                "x-goog-upload-command": "start",
            },
        ),
    ),
    refuses=_STORED,
)
_GEMINI: Final = (
    Row(
        "GET",
        "/{version}/files",
        "listGeminiFiles",
        TAG,
        "The account's files.",
        answers_json(ref("GeminiFileList"), "A page of them."),
        parameters=(
            Parameter("pageSize", whole(1, 999_999_999), "10, at most 100."),
            Parameter("pageToken", text()),
        ),
        examples=(Example("all"),),
    ),
    Row(
        "GET",
        "/{version}/files/<file_id>",
        "getGeminiFile",
        TAG,
        "What is known of a file.",
        answers_json(ref("GeminiFile"), "The file."),
        examples=(Example("one"),),
        refuses=(404, 416),
    ),
    Row(
        "GET",
        "/{version}/files/<file_id>",
        "downloadGeminiFile",
        TAG,
        "The bytes of a file that was generated.",
        _CONTENT,
        path="/{version}/files/{made_file_id}:download",
        parameters=_ASKED,
        examples=(Example("whole", query={"alt": "media"}),),
        refuses=(404, 416),
    ),
    Row(
        "DELETE",
        "/{version}/files/<file_id>",
        "deleteGeminiFile",
        TAG,
        "Remove a file.",
        answers_json(thing({}), "It is gone."),
        examples=(Example("one"),),
        refuses=(404,),
    ),
)

ROWS: Final = (
    Row(
        "POST",
        "/v1/files",
        "createFile",
        "Files",
        "Store a file.",
        answers_json(either(ref("File"), ref("AnthropicFile")), "The file."),
        detail=_SHARED,
        asks={FORM: ref("FileForm")},
        parameters=(VERSION,),
        examples=(
            Example("a form", {"purpose": "user_data", "file": DOCUMENT}, media_type=FORM),
            Example(
                "as Anthropic's clients store it",
                {"file": DOCUMENT},
                media_type=FORM,
                headers={"anthropic-version": "2023-06-01"},
            ),
        ),
        refuses=_STORED,
    ),
    Row(
        "GET",
        "/v1/files",
        "listFiles",
        "Files",
        "The account's files.",
        answers_json(
            either(ref("FileList"), ref("AnthropicFileList"), ref("GeminiFileList")),
            "A page of them.",
        ),
        detail=_SHARED,
        parameters=(
            *_FACES,
            Parameter("limit", whole(1, 10_000)),
            Parameter("after", text()),
            Parameter("order", one_of("asc", "desc")),
            Parameter("purpose", text()),
            Parameter("after_id", text(), "Anthropic's."),
            Parameter("before_id", text(), "Anthropic's."),
            Parameter("pageSize", whole(1, 999_999_999), "Gemini's."),
            Parameter("pageToken", text(), "Gemini's."),
        ),
        examples=(
            Example("all"),
            Example("as Anthropic lists them", headers={"anthropic-version": "2023-06-01"}),
        ),
    ),
    Row(
        "GET",
        "/v1/files/<file_id>",
        "getFile",
        "Files",
        "What is known of a file.",
        answers_json(_ONE, "The file."),
        detail=_SHARED,
        parameters=_FACES,
        examples=(Example("one"),),
        refuses=(404,),
    ),
    Row(
        "DELETE",
        "/v1/files/<file_id>",
        "deleteFile",
        "Files",
        "Remove a file.",
        answers_json(ref("FileDeleted"), "It is gone."),
        detail=_SHARED,
        parameters=_FACES,
        examples=(Example("one"),),
        refuses=(404,),
    ),
    Row(
        "GET",
        "/v1/files/<file_id>/content",
        "getFileContent",
        "Files",
        "The bytes of a file.",
        _CONTENT,
        parameters=(*_FACES, *_ASKED),
        examples=(
            Example("whole"),
            Example("a range", headers={"range": "bytes=0-3"}, status=206),
        ),
        refuses=(404, 416),
    ),
    *at_versions(_GEMINI_UPLOAD),
    *(
        each
        for row in _GEMINI
        for each in at_versions(row)
        if each.rule.removesuffix("/<file_id>") != "/v1/files"
    ),
)
