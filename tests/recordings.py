"""Recorded provider exchanges, where they are present beside the project."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import pytest

RECORDINGS = Path(
    os.environ.get(
        "PARSHALL_RECORDINGS", Path(__file__).resolve().parents[2] / "shared" / "recordings"
    )
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One exchange with a real provider; `name` is its path in the folder."""

    name: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    stream: bool
    request_json: bytes | None = field(repr=False)

    @property
    def request(self) -> dict[str, Any] | None:
        """The request's body, where it was recorded: the caller's own copy."""
        if self.request_json is None:
            return None
        document: dict[str, Any] | None = orjson.loads(self.request_json)
        return document


@functools.cache
def load(name: str) -> Recording:
    """Read one recording by its path in the folder.

    Kept: all of them are 8 MB, and a run asks for each dozens of times.
    """
    document = orjson.loads((RECORDINGS / name).read_bytes())
    response = document["response"]
    request = (document.get("request") or {}).get("body")
    return Recording(
        name=name,
        status=response["status"],
        headers=MappingProxyType(response.get("headers") or {}),
        body=(response.get("body") or "").encode(),
        stream=bool(document.get("stream")),
        request_json=orjson.dumps(request) if document.get("request_recorded") else None,
    )


@functools.cache
def _found(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{path.name}" for path in sorted((RECORDINGS / folder).glob("*.json")))


def names(folder: str, *, stream: bool | None = None, status: int | None = None) -> list[Any]:
    """Parameters for a test over a folder; one that skips, visibly, where there are none."""
    found = _found(folder)
    if not found:
        skip = pytest.mark.skip(reason=f"no recordings at {RECORDINGS / folder}")
        return [pytest.param("", marks=skip)]
    recordings = [load(name) for name in found]
    return [
        r.name
        for r in recordings
        if (stream is None or r.stream == stream) and (status is None or r.status == status)
    ]
