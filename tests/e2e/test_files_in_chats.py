"""A file that an official SDK has uploaded, named in a chat by the same SDK, over real sockets."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import trio
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from tests.filed import PDF, models_of
from tests.gateways import PROTOCOLS
from tests.served import Served, open_served

WORDS = "#sim tokens=2\nWhat is this?"
MISSING = "a" * 26
TOO_LARGE = "inline_max_bytes = 100"
Ask = Callable[[str | None, str], Any]
"""Of a file, or of one that there is not, to a model."""


def by_chat(client: openai.OpenAI) -> tuple[str, Ask]:
    made = client.files.create(file=("a.pdf", PDF, "application/pdf"), purpose="user_data")

    def ask(file_id: str | None, model: str) -> Any:
        parts: Any = [
            {"type": "text", "text": WORDS},
            {"type": "file", "file": {"file_id": file_id or f"file-{MISSING}"}},
        ]
        return client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": parts}]
        )

    return made.id, ask


def by_responses(client: openai.OpenAI) -> tuple[str, Ask]:
    made = client.files.create(file=("a.pdf", PDF, "application/pdf"), purpose="user_data")

    def ask(file_id: str | None, model: str) -> Any:
        content: Any = [
            {"type": "input_text", "text": WORDS},
            {"type": "input_file", "file_id": file_id or f"file-{MISSING}"},
        ]
        return client.responses.create(model=model, input=[{"role": "user", "content": content}])

    return made.id, ask


def by_messages(client: anthropic.Anthropic) -> tuple[str, Ask]:
    made = client.beta.files.upload(file=("a.pdf", PDF, "application/pdf"))

    def ask(file_id: str | None, model: str) -> Any:
        source: Any = {"type": "file", "file_id": file_id or f"file_{MISSING}"}
        return client.beta.messages.create(
            model=model,
            max_tokens=99,
            betas=["files-api-2025-04-14"],
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": WORDS},
                        {"type": "document", "source": source},
                    ],
                }
            ],
        )

    return made.id, ask


def by_contents(client: genai.Client) -> tuple[str, Ask]:
    config = genai_types.UploadFileConfig(mime_type="application/pdf", display_name="a.pdf")
    made = client.files.upload(file=io.BytesIO(PDF), config=config)
    assert made.uri

    def ask(file_id: str | None, model: str) -> Any:
        uri = file_id or f"files/{MISSING}"
        part = genai_types.Part.from_uri(file_uri=uri, mime_type="application/pdf")
        return client.models.generate_content(model=model, contents=[WORDS, part])

    return made.uri, ask


def client_of(protocol: str, served: Served) -> tuple[Any, Callable[[Any], tuple[str, Ask]]]:
    key = served.setup.key
    match protocol:
        case "anthropic":
            return (
                anthropic.Anthropic(api_key=key, base_url=served.origin, max_retries=0),
                by_messages,
            )
        case "gemini":
            options = genai_types.HttpOptions(base_url=served.origin)
            return genai.Client(api_key=key, http_options=options), by_contents
        case _:
            client = openai.OpenAI(api_key=key, base_url=served.url, max_retries=0)
            return client, by_chat if protocol == "openai_chat" else by_responses


@pytest.mark.parametrize("files", ["", TOO_LARGE], ids=["inline", "uploaded"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_sdks_file_in_its_chats(tmp_path: Path, protocol: str, files: str) -> None:
    async with open_served(tmp_path, models=models_of(tmp_path, files)) as served:
        client, begin = client_of(protocol, served)

        def talk() -> None:
            file_id, ask = begin(client)
            for model in PROTOCOLS:
                ask(file_id, f"by-{model}")
            gone = (openai.NotFoundError, anthropic.NotFoundError, genai_errors.ClientError)
            with pytest.raises(gone, match="No such file") as refused:
                ask(None, "by-anthropic")
            told: Any = refused.value
            assert (told.code if protocol == "gemini" else told.status_code) == 404
            client.close()

        await trio.to_thread.run_sync(talk, abandon_on_cancel=True)
        asked = served.setup.sim.truth.records()
        assert {record.status for record in asked} == {200}
        assert sum(1 for record in asked if record.tokens_generated) == len(PROTOCOLS)
        assert len(served.setup.sim.files) == (len(PROTOCOLS) if files else 0)
        assert all(file.data == PDF for file in served.setup.sim.files)
