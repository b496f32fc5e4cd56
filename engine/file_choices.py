"""Which of the files that a request names go inline, and what each of them is. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.config_files import FilesConfig
from engine.conversation import FileStandIn, FileUse
from engine.errors import InvalidRequestError
from engine.ledger.file_rows import FileRow
from engine.media.sniff import kind_of
from engine.protocols.file_refs import takes_held, takes_inline
from engine.upstream.providers import Provider

_PDF: Final = "application/pdf"
_TEXT: Final = "text/plain"
_UNKNOWN: Final = "application/octet-stream"
_WORDS: Final = (
    "text/", "application/json", "application/xml", "application/yaml", "application/x-yaml",
    "application/toml", "application/javascript", "application/x-ndjson", "application/sql",
)  # fmt: skip
_BY_BYTES: Final = frozenset(
    {_PDF, "image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav"}
)
"""What a file is not, where its first bytes do not say so."""
_SPEAKS: Final[Mapping[str, frozenset[str]]] = {
    "openai": frozenset({"openai_chat", "openai_responses", "openai_runs"}),
    "anthropic": frozenset({"anthropic"}),
    "gemini": frozenset({"gemini"}),
}
"""The codecs that name what a files API has taken."""


class UnsendableFileError(InvalidRequestError):
    """The provider takes a file of the request neither inline nor by upload (400)."""

    code = "file_not_supported_by_model"


@dataclass(frozen=True, slots=True)
class Named:
    """The files that one request names.

    Attributes:
        rows, facts: by what the client has written; the facts stand for a file where nobody is
            sent anything.
    """

    uses: tuple[FileUse, ...]
    rows: Mapping[str, FileRow]
    facts: Mapping[str, FileStandIn]

    def path_of(self, written: str) -> str:
        """Where it is named first."""
        return next(use.path for use in self.uses if use.written == written)


class Recipient(NamedTuple):
    """Who is asked: a provider by one of its keys, and the codec that it is spoken to by."""

    provider: Provider
    key: int
    spoken: str


def choose_inline(named: Named, recipient: Recipient, config: FilesConfig) -> frozenset[str]:
    """Which files go inline, by what the client has written; the recipient is sent the others.
    What cannot be sent is the first to go inline.

    Raises:
        UnsendableFileError: it takes one of them in neither way.
    """
    spoken, api = recipient.spoken, recipient.provider.files
    has_files = api is not None and spoken in _SPEAKS[api]
    uses = Counter(use.written for use in named.uses)
    by_id = {use.written for use in named.uses if use.by_id}
    sendable = {
        written: has_files and (written in by_id or takes_held(spoken, file))
        for written, file in named.facts.items()
    }
    left, inline = config.inline_total_max_bytes, set()
    for written, file in sorted(named.facts.items(), key=lambda item: sendable[item[0]]):
        weight = uses[written] * file.size_bytes
        fits = file.size_bytes <= config.inline_max_bytes and weight <= left
        if fits and takes_inline(spoken, file) and written not in by_id:
            left -= weight
            inline.add(written)
        elif not sendable[written]:
            raise _unsendable(named.path_of(written), file, recipient, config)
    return frozenset(inline)


def file_type(head: bytes, said: str, *, whole: bool) -> str:
    """What a file is, by its first bytes; where they tell nothing by what was `said`. Text of any
    kind is `text/plain`; `whole` says that there is no more of it.

    >>> file_type(b"%PDF-1.7", "image/png", whole=True), file_type(b"a,b", "text/csv", whole=True)
    ('application/pdf', 'text/plain')
    """
    if head.startswith(b"%PDF-"):
        return _PDF
    if (found := kind_of(head)) is not None:
        return found
    said = said.partition(";")[0].strip().lower()
    if said.startswith(_WORDS) or said in ("", _UNKNOWN) or said in _BY_BYTES:
        return _TEXT if _is_text(head, whole=whole) else _UNKNOWN
    return said


def _is_text(head: bytes, *, whole: bool) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if whole or error.start < len(head) - 3:  # else it is a letter that was cut in two
            return False
        text = head[: error.start].decode()
    return "\0" not in text


def _unsendable(
    path: str, file: FileStandIn, recipient: Recipient, config: FilesConfig
) -> UnsendableFileError:
    if not takes_inline(recipient.spoken, file):
        problem = f"takes no files of the type {file.mime_type} here"
    elif file.size_bytes > config.inline_max_bytes:
        problem = f"takes files of up to {config.inline_max_bytes:,} bytes of this type"
    else:
        problem = f"takes {config.inline_total_max_bytes:,} bytes of files in a request"
    return UnsendableFileError(
        f"'{path}': the provider of this model {problem}; send it in another form, or choose "
        "another model.",
        param=path,
    )
