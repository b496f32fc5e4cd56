"""Files of the gateway's that clients name by id, and what stands in their place. Pure: what they
hold, or what a provider has them by, is given.

Where a name may stand each protocol says in a `files` module of its own, which puts in what a
client would have sent inline, in the same words; so all that follows is as with media inline. Where
a protocol has no word for a file that its provider has by id, that id stands where the bytes would.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from engine.conversation import Conversation, FileStandIn, FileUse, Media, ToolResult, Turn
from engine.file_ids import bare_file_id
from engine.protocols.fields import is_held_uri

T = TypeVar("T")

StandIns = Mapping[str, FileStandIn]
"""By what the client has written."""

IMAGES: Final = ("image/gif", "image/jpeg", "image/png", "image/webp")
"""What all protocols take."""
FILES_BETA: Final = "files-api-2025-04-14"
"""What a request to Anthropic says that names a file by its id (its page of the files API)."""

_QUOTED_FILE: Final = re.compile(rb'"(file[-_][A-Za-z0-9_-]{6,128})"')
_is_address = re.compile(
    r"(?:https?://(?P<host>[^/?#]{1,253})/(?:[^?#]{1,256}/)?v1\w{0,16}/|(?:v1\w{0,16}/)?)"
    r"files/(?P<id>[\w-]{1,128})"
).fullmatch


def bare_id(written: str) -> str | None:
    """The id of a file of the gateway's in any of its spellings; None: it is none.

    >>> bare_id("file-" + "a" * 26) == bare_id("https://g.example/v1beta/files/" + "a" * 26)
    True
    >>> bare_id("file-abc123")
    """
    address = _is_address(written.strip())
    return bare_file_id(written if address is None else address["id"])


def is_file_address(uri: str) -> bool:
    """Whether an address of Gemini's clients is the name of a file: the gateway's, whatever they
    call that, or one that only Google could know.

    >>> is_file_address("files/abc"), is_file_address("https://a.example/v1/files/abc")
    (True, False)
    """
    address = _is_address(uri.strip())
    if address is None:
        return False
    return address["host"] is None or is_held_uri(uri) or bare_file_id(address["id"]) is not None


# ---- what stands in a document ----------------------------------------------------------------


class Place(NamedTuple):
    """Where a document names a file: the part that does, and the object of it that has the id."""

    use: FileUse
    part: dict[str, Any]
    holder: dict[str, Any]


def holders_of(places: Iterable[Place]) -> frozenset[int]:
    """The objects that may name files of the gateway's, each by its identity: an id anywhere else
    is the provider's own. (A path would not do: clients make up names of members.)"""
    return frozenset(id(place.holder) for place in places)


def put_files(
    places: Iterable[Place], files: StandIns, put: Callable[[dict[str, Any], FileStandIn], None]
) -> tuple[FileUse, ...]:
    """Which files are named; each that something stands for is `put` in its place."""
    uses = []
    for use, part, _ in places:
        uses.append(use)
        if (file := files.get(use.written)) is not None:
            put(part, file)
    return tuple(uses)


def base64_of(file: FileStandIn) -> str:
    """What it holds; or what the provider has it by."""
    return b64encode(file.data).decode("ascii") if file.held is None else file.held


def address_of(file: FileStandIn) -> str:
    """A `data:` URL of what it holds; or what the provider has it by."""
    if file.held is not None:
        return file.held
    return f"data:{file.mime_type};base64,{base64_of(file)}"


def words_of(file: FileStandIn) -> str | None:
    """The text that it holds, where it is one and not with the provider."""
    if file.held is not None or not file.is_text:
        return None
    return file.data.decode("utf-8", "replace")


def put_names(data: bytes, names: Mapping[str, str]) -> bytes:
    """An answer in a client's words: what stands in it between quotes for a file of the provider's
    is what the client calls that.

    >>> put_names(b'{"file_id":"file-abc123"}', {"file-abc123": "file-mine"})
    b'{"file_id":"file-mine"}'
    """
    if not names or b'"file' not in data:
        return data

    def put(found: re.Match[bytes]) -> bytes:
        name = names.get(found[1].decode())
        return found[0] if name is None else orjson.dumps(name)

    return _QUOTED_FILE.sub(put, data)


def place(conversation: Conversation, files: Iterable[FileStandIn]) -> Conversation:
    """The conversation, with what its provider has by id named so, wherever that id stands."""
    held = [file for file in files if file.held is not None]
    by_id = {name: file for file in held for name in (file.held, file.uri) if name is not None}
    if not by_id:
        return conversation

    def placed(part: T) -> T | Media:
        if not isinstance(part, Media):
            return part
        found = by_id.get(part.file_id or part.url or part.data or "")
        if found is None:
            return part
        return replace(
            part,
            kind=found.kind,
            mime_type=found.mime_type,
            data=None,
            url=found.uri,
            file_id=found.held,
        )

    turns = tuple(
        Turn(
            turn.role,
            tuple(
                replace(part, content=tuple(placed(inner) for inner in part.content))
                if isinstance(part, ToolResult)
                else placed(part)
                for part in turn.parts
            ),
            turn.name,
        )
        for turn in conversation.turns
    )
    return replace(conversation, turns=turns)


# ---- what providers take ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Takes:
    """Types of files, or how they begin.

    Attributes:
        inline: that a request may hold.
        held: that it may name by the provider's id.
    """

    inline: tuple[str, ...]
    held: tuple[str, ...] = ()


_PDF: Final = "application/pdf"
_TEXT: Final = "text/plain"

TAKES: Final[Mapping[str, Takes]] = {
    # Names of files are for documents only; pictures go by address ("File inputs", "Images and
    # vision" in OpenAI's guides).
    "openai_chat": Takes(inline=("",), held=(_PDF,)),
    "openai_responses": Takes(inline=("",), held=(_PDF, *IMAGES)),
    # "Files API" in Anthropic's guides, its table of file types and content blocks.
    "anthropic": Takes(inline=(_PDF, _TEXT, *IMAGES), held=(_PDF, _TEXT, *IMAGES)),
    # "File input methods" in Gemini's guides.
    "gemini": Takes(
        inline=("image/", "audio/", "video/", _PDF, _TEXT),
        held=("image/", "audio/", "video/", _PDF, _TEXT),
    ),
    # Tools read them, whatever they are.
    "openai_runs": Takes(inline=(), held=("",)),
    "openai_images": Takes(inline=IMAGES),
    "video_jobs": Takes(inline=IMAGES),
}
"""By the codec that a provider is spoken to by. Where all goes inline, the provider judges."""


def takes_inline(spoken: str, file: FileStandIn) -> bool:
    """Whether a request of this codec's may hold it."""
    return spoken in TAKES and file.mime_type.startswith(TAKES[spoken].inline)


def takes_held(spoken: str, file: FileStandIn) -> bool:
    """Whether a request of this codec's may name it by its provider's id."""
    return spoken in TAKES and file.mime_type.startswith(TAKES[spoken].held)
