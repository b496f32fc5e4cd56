"""Ids of stored files: one store, and the spellings of three protocols.

An id is random and says nothing; with the account that asks it names a file. `file-X` is OpenAI's
spelling, `file_X` Anthropic's, `files/X` Gemini's; the database and the store know the bare `X`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final, Literal

FileStyle = Literal["openai", "anthropic", "gemini"]

_PREFIXES: Final[dict[FileStyle, str]] = {
    "openai": "file-",
    "anthropic": "file_",
    "gemini": "files/",
}
_CHARS: Final = 26
_ANY: Final = re.compile(r"(?:file-|file_|files/)?([a-z2-7]{26})")

is_file: Final = re.compile(r"file[-_](?=.{16}|[^0-9]*[0-9])[A-Za-z0-9_-]{6,128}").fullmatch
"""Whether a text has the shape of a file's id, the gateway's or a provider's; `file_search` is the
name of a tool."""


def new_file_id() -> str:
    """A bare id of 130 random bits: 26 characters of lower-case base32, safe as a file's name."""
    return base64.b32encode(secrets.token_bytes(17)).decode()[:_CHARS].lower()


def made_file_digest(account_id: str, pin: tuple[str, str], name: str) -> bytes:
    """32 bytes: always the same for an account and a file that a provider calls so by one of its
    keys (`pin`), and others for any other."""
    return hashlib.sha256("\0".join((account_id, *pin, name)).encode()).digest()


def made_file_id(account_id: str, pin: tuple[str, str], name: str) -> str:
    """The bare id of what a provider has made for an account, and calls by a name: whoever tells of
    it knows the id, without asking anybody. It says nothing, and leads nobody else to the file.

    >>> made_file_id("acct_1", ("openai", "0" * 16), "file-abc123")
    '7kbuuq6q54ahbo4hcv3gl2x5ha'
    """
    whole = hashlib.sha256(b"file\0" + made_file_digest(account_id, pin, name)).digest()
    return base64.b32encode(whole).decode()[:_CHARS].lower()


def bare_file_id(spelled: str) -> str | None:
    """The bare id of any spelling; None where it cannot be one of ours.

    >>> bare_file_id("file-abcdefghijklmnopqrstuvwxyz"), bare_file_id("files/../x")
    ('abcdefghijklmnopqrstuvwxyz', None)
    """
    found = _ANY.fullmatch(spelled)
    return None if found is None else found[1]


def shown_file_id(file_id: str, style: FileStyle) -> str:
    """A bare id as a protocol spells it.

    >>> shown_file_id("abcdefghijklmnopqrstuvwxyz", "gemini")
    'files/abcdefghijklmnopqrstuvwxyz'
    """
    return _PREFIXES[style] + file_id
