"""Where the recordings of real providers are, when they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "recordings"
needs_recordings = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recordings beside the tree")


def openai_chat_names() -> list[str]:
    """Every recorded OpenAI chat exchange, as `#sim recording=` names it."""
    return names_of("openai-chat")


def names_of(*folders: str) -> list[str]:
    """Every recording of those folders, as `#sim recording=` names it."""
    return [
        f"{folder}/{path.name}"
        for folder in folders
        for path in sorted((FOLDER / folder).glob("*.json"))
    ]


def read_recording(name: str) -> dict[str, Any]:
    """One stored exchange."""
    stored: dict[str, Any] = orjson.loads((FOLDER / name).read_bytes())
    return stored
