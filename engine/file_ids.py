"""Ids of stored files: one store, and the spellings of three protocols.

An id is random and says nothing; with the account that asks it names a file. `file-X` is OpenAI's
spelling, `file_X` Anthropic's, `files/X` Gemini's; the database and the store know the bare `X`.
"""

from __future__ import annotations

import base64
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


def new_file_id() -> str:
    """A bare id of 130 random bits: 26 characters of lower-case base32, safe as a file's name."""
    return base64.b32encode(secrets.token_bytes(17)).decode()[:_CHARS].lower()


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
