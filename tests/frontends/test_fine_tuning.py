"""Fine-tuning by OpenAI's SDK over real sockets: held for, followed, charged by what it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from engine.ledger.receipts import Receipt
from engine.owned import HeldRef
from tests.gateways import DOLLAR, settled
from tests.passed import Kept, open_kept

TRAINED = """
[models.trained]
deployments = [{ provider = "keeps", model = "sim-openai" }]
price = { input = 1, output = 2, trained_tokens = 8 }
[jobs]
poll_min_s = 0.01
poll_max_s = 0.05
"""
TOKEN = 8_000  # nanodollars
LINES = b'{"messages": [{"role": "user", "content": "Hi"}]}\n' * 20


async def upload(
    client: openai.AsyncOpenAI, purpose: Any = "fine-tune", data: bytes = LINES
) -> str:
    return (await client.files.create(file=("train.jsonl", data), purpose=purpose)).id


async def train(kept: Kept, **more: Any) -> tuple[Any, str]:
    """The job that is answered, and the id of its request."""
    asked: dict[str, Any] = {"model": "trained", **more}
    if "training_file" not in asked:
        asked["training_file"] = await upload(kept.ours)
    raw = await kept.ours.fine_tuning.jobs.with_raw_response.create(**asked)
    return raw.parse(), raw.headers["x-request-id"]


async def receipt_of(kept: Kept, request_id: str) -> Receipt:
    gateway, account_id = kept.served.setup.gateway, kept.served.setup.account_id
    found = await gateway.ledger.read_receipt(account_id, request_id)
    assert found is not None
    return Receipt.from_json(found)


async def ended(kept: Kept, request_id: str) -> Receipt:
    """The receipt of a job once that has closed."""
    gateway, account_id = kept.served.setup.gateway, kept.served.setup.account_id
    await settled(lambda: not gateway.ledger.open_jobs_of(account_id))
    await gateway._parts.jobs.wait_durable()
    return await receipt_of(kept, request_id)


async def test_a_job_is_charged_by_what_it_has_trained(tmp_path: Path) -> None:
    async with open_kept(tmp_path, TRAINED) as kept:
        file_id = await upload(kept.ours)
        validation = await upload(kept.ours, data=LINES[:50])
        job, request_id = await train(kept, training_file=file_id, validation_file=validation)
        assert (job.model, job.organization_id) == ("trained", "")
        assert (job.training_file, job.validation_file) == (file_id, validation)

        receipt = await ended(kept, request_id)
        shown = await kept.ours.fine_tuning.jobs.retrieve(job.id)
        assert (shown.status, shown.training_file, shown.model) == (
            "succeeded",
            file_id,
            "trained",
        )
        assert shown.trained_tokens
        assert shown.organization_id == "", "the operator's"
        assert receipt.operation == "fine_tune"
        assert receipt.usage == {"trained_tokens": shown.trained_tokens}
        assert receipt.provenance == "reported"
        assert receipt.price_nanodollars == shown.trained_tokens * TOKEN
        balance = await kept.served.setup.balance()
        assert balance == DOLLAR - receipt.price_nanodollars

        assert shown.fine_tuned_model is not None
        owners, account_id = kept.served.setup.gateway._parts.owners, kept.served.setup.account_id
        ref = HeldRef(shown.fine_tuned_model, "fine_tuned_model", "model")
        [row] = await owners.find(account_id, [ref])
        assert (row.parent_id, row.model) == (job.id, "trained")
        assert (await kept.ours.fine_tuning.jobs.list()).data[0].id == job.id


async def test_every_epoch_of_the_file_is_held_for(tmp_path: Path) -> None:
    async with open_kept(tmp_path, TRAINED) as kept:
        kept.served.setup.sim.behave("fine_tuning.create", "job=never")
        method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4}}}
        _, request_id = await train(kept, method=method)
        held = kept.served.setup.gateway.ledger.statistics().held_nanodollars
        assert held == len(LINES) // 2 * 4 * TOKEN
        [job] = kept.served.setup.gateway._parts.jobs.open.values()
        kept.served.setup.gateway._parts.jobs.give_up(job)
        assert (await receipt_of(kept, request_id)).price_nanodollars == 0


@pytest.mark.parametrize(
    ("told", "outcome"), [("job=failed", "upstream_failed"), ("job=cancelled", "client_left")]
)
async def test_what_made_nothing_costs_nothing(tmp_path: Path, told: str, outcome: str) -> None:
    async with open_kept(tmp_path, TRAINED) as kept:
        kept.served.setup.sim.behave("fine_tuning.create", told)
        _, request_id = await train(kept)
        receipt = await ended(kept, request_id)
        assert (receipt.outcome, receipt.price_nanodollars) == (outcome, 0)
        assert await kept.served.setup.balance() == DOLLAR


async def test_a_job_is_cancelled_by_its_account_alone(tmp_path: Path) -> None:
    async with open_kept(tmp_path, TRAINED) as kept:
        kept.served.setup.sim.behave("fine_tuning.create", "job=never")
        job, request_id = await train(kept)
        for ask in (
            kept.theirs.fine_tuning.jobs.retrieve(job.id),
            kept.theirs.fine_tuning.jobs.cancel(job.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await ask
        gone = await kept.ours.fine_tuning.jobs.cancel(job.id)
        assert gone.status == "cancelled"
        assert (await ended(kept, request_id)).price_nanodollars == 0


async def refusal(kept: Kept, **more: Any) -> openai.APIStatusError:
    """What a job is refused with; its provider has seen nothing of it."""
    asked_before, uploads = len(kept.calls), kept.served.setup.sim.files.uploads
    with pytest.raises(openai.APIStatusError) as caught:
        await train(kept, **more)
    assert len(kept.calls) == asked_before
    assert kept.served.setup.sim.files.uploads == uploads
    return caught.value


async def test_nothing_is_sent_of_what_cannot_be_trained(tmp_path: Path) -> None:
    async with open_kept(tmp_path, TRAINED) as kept:
        theirs, other = await upload(kept.theirs), await upload(kept.ours, "user_data")
        for more, status, said in (
            ({"training_file": theirs}, 404, theirs),
            ({"training_file": "file-aaaaaaaaaaaaaaaaaaaaaaaaaa"}, 404, "file-aaa"),
            ({"training_file": other}, 400, "purpose 'user_data'"),
            ({"validation_file": theirs}, 404, theirs),
            ({"model": "kept"}, 400, "no price for training"),
            ({"model": "sim-openai"}, 400, "trains nothing"),
            ({"model": "unheard-of"}, 404, "unheard-of"),
            ({"method": {"type": "reinforcement"}}, 400, "method.type"),
            ({"hyperparameters": {"n_epochs": 1_000}}, 400, "n_epochs"),
            ({"extra_body": {"integrations": [{"type": "wandb"}]}}, 400, "integrations"),
            ({"extra_body": {"color": "red"}}, 400, "color"),
        ):
            error = await refusal(kept, **more)
            assert error.status_code == status, error
            assert said in str(error)


async def test_who_cannot_pay_for_all_of_it_is_refused(tmp_path: Path) -> None:
    async with open_kept(tmp_path, TRAINED, funds_nanodollars=1_000) as kept:
        assert (await refusal(kept)).status_code == 402
