"""Providers of the simulator that make films and songs, and what a gateway is told of them."""

from __future__ import annotations

from typing import Any

import httpx
import trio

GENERIC = """
[providers.clips]
protocol = "openai"
base_url = "$SIM/jobs/v1"
http2 = "prior-knowledge"
[providers.clips.jobs.music]
submit = "/submit"
fields = { model = "engine", prompt = "task.text", seconds = "task.len_s", lyrics = "task.words", \
instrumental = "task.voiceless", n = "task.takes", seed = "task.dice" }
constants = { "task.kind" = "music" }
id = "ticket.no"
poll = "/status/{id}"
state = "phase"
states = { QUEUED = "submitted", WORKING = "running", FINISHED = "succeeded", BROKEN = "failed", \
TOO_LATE = "failed", REFUSED = "failed", STOPPED = "cancelled" }
error_code = "trouble.reason"
error_message = ["trouble.text"]
progress = "done_percent"
results = ["output.takes.*.link"]
result_type = "audio/wav"
units = { seconds = "bill.seconds", clips = "bill.takes" }
cancel = "POST /cancel/{id}"
recover = "resubmit"
idempotency_header = "Idempotency-Key"
"""
"""The simulator's provider of a dialect of its own."""

CONFIG = (
    """
[jobs]
poll_min_s = 0.02
poll_max_s = 0.05
[providers.films]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "prior-knowledge"
[providers.films.jobs.video]
like = "openai"
[providers.google]
protocol = "gemini"
base_url = "$SIM/v1beta"
http2 = "prior-knowledge"
inlines = ["image"]
[providers.google.jobs.video]
like = "veo"
[providers.grok]
protocol = "openai"
base_url = "$SIM/v1"
http2 = "prior-knowledge"
[providers.grok.jobs.video]
like = "xai"
"""
    + GENERIC
    + """
[models.sora]
deployments = [{ provider = "films", model = "sora-2" }]
price = { seconds = 0.01 }
[models.veo]
deployments = [{ provider = "google", model = "veo-3.1-generate-preview" }]
price = { seconds = 0.01, by_image = [{ size = "1080p", seconds = 0.02 }] }
[models.grok]
deployments = [{ provider = "grok", model = "grok-imagine-video" }]
price = { seconds = 0.01 }
[models.song]
deployments = [{ provider = "clips", model = "sim-music" }]
price = { clips = 0.25 }
"""
)


def said(directives: str = "") -> str:
    """A prompt that tells the simulator how the job goes."""
    return f"#sim {directives}\nA river at dawn."


async def ended(client: httpx.AsyncClient, path: str, within_s: float = 20) -> dict[str, Any]:
    """Ask after a job until it has ended."""
    with trio.fail_after(within_s):
        while True:
            answer = (await client.get(path)).raise_for_status().json()
            done = answer.get("done") or answer.get("status") in (
                "succeeded", "failed", "expired", "cancelled", "completed",
            )  # fmt: skip
            if done:
                return dict(answer)
            await trio.sleep(0.01)
