"""The shapes of ids."""

from __future__ import annotations

import pytest

from engine.owned import OwnedKind, is_id, is_storable, kind_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b", "response"),
        ("conv_689667905b048191b4740501625afd940c7533ace33a2dab", "conversation"),
        ("asst_abc123", "assistant"),
        ("thread_abc123", "thread"),
        ("run_abc123", "run"),
        ("step_abc123", "run_step"),
        ("vs_abc123", "vector_store"),
        ("vsfb_abc123", "vector_store_file_batch"),
        ("batch_abc123", "batch"),
        ("upload_abc123", "upload"),
        ("ftjob-abc123", "fine_tuning_job"),
        ("ftevent-abc123", "fine_tuning_event"),
        ("ftckpt_zc4Q7MP6XxulcVzj4MZdwsAB", "fine_tuning_checkpoint"),
        ("ft:gpt-4o-mini-2024-07-18:my-org::7qTVM5AR", "fine_tuned_model"),
        ("cntr_abc123", "container"),
        ("cfile_abc123", "container_file"),
        ("msg_abc123", None),
        ("rs_abc123", None),
        ("msg_ABCDEFGHIJKLMNOPQRSTUVWX", None),
    ],
)
def test_an_id_is_known_by_its_shape(text: str, kind: OwnedKind | None) -> None:
    assert is_id(text)
    assert kind_of(text) == kind
    assert is_storable(text)


@pytest.mark.parametrize(
    "text",
    ["", "resp_", "run_forever", "batch_size", "call_abc123", "file-abc123", "gpt-4o", "ft:",
     "resp_abc 123", "Resp_abc123", "see resp_abc123", "resp_abc123\n"],
)  # fmt: skip
def test_other_texts_are_none(text: str) -> None:
    assert not is_id(text)
