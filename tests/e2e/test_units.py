"""What is no token, from the configuration's price to header, receipt and usage by day."""

from __future__ import annotations

from pathlib import Path

from openai import AsyncOpenAI

from tests.gateways import HTTP2
from tests.served import open_served

VOICES = f"""
[providers.voices]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "{HTTP2}"
[models.reader]
deployments = [{{ provider = "voices", model = "tts-1", cost = {{ characters = 10 }} }}]
price = {{ characters = 15 }}
"""
TEXT = "Rivers are long."


async def test_characters_are_charged_receipted_and_summed_up(tmp_path: Path) -> None:
    async with (
        open_served(tmp_path, models=VOICES) as served,
        AsyncOpenAI(base_url=served.url, api_key=served.setup.key, max_retries=0) as client,
        served.http() as http,
    ):
        answer = await client.audio.speech.with_raw_response.create(
            model="reader", input=TEXT, voice="alloy", response_format="wav"
        )
        receipt = await served.receipt(answer.headers["x-request-id"])
        assert receipt["usage"]["characters"] == len(TEXT)
        assert receipt["usage_provenance"]["characters"] == receipt["provenance"] == "flat"
        assert receipt["rates_picodollars"]["characters"] == 15_000_000
        assert receipt["price"]["nanodollars"] == 15_000 * len(TEXT)
        setup = served.setup
        full = await setup.gateway.ledger.read_receipt(setup.account_id, receipt["request_id"])
        assert full is not None
        assert full["cost_rates_picodollars"]["characters"] == 10_000_000
        assert full["cost"]["nanodollars"] == 10_000 * len(TEXT)

        used = (await http.get("/usage?by=model")).json()
        rows = [row for row in used["data"] if row["model"] == "reader"]
        assert [(row["requests"], row["units"]) for row in rows] == [(1, {"characters": 16})]
        assert rows[0]["charged"]["nanodollars"] == receipt["price"]["nanodollars"]

        models = (await http.get("/models")).json()["data"]
        reader = next(model for model in models if model["id"] == "reader")
        assert reader["capabilities"]["serves"] == ["speech"]
        assert reader["pricing"]["characters"] == "15"
        assert "voice" in reader["media_params_schema"]["required"]
