"""Large files that come in parts, in OpenAI's API of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frontends.reference.files import DOCUMENT
from frontends.reference.rows import (
    FORM,
    JSON,
    Example,
    Row,
    Schema,
    always,
    answers_json,
    exactly,
    file_bytes,
    listed,
    nullable,
    one_of,
    ref,
    text,
    thing,
    whole,
)

_PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_STORED: Final = (404, 409, 413, 415, 507)

SCHEMAS: Final[Mapping[str, Schema]] = {
    "Upload": always(
        {
            "id": text(),
            "object": exactly("upload"),
            "bytes": whole(1),
            "created_at": whole(),
            "expires_at": whole(),
            "filename": text(),
            "purpose": text(),
            "status": one_of("pending", "completed", "cancelled"),
            "file": nullable(ref("File")),
        },
        "A file that comes in parts.",
    ),
    "UploadPart": always(
        {
            "id": text(),
            "object": exactly("upload.part"),
            "created_at": whole(),
            "upload_id": text(),
        },
    ),
    "UploadRequest": thing(
        {
            "bytes": whole(1, detail="Of the whole file."),
            "filename": text(minLength=1, maxLength=512),
            "mime_type": text(minLength=1, maxLength=512),
            "purpose": one_of(*_PURPOSES),
            "expires_after": thing(
                {"anchor": one_of("created_at"), "seconds": whole(3_600, 2_592_000)},
                "anchor",
                "seconds",
                detail="Of the file.",
            ),
        },
        "bytes",
        "filename",
        "mime_type",
        "purpose",
        closed=True,
    ),
    "UploadPartForm": thing({"data": file_bytes("Up to 64 MiB.")}, "data"),
    "UploadEnd": thing(
        {
            "part_ids": listed(text(), "In the order that counts.", minItems=1, maxItems=1_000),
            "md5": text("Of the whole file, in hexadecimal digits."),
        },
        "part_ids",
    ),
}

_ID: Final = "/v1/uploads/<upload_id>"

ROWS: Final = (
    Row(
        "POST",
        "/v1/uploads",
        "createUpload",
        "Files",
        "Announce a large file, which comes in parts within an hour.",
        answers_json(ref("Upload"), "Where its parts go."),
        asks={JSON: ref("UploadRequest")},
        examples=(
            Example(
                "a batch",
                {
                    "bytes": 22,
                    "filename": "requests.jsonl",
                    "mime_type": "application/jsonl",
                    "purpose": "batch",
                },
            ),
        ),
        refuses=_STORED,
    ),
    Row(
        "POST",
        f"{_ID}/parts",
        "addUploadPart",
        "Files",
        "Store a part; several may come at once.",
        answers_json(ref("UploadPart"), "The part."),
        asks={FORM: ref("UploadPartForm")},
        examples=(Example("a part", {"data": DOCUMENT}, media_type=FORM),),
        refuses=_STORED,
    ),
    Row(
        "POST",
        f"{_ID}/complete",
        "completeUpload",
        "Files",
        "Make the file of these parts, in this order. Again it gives the same file.",
        answers_json(ref("Upload"), "With its `file`."),
        asks={JSON: ref("UploadEnd")},
        examples=(Example("its only part", {"part_ids": ["part_abc123"]}),),
        refuses=_STORED,
    ),
    Row(
        "POST",
        f"{_ID}/cancel",
        "cancelUpload",
        "Files",
        "Give it up.",
        answers_json(ref("Upload"), "It is cancelled."),
        examples=(Example("one"),),
        refuses=(404, 409),
    ),
)
