"""Fine-tuning jobs that are kept: how they end, what they were trained on, their models."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import orjson
import pytest

from bench.simulate.tokens import count_tokens
from tests.bench.kept.knocking import by_sdk, lacks, recorded, simulated, web

SAID = [{"role": "user", "content": "How wide?"}, {"role": "assistant", "content": "Very."}]
LINE = orjson.dumps({"messages": SAID})
EXAMPLES = (LINE + b"\n") * 10


async def begin(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    files = {"file": ("train.jsonl", EXAMPLES)}
    uploaded = await client.post("/files", data={"purpose": "fine-tune"}, files=files)
    asked = {"model": "sim-openai", "training_file": uploaded.json()["id"], **more}
    return await client.post("/fine_tuning/jobs", json=asked)


async def test_sdk_trains_a_model_and_asks_it() -> None:
    def work(client: openai.OpenAI) -> None:
        jobs = client.fine_tuning.jobs
        file = client.files.create(file=("train.jsonl", EXAMPLES), purpose="fine-tune")
        made = jobs.create(
            model="sim-openai",
            training_file=file.id,
            suffix="rivers",
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        )
        assert (made.status, jobs.retrieve(made.id).status) == ("validating_files", "running")
        done = jobs.retrieve(made.id)
        assert done.status == "succeeded"
        assert done.trained_tokens == 2 * count_tokens([EXAMPLES.decode()])
        assert done.fine_tuned_model is not None
        assert done.fine_tuned_model.startswith("ft:sim-openai:simulated:rivers:")
        answer = client.responses.create(model=done.fine_tuned_model, input="How wide?")
        assert answer.model == done.fine_tuned_model
        messages = [event.message for event in jobs.list_events(made.id)]
        assert messages[-1] == "Created fine-tuning job"
        [checkpoint] = list(jobs.checkpoints.list(made.id))
        assert checkpoint.fine_tuned_model_checkpoint.startswith(done.fine_tuned_model)
        assert client.files.content(done.result_files[0]).text.startswith("step,")
        assert [one.id for one in jobs.list()] == [made.id]

    async with simulated() as simulator:
        await by_sdk(simulator, work)


@pytest.mark.parametrize(("told", "status"), [("job=failed", "failed"), ("job=never", "running")])
async def test_jobs_end_as_told(told: str, status: str) -> None:
    async with simulated() as simulator, web(simulator) as client:
        simulator.behave("fine_tuning.create", f"end_polls=0 {told}")
        made = (await begin(client)).json()
        seen = (await client.get(f"/fine_tuning/jobs/{made['id']}")).json()
        assert (seen["status"], seen["trained_tokens"]) == (status, None)


async def test_jobs_are_paused_resumed_and_cancelled() -> None:
    async with simulated() as simulator, web(simulator) as client:
        made = (await begin(client)).json()
        path = f"/fine_tuning/jobs/{made['id']}"
        assert (await client.post(f"{path}/pause")).json()["status"] == "paused"
        for _ in range(4):
            assert (await client.get(path)).json()["status"] == "paused"
        assert (await client.post(f"{path}/resume")).json()["status"] == "running"
        assert (await client.post(f"{path}/cancel")).json()["status"] == "cancelled"
        assert (await client.post(f"{path}/cancel")).status_code == 400


async def test_what_is_refused() -> None:
    async with simulated() as simulator, web(simulator) as client, web(simulator, "k-two") as other:
        made = (await begin(client)).json()
        asked = {"model": "sim-openai", "training_file": made["training_file"]}
        refused = await other.post("/fine_tuning/jobs", json=asked)
        assert refused.json()["error"]["code"] == "invalid_training_file"
        assert (await begin(client, model="sim-none")).status_code == 404
        assert (await begin(client, epochs=3)).status_code == 400
        assert (await other.get(f"/fine_tuning/jobs/{made['id']}/events")).status_code == 404


async def test_shapes_are_those_of_the_recordings() -> None:
    async with simulated() as simulator, web(simulator) as client:
        made = (await begin(client)).json()
        known = recorded("openai-fine_tuning/ruby-openai--finetunes-create.json")
        assert lacks(made, known) == set()
        unknown = (await client.post("/fine_tuning/jobs/123/cancel")).json()
        assert unknown == recorded("openai-fine_tuning/ruby-openai--finetunes-cancel.json")
