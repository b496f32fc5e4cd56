"""What is known of stored files: plain values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FileOrigin = Literal["upload", "job", "provider"]
FileOrder = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A stored file. Nothing of it changes.

    Attributes:
        file_id: the bare id; see `engine.file_ids`. It is the name of what is stored, too.
        key_id: whose upload it was; None where no key did it.
        sha256: of all of it, in hexadecimal digits; of what a provider has made, of its names.
        created_at_ms, expires_at_ms: milliseconds since 1970; from its end on there is none.
        origin: whether a client has sent it or a job has made it; `provider`: a provider has, and
            nobody else keeps it.
        request_id: the job's; of an upload None.
    """

    file_id: str
    account_id: str
    key_id: str | None
    filename: str = field(repr=False)
    purpose: str
    mime_type: str
    size_bytes: int
    sha256: str
    created_at_ms: int
    expires_at_ms: int | None = None
    origin: FileOrigin = "upload"
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class FileQuery:
    """A page of an account's files, in the order in which they were made.

    Attributes:
        after, before: bare ids; the page begins behind the one, or ends before the other. Not both.
        purposes: only these; None: any.
    """

    limit: int = 20
    order: FileOrder = "desc"
    after: str | None = None
    before: str | None = None
    purposes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FilePage:
    """Files in the order that was asked for, and whether there are more in that direction."""

    files: tuple[FileRow, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ProviderFile:
    """A copy of a file at a provider.

    Attributes:
        credential: 16 hexadecimal digits of the key's digest: other keys do not see the copy.
        provider_file_id: what the provider calls it; `uri` where it is asked for by one.
        expires_at_ms: when the provider removes it; None: it does not.
    """

    file_id: str
    provider: str
    credential: str
    provider_file_id: str
    uri: str | None
    mime_type: str
    uploaded_at_ms: int
    expires_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """How much an account has stored, and in how many files."""

    account_id: str
    size_bytes: int
    files: int
