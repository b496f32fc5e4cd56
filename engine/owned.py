"""Things that an account has at a provider: their ids and kinds, as plain values.

Such a thing is named by the id that its provider gave it, by clients too; whose it is the ledger
knows. One that has no id of its own is named PARENT/NAME (`vs_1/file-a`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeGuard

StateApi = Literal["openai"]
"""Whose way it is that a provider keeps what it was sent or has made."""

OwnedKind = Literal[
    "response",
    "item",
    "conversation",
    "assistant",
    "thread",
    "message",
    "run",
    "run_step",
    "vector_store",
    "vector_store_file",
    "vector_store_file_batch",
    "batch",
    "upload",
    "fine_tuning_job",
    "fine_tuning_event",
    "fine_tuning_checkpoint",
    "fine_tuned_model",
    "container",
    "container_file",
    "code_session",
]

_KINDS: Final[Mapping[str, OwnedKind]] = MappingProxyType(
    {
        "resp_": "response",
        "conv_": "conversation",
        "asst_": "assistant",
        "thread_": "thread",
        "run_": "run",
        "step_": "run_step",
        "vs_": "vector_store",
        "vsfb_": "vector_store_file_batch",
        "batch_": "batch",
        "upload_": "upload",
        "ftjob-": "fine_tuning_job",
        "ftevent-": "fine_tuning_event",
        "ftckpt_": "fine_tuning_checkpoint",
        "ft:": "fine_tuned_model",
        "cntr_": "container",
        "cfile_": "container_file",
    }
)
"""By how its ids begin. Messages of threads and items of responses both begin with `msg_`, and
items with much else: where they stand says what they are."""
_ITEMS: Final = (
    "msg_", "rs_", "fc_", "fco_", "fs_", "ws_", "ci_", "ig_", "cu_", "cuo_", "ct_", "ctc_", "ctco_",
    "mcp_", "mcpl_", "mcpr_", "mcpa_", "sh_", "sho_", "lsh_", "lsho_", "apc_", "apco_", "cm_",
    "cmo_", "cmp_", "tsc_", "tso_", "item_",
)  # fmt: skip
_TAIL: Final = re.compile(r"(?=.{16}|[^0-9]*[0-9])[A-Za-z0-9_-]{6,}|(?<=ft:).+")
_KNOWN: Final = re.compile(f"({'|'.join(sorted((*_KINDS, *_ITEMS), key=len, reverse=True))})")
_STORABLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,255}")


def kind_of(text: str) -> OwnedKind | None:
    """What an id is of, as far as its beginning says it.

    >>> kind_of("resp_0a1b2c"), kind_of("msg_0a1b2c")
    ('response', None)
    """
    begins = _KNOWN.match(text)
    return None if begins is None else _KINDS.get(begins[0])


def is_id(text: str) -> bool:
    """Whether a text has the shape of such an id: a beginning that is known, and then six or more
    characters, not all of them the letters of a word.

    >>> is_id("asst_abc123"), is_id("run_forever"), is_id("call_abc123")
    (True, False, False)
    """
    begins = _KNOWN.match(text)
    return begins is not None and _TAIL.fullmatch(text, begins.end()) is not None


def is_storable(object_id: object) -> TypeGuard[str]:
    """Whether something can be recorded as an id: what a provider sends may be anything."""
    return isinstance(object_id, str) and _STORABLE.fullmatch(object_id) is not None


class HeldRef(NamedTuple):
    """An id in a request.

    Attributes:
        kind: what it has to be of; None: anything.
        path: where it stands in the body, or the name of the parameter.
    """

    object_id: str
    kind: OwnedKind | None
    path: str


class Kept(NamedTuple):
    """What a provider says that it keeps of an answer.

    Attributes:
        context_tokens: what a prompt that goes on from it, or names it, has by it, as far as its
            provider says that.
    """

    object_id: str
    kind: OwnedKind
    parent_id: str | None = None
    context_tokens: int | None = None


class Pin(NamedTuple):
    """Who has what a request names, and is asked alone.

    Attributes:
        provider: its name in the configuration.
        credential: 16 hexadecimal digits of the digest of the key that made it.
    """

    provider: str
    credential: str
