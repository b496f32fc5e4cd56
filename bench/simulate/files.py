"""The files that a simulated provider keeps, in memory and bounded: of each API, of each key.

Their ids are made by number, so that no two simulators have the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any, Final, Literal

Face = Literal["openai", "anthropic", "gemini"]

FILES_MAX: Final = 10_000
FILES_MAX_BYTES: Final = 256 * 1024 * 1024
"""What their contents may take together; the oldest files go first."""
_IDS: Final[dict[Face, str]] = {
    "openai": "file-{:s}{:010x}",
    "anthropic": "file_01{:s}{:010x}",
    "gemini": "{:s}{:06x}",
}


@dataclass(slots=True)
class KeptFile:
    """One file. `file_id` is that of its API: Gemini's without `files/`.

    `polls` counts how often it was asked for; it is in processing for the first `busy_polls`.
    """

    face: Face
    file_id: str
    key: str
    data: bytes = field(repr=False)
    filename: str
    mime_type: str
    purpose: str
    created_at: float
    expires_at: float | None
    busy_polls: int = 0
    fails: bool = False
    polls: int = 0
    sha256: str = ""

    def __post_init__(self) -> None:
        self.sha256 = sha256(self.data).hexdigest()

    @property
    def state(self) -> str:
        """In Gemini's words."""
        if self.polls <= self.busy_polls and self.busy_polls:
            return "PROCESSING"
        return "FAILED" if self.fails else "ACTIVE"

    @property
    def expired(self) -> bool:
        """Its time is over."""
        return self.expires_at is not None and time.time() >= self.expires_at

    def to_json(self) -> dict[str, Any]:
        """As the truth log has it."""
        return {
            "api": self.face,
            "id": self.file_id,
            "key": self.key,
            "filename": self.filename,
            "mime_type": self.mime_type,
            "purpose": self.purpose,
            "bytes": len(self.data),
            "sha256": self.sha256,
            "state": self.state,
            "polls": self.polls,
            "expires_at": self.expires_at,
        }


class FileShelf:
    """The files of a simulator.

    Attributes:
        uploads: how many were made so far, whatever has become of them.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._files: dict[tuple[Face, str], KeptFile] = {}
        self._bytes = 0
        self._numbers = count(1)
        self.uploads = 0

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[KeptFile]:
        """In the order they came."""
        return iter(tuple(self._files.values()))

    def add(
        self,
        face: Face,
        key: str,
        data: bytes,
        *,
        filename: str,
        mime_type: str,
        purpose: str = "",
        lifetime_s: float | None = None,
        busy_polls: int = 0,
        fails: bool = False,
        named: str = "",
    ) -> KeptFile:
        """Keep one more; `named` by its client, where the API lets it."""
        now = time.time()
        file = KeptFile(
            face,
            named or _IDS[face].format(self._instance, next(self._numbers)),
            key,
            data,
            filename,
            mime_type,
            purpose,
            now,
            None if lifetime_s is None else now + lifetime_s,
            busy_polls,
            fails,
        )
        self._files[face, file.file_id] = file
        self._bytes += len(data)
        self.uploads += 1
        while self._bytes > FILES_MAX_BYTES or len(self._files) > FILES_MAX:
            self.drop(next(iter(self._files.values())))
        return file

    def holds(self, face: Face, file_id: str) -> bool:
        """Whether anybody has a file of this id."""
        return (face, file_id) in self._files

    def find(self, face: Face, key: str, file_id: str) -> KeptFile | None:
        """A file of this key; None: unknown, another's, or expired."""
        file = self._files.get((face, file_id))
        if file is None or file.key != key:
            return None
        if file.expired:
            self.drop(file)
            return None
        return file

    def of(self, face: Face, key: str) -> list[KeptFile]:
        """All files of a key, in the order they came."""
        return [
            file
            for file in self
            if file.face == face and file.key == key and self.find(face, key, file.file_id)
        ]

    def drop(self, file: KeptFile) -> None:
        """Forget it."""
        if self._files.pop((file.face, file.file_id), None) is not None:
            self._bytes -= len(file.data)

    def expire(self, file_id: str | None = None) -> int:
        """Forget the file of this id, or all: as if their time were over. How many that were."""
        found = [file for file in self if file_id in (None, file.file_id)]
        for file in found:
            self.drop(file)
        return len(found)
