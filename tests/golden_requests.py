"""The example requests under `golden/requests`, in all protocols, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "requests"
PROTOCOLS = ("openai_chat", "openai_responses", "anthropic", "gemini")
TRANSLATED = ".translated.json"


def case_names() -> list[str]:
    """Every example, as `protocol/case`."""
    return [
        f"{protocol}/{path.stem}"
        for protocol in PROTOCOLS
        for path in sorted((GOLDEN / protocol).glob("*.json"))
        if not path.name.endswith(TRANSLATED)
    ]


def load_case(name: str) -> dict[str, Any]:
    """An example's body."""
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    assert isinstance(document, dict)
    return document
