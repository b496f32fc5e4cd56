"""What is known of files that come in parts of their own: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

UploadStatus = Literal["pending", "completed", "cancelled"]

PART_PURPOSE: Final = "upload_part"
"""Of stored files that are parts of one: they count in what an account has stored, and nobody is
shown them."""


@dataclass(frozen=True, slots=True)
class UploadRow:
    """A file that was announced.

    Attributes:
        upload_id: as clients are told it.
        file_id: the bare id that the file will have, so that it is made once.
        size_bytes: what all its parts come to.
        expires_at_ms: from then on nothing is added, and it is not completed.
        file_expires_after_s: of the file, counted from its making; None: as the store has it.
    """

    upload_id: str
    account_id: str
    key_id: str | None
    file_id: str
    filename: str = field(repr=False)
    purpose: str
    mime_type: str
    size_bytes: int
    created_at_ms: int
    expires_at_ms: int
    file_expires_after_s: int | None = None
    status: UploadStatus = "pending"
