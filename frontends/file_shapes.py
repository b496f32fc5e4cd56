"""A stored file as each protocol shows it.

Source: the official SDKs' types, recorded answers, and Google's reference of its Files API. What
is uploaded is ready at once, so that nobody has to wait for a state.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from engine.file_ids import shown_file_id
from engine.ledger.file_rows import FilePage, FileRow
from engine.ledger.receipts import format_time

GEMINI_VERSION = "v1beta"
"""Of the URLs that files have."""


def openai_file(row: FileRow) -> dict[str, Any]:
    """With the fields that OpenAI has deprecated: its SDKs' types have them."""
    expires = row.expires_at_ms
    return {
        "id": shown_file_id(row.file_id, "openai"),
        "object": "file",
        "bytes": row.size_bytes,
        "created_at": row.created_at_ms // 1_000,
        "expires_at": None if expires is None else expires // 1_000,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
    }


def openai_page(page: FilePage) -> dict[str, Any]:
    """A page of them."""
    return {"object": "list", **_page([openai_file(row) for row in page.files], page.has_more)}


def anthropic_file(row: FileRow) -> dict[str, Any]:
    """Only what was generated can be downloaded, as at Anthropic."""
    return {
        "id": shown_file_id(row.file_id, "anthropic"),
        "type": "file",
        "filename": row.filename,
        "mime_type": row.mime_type,
        "size_bytes": row.size_bytes,
        "created_at": format_time(row.created_at_ms),
        "downloadable": row.origin != "upload",
    }


def anthropic_page(page: FilePage) -> dict[str, Any]:
    """A page of them."""
    return _page([anthropic_file(row) for row in page.files], page.has_more)


def gemini_file(row: FileRow, origin: str) -> dict[str, Any]:
    """`origin` (`https://host`) is what the gateway is reached by. The hash is the base64 of
    hexadecimal digits, as Google's is."""
    name = shown_file_id(row.file_id, "gemini")
    uri = f"{origin}/{GEMINI_VERSION}/{name}"
    shown: dict[str, Any] = {
        "name": name,
        "displayName": row.filename,
        "mimeType": row.mime_type,
        "sizeBytes": str(row.size_bytes),
        "createTime": format_time(row.created_at_ms),
        "updateTime": format_time(row.created_at_ms),
        "sha256Hash": base64.b64encode(row.sha256.encode()).decode(),
        "uri": uri,
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    if not row.filename:
        del shown["displayName"]
    if row.expires_at_ms is not None:
        shown["expirationTime"] = format_time(row.expires_at_ms)
    if row.origin != "upload":
        shown |= {"source": "GENERATED", "downloadUri": f"{uri}:download?alt=media"}
    return shown


def gemini_page(page: FilePage, origin: str) -> dict[str, Any]:
    """The token of the next page is the last file of this one."""
    answer: dict[str, Any] = {"files": [gemini_file(row, origin) for row in page.files]}
    if page.has_more:
        answer["nextPageToken"] = page.files[-1].file_id
    return answer


def _page(shown: Sequence[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    return {
        "data": shown,
        "has_more": has_more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }
