"""What real providers have answered to forms and to moderations, through the gateway as it is.

Recorded embeddings, rerank and drawn images are in the tests of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.simulate.pictures import png
from tests import recordings
from tests.costs import without_cost
from tests.gateways import HTTP2
from tests.served import open_served
from tests.sounds import wav

SOUND_MS = 40_000
SOUND, PICTURE = wav(SOUND_MS), png(64, 64, bytes(16))
SECOND_NANODOLLARS, IMAGE_NANODOLLARS = 100_000, 20_000_000
MODELS = f"""
[providers.real]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.whisper-1]
deployments = [{{ provider = "real", model = "whisper-1" }}]
price = {{ seconds = 0.0001 }}
[models.dall-e-2]
deployments = [{{ provider = "real", model = "dall-e-2" }}]
price = {{ images = 0.02 }}
[models.omni-moderation-latest]
deployments = [{{ provider = "real", model = "omni-moderation-latest" }}]
free = true
"""


def recorded(folder: str, marker: str) -> list[Any]:
    """Those of a folder that are answers of its endpoint: with this member."""
    other = pytest.mark.skip(reason="not an answer of the endpoint as it was")
    return [
        pytest.param(name, marks=other)
        if isinstance(name, str) and marker not in orjson.loads(recordings.load(name).body)
        else name
        for name in recordings.names(folder, status=200)
    ]


TRANSCRIPTS = [
    name
    for provider in ("openai", "groq", "mistral")
    for name in recorded(f"{provider}-audio-transcriptions", "text")
]


@pytest.mark.parametrize("name", TRANSCRIPTS)
@pytest.mark.parametrize("seed", [1, 2])
async def test_transcripts(tmp_path: Path, name: str, seed: int) -> None:
    """Paid by the length that the provider says, as that of the recording allows, else by that."""
    recording = recordings.load(name)
    said = orjson.loads(recording.body)
    prompt = f"#sim recording={name} split_seed={seed}\nOn flumes."
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        answer = await client.post(
            "/audio/transcriptions",
            data={"model": "whisper-1", "prompt": prompt},
            files={"file": ("speech.wav", SOUND)},
        )
        assert without_cost(answer.content) == recording.body
        receipt = await served.receipt(answer.headers["x-request-id"])
        usage = said.get("usage") or {}
        seconds = usage.get("seconds", usage.get("prompt_audio_seconds", said.get("duration")))
        milliseconds = SOUND_MS if seconds is None else int(seconds * 1_000)
        assert receipt["outcome"] == "completed"
        assert receipt["usage"]["milliseconds"] == pytest.approx(milliseconds, abs=10)
        billed = receipt["usage"]["milliseconds"] * SECOND_NANODOLLARS // 1_000
        assert receipt["price"]["nanodollars"] == billed


@pytest.mark.parametrize("name", recordings.names("openai-images-variations", status=200))
async def test_variations(tmp_path: Path, name: str) -> None:
    recording = recordings.load(name)
    count = len(orjson.loads(recording.body)["data"])
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        answer = await client.post(
            "/images/variations",
            data={"model": "dall-e-2", "n": str(count), "user": f"#sim recording={name}"},
            files={"image": ("a.png", PICTURE)},
        )
        assert answer.content == recording.body
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == count * IMAGE_NANODOLLARS


@pytest.mark.parametrize("name", recorded("openai-moderations", "results"))
async def test_moderations(tmp_path: Path, name: str) -> None:
    async with open_served(tmp_path, models=MODELS) as served, served.http() as client:
        answer = await client.post("/moderations", json={"input": f"#sim recording={name}\nHello."})
        assert answer.content == recordings.load(name).body
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["price"]["nanodollars"] == 0
