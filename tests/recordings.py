"""Recorded provider exchanges, where they are present beside the project."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    request: dict[str, Any] | None
    status: int
    headers: dict[str, str]
    body: bytes
    stream: bool


def load(name: str) -> Recording:
    """Read one recording by its path in the folder."""
    document = json.loads((RECORDINGS / name).read_text())
    response = document["response"]
    request = document.get("request") or {}
    return Recording(
        name=name,
        request=request.get("body") if document.get("request_recorded") else None,
        status=response["status"],
        headers=response.get("headers") or {},
        body=(response.get("body") or "").encode(),
        stream=bool(document.get("stream")),
    )


def names(folder: str, *, stream: bool | None = None, status: int | None = None) -> list[Any]:
    """Parameters for a test over a folder; one that skips, visibly, where there are none."""
    found = [f"{folder}/{path.name}" for path in sorted((RECORDINGS / folder).glob("*.json"))]
    if not found:
        skip = pytest.mark.skip(reason=f"no recordings at {RECORDINGS / folder}")
        return [pytest.param("", marks=skip)]
    recordings = [load(name) for name in found]
    return [
        r.name
        for r in recordings
        if (stream is None or r.stream == stream) and (status is None or r.status == status)
    ]
