"""A gateway whose accounts have files, in front of simulated providers that keep files too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from bench.simulate import TruthRecord
from engine import Call, Gateway
from engine.events import Protocol, new_request_id
from engine.file_ids import shown_file_id
from engine.ledger.file_rows import FileRow
from tests.gateways import AGAIN, HTTP2, PROTOCOLS, Setup, open_setup

PDF: Final = b"%PDF-1.7\n" + b"x" * 2_000 + b"\n%%EOF\n"
PNG: Final = b"\x89PNG\r\n\x1a\n" + b"y" * 900
WORDS: Final = "Größe;1\nLänge;2\n".encode() * 40
FILES: Final[dict[str, tuple[bytes, str]]] = {
    "pdf": (PDF, "application/pdf"),
    "png": (PNG, "image/png"),
    "words": (WORDS, "text/csv"),
}
PROVIDERS: Final[dict[Protocol, tuple[str, str, str]]] = {
    "openai_chat": ("openai", "v1", "openai"),
    "openai_responses": ("openai-responses", "v1", "openai"),
    "anthropic": ("anthropic", "v1", "anthropic"),
    "gemini": ("gemini", "v1beta", "gemini"),
}
"""By the protocol that they speak: its name in the configuration, the version, the files API."""
SERVED: Final = {"gemini": "sim-gemini", "anthropic": "sim-anthropic"}
TEXT: Final = "#sim tokens=2\nWhat is this?"


def models_of(
    folder: Path,
    files: str = "",
    *,
    apis: bool = True,
    keys: Sequence[str] = ("key-1",),
    provider: str = "",
) -> str:
    """What a configuration says of models and providers, whose keys are in the folder; `files` are
    lines of that section, `provider` of each provider's table."""
    for key in keys:
        (folder / key).write_text(key)
    said = ", ".join(f'"file:{folder / key}"' for key in keys)
    return models_text(files, apis=apis, keys=said, provider=provider)


def models_text(files: str, *, apis: bool, keys: str, provider: str = "") -> str:
    """A model and a provider for each protocol, named alike; with files APIs, or without."""
    tables = "".join(
        f"""
[providers.at-{protocol}]
protocol = "{name}"
base_url = "$SIM/{version}"
http2 = "{HTTP2}"
api_keys = [{keys}]
{f'files = "{api}"' if apis else ""}
{provider}
[models.by-{protocol}]
deployments = [{{ provider = "at-{protocol}", model = "{SERVED.get(protocol, "sim-openai")}" }}]
price = {{ input = 1, output = 2 }}
"""
        for protocol, (name, version, api) in PROVIDERS.items()
    )
    return f"[files]\n{files}\n{tables}"


def part_of(protocol: Protocol, file_id: str) -> dict[str, Any]:
    """What names a file, in the spelling of a protocol."""
    match protocol:
        case "openai_chat":
            return {"type": "file", "file": {"file_id": shown_file_id(file_id, "openai")}}
        case "openai_responses":
            return {"type": "input_file", "file_id": shown_file_id(file_id, "openai")}
        case "anthropic":
            source = {"type": "file", "file_id": shown_file_id(file_id, "anthropic")}
            return {"type": "document", "source": source}
        case _:
            host = "generativelanguage.googleapis.com"  # as Google's SDK writes it
            uri = f"https://{host}/v1beta/{shown_file_id(file_id, 'gemini')}"
            return {"fileData": {"fileUri": uri, "mimeType": "application/pdf"}}


@dataclass(frozen=True, slots=True)
class Filed:
    """A gateway with files."""

    setup: Setup

    @property
    def gateway(self) -> Gateway:
        return self.setup.gateway

    async def add(self, data: bytes, mime_type: str = "", name: str = "a.bin") -> str:
        """A file of the account's; its bare id."""
        row = await add_file(self.gateway, self.setup.account_id, data, mime_type, name)
        return row.file_id

    def call(self, client: Protocol, model: str, *parts: dict[str, Any], **more: Any) -> Call:
        """A question with such parts behind its words, to be answered in one piece."""
        said: dict[str, Any] = {"model": model, "stream": False}
        match client:
            case "openai_chat":
                content = [{"type": "text", "text": TEXT}, *parts]
                said["messages"] = [{"role": "user", "content": content}]
            case "openai_responses":
                content = [{"type": "input_text", "text": TEXT}, *parts]
                said["input"] = [{"role": "user", "content": content}]
            case "anthropic":
                content = [{"type": "text", "text": TEXT}, *parts]
                said |= {"messages": [{"role": "user", "content": content}], "max_tokens": 99}
            case _:
                said = {"contents": [{"role": "user", "parts": [{"text": TEXT}, *parts]}]}
        return Call(
            orjson.dumps(said | more),
            self.setup.key,
            client,
            model=model if client == "gemini" else None,
            stream=False if client == "gemini" else None,
        )

    def last(self) -> TruthRecord:
        """What a provider was asked last."""
        return self.setup.sim.truth.records()[-1]


async def add_file(
    gateway: Gateway, account_id: str, data: bytes, mime_type: str = "", name: str = "a.bin"
) -> FileRow:
    """A file of an account's."""
    async with gateway.files.open_upload(account_id, 10**9, len(data)) as upload:
        await upload.append(data)
        return await upload.finish(
            filename=name, purpose="user_data", mime_type=mime_type or "application/octet-stream"
        )


def again(call: Call) -> Call:
    """The same once more."""
    return replace(call, request_id=new_request_id())


@asynccontextmanager
async def open_filed(
    folder: Path,
    files: str = "",
    *,
    apis: bool = True,
    keys: Sequence[str] = ("key-1",),
    more: str = "",
    provider: str = "",
    **options: Any,
) -> AsyncIterator[Filed]:
    """A gateway; `more` are tables behind those of `models_of`."""
    options = {"routing": AGAIN} | options
    models = models_of(folder, files, apis=apis, keys=keys, provider=provider) + more
    async with open_setup(folder, models=models, **options) as setup:
        yield Filed(setup)


__all__ = ["FILES", "PROTOCOLS", "Filed", "add_file", "again", "open_filed", "part_of"]
