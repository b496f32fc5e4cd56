"""THE table of the routes that are passed through to a provider with state. Pure data.

Source: OpenAI's API reference (assistants v2, vector stores, batches, conversations, responses,
fine-tuning, containers) and its Python SDK, which names every one of these paths. Left out on
purpose: permissions of checkpoints and whatever else takes an administrator's key; `/v1/uploads`,
`/v1/files` and `POST /v1/responses` are the gateway's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.config_state import Family
from engine.owned import OwnedKind
from engine.usage import MoreUnit

Method = Literal["GET", "POST", "DELETE"]

BilledOperation = Literal["run", "batch", "fine_tune"]
"""What an exchange does in the place of the forwarder: its answer costs something."""

IdKind = OwnedKind | Literal["file"]
"""What an id names; "file": one of the gateway's, which the provider knows by another."""

PARAMETERS: Final[Mapping[str, IdKind]] = {
    "assistant_id": "assistant",
    "thread_id": "thread",
    "message_id": "message",
    "run_id": "run",
    "step_id": "run_step",
    "vector_store_id": "vector_store",
    "file_id": "file",
    "file_batch_id": "vector_store_file_batch",
    "batch_id": "batch",
    "conversation_id": "conversation",
    "item_id": "item",
    "response_id": "response",
    "job_id": "fine_tuning_job",
    "container_id": "container",
    "container_file_id": "container_file",
}
"""What the parameters of a path name, by how they are called in it."""

_ASSISTANTS: Final = ((b"openai-beta", b"assistants=v2"),)
_PARAMETER: Final = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        path: the gateway's, parameters as `<name>` of `PARAMETERS`; the provider's is the same
            behind `/v1`.
        access: the scope that a key needs.
        creates: what the answer's own id names, and makes the account's; it takes funds.
        lists: what its rows are. Without a parameter in the path the rows are all of an account:
            they are paged from the gateway's own table, never from the provider's.
        removes: what is gone when the answer is good: the last parameter of the path.
        query: parameters of the URL that hold ids. Any other value that looks like an id has to be
            owned, too.
        operation: of the exchange that answers in the place of the forwarder.
        charges: the unit that a good answer costs one of, or as many as its body says; None, and
            no operation: it is free.
        model: its body may name a model, at `model`.
        streams: it answers with server-sent events if its `stream` says so: in the URL of a GET,
            in the body of a POST.
        body: what a POST takes; "form": JSON or a form with a file.
        answer: "bytes": not JSON, whatever a file holds.
        headers: what the provider wants to see, unless the client says another value of it.
    """

    method: Method
    path: str
    family: Family
    access: Literal["read", "inference"]
    creates: OwnedKind | None = None
    lists: OwnedKind | None = None
    removes: OwnedKind | None = None
    query: Mapping[str, IdKind] = field(default_factory=dict)
    operation: BilledOperation | None = None
    charges: MoreUnit | None = None
    model: bool = False
    streams: bool = False
    body: Literal["json", "form"] = "json"
    answer: Literal["json", "bytes"] = "json"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters, in their order."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def lists_account(self) -> bool:
        """Whether its rows are all that an account has of a kind."""
        return self.lists is not None and not self.parameters

    def fill(self, values: Mapping[str, str]) -> str:
        """The path with these in the place of its parameters, as they are.

        >>> ROUTES["GET", "/v1/threads/<thread_id>"].fill({"thread_id": "thread_1"})
        '/v1/threads/thread_1'
        """
        return _PARAMETER.sub(lambda found: values[found[1]], self.path)


def _get(
    path: str,
    family: Family,
    *,
    lists: OwnedKind | None = None,
    query: Mapping[str, IdKind] | None = None,
    streams: bool = False,
    answer: Literal["json", "bytes"] = "json",
) -> Route:
    cursors: dict[str, IdKind] = {} if lists is None else {"after": lists, "before": lists}
    return Route(
        "GET", path, family, "read", lists=lists, query={**cursors, **(query or {})},
        streams=streams, answer=answer, headers=_headers(family),
    )  # fmt: skip


def _post(
    path: str,
    family: Family,
    creates: OwnedKind | None = None,
    *,
    operation: BilledOperation | None = None,
    charges: MoreUnit | None = None,
    model: bool = False,
    streams: bool = False,
    body: Literal["json", "form"] = "json",
) -> Route:
    return Route(
        "POST", path, family, "inference", creates=creates, operation=operation, charges=charges,
        model=model, streams=streams, body=body, headers=_headers(family),
    )  # fmt: skip


def _delete(path: str, family: Family, removes: OwnedKind) -> Route:
    return Route("DELETE", path, family, "inference", removes=removes, headers=_headers(family))


def _headers(family: Family) -> tuple[tuple[bytes, bytes], ...]:
    return _ASSISTANTS if family in ("assistants", "threads", "vector_stores") else ()


_ASSISTANT = "/v1/assistants/<assistant_id>"
_THREAD = "/v1/threads/<thread_id>"
_MESSAGE = f"{_THREAD}/messages/<message_id>"
_RUN = f"{_THREAD}/runs/<run_id>"
_STORE = "/v1/vector_stores/<vector_store_id>"
_STORE_FILE = f"{_STORE}/files/<file_id>"
_FILE_BATCH = f"{_STORE}/file_batches/<file_batch_id>"
_BATCH = "/v1/batches/<batch_id>"
_CONVERSATION = "/v1/conversations/<conversation_id>"
_ITEM = f"{_CONVERSATION}/items/<item_id>"
_RESPONSE = "/v1/responses/<response_id>"
_JOB = "/v1/fine_tuning/jobs/<job_id>"
_CONTAINER = "/v1/containers/<container_id>"
_CONTAINER_FILE = f"{_CONTAINER}/files/<container_file_id>"
_BY_FILE: Final[Mapping[str, IdKind]] = {"after": "file", "before": "file"}
"""Files of a vector store are called by the ids of the files that they were made from."""

_ALL: Final = (
    _post("/v1/assistants", "assistants", "assistant", model=True),
    _get("/v1/assistants", "assistants", lists="assistant"),
    _get(_ASSISTANT, "assistants"),
    _post(_ASSISTANT, "assistants", model=True),
    _delete(_ASSISTANT, "assistants", "assistant"),
    _post("/v1/threads", "threads", "thread"),
    _get(_THREAD, "threads"),
    _post(_THREAD, "threads"),
    _delete(_THREAD, "threads", "thread"),
    _post(f"{_THREAD}/messages", "threads", "message"),
    _get(f"{_THREAD}/messages", "threads", lists="message", query={"run_id": "run"}),
    _get(_MESSAGE, "threads"),
    _post(_MESSAGE, "threads"),
    _delete(_MESSAGE, "threads", "message"),
    _post("/v1/threads/runs", "threads", "run", operation="run", model=True, streams=True),
    _post(f"{_THREAD}/runs", "threads", "run", operation="run", model=True, streams=True),
    _get(f"{_THREAD}/runs", "threads", lists="run"),
    _get(_RUN, "threads"),
    _post(_RUN, "threads"),
    _post(f"{_RUN}/cancel", "threads"),
    _post(f"{_RUN}/submit_tool_outputs", "threads", streams=True),
    _get(f"{_RUN}/steps", "threads", lists="run_step"),
    _get(f"{_RUN}/steps/<step_id>", "threads"),
    _post("/v1/vector_stores", "vector_stores", "vector_store"),
    _get("/v1/vector_stores", "vector_stores", lists="vector_store"),
    _get(_STORE, "vector_stores"),
    _post(_STORE, "vector_stores"),
    _delete(_STORE, "vector_stores", "vector_store"),
    _post(f"{_STORE}/search", "vector_stores", charges="file_searches"),
    _post(f"{_STORE}/files", "vector_stores", "vector_store_file"),
    _get(f"{_STORE}/files", "vector_stores", lists="vector_store_file", query=_BY_FILE),
    _get(_STORE_FILE, "vector_stores"),
    _post(_STORE_FILE, "vector_stores"),
    _delete(_STORE_FILE, "vector_stores", "vector_store_file"),
    _get(f"{_STORE_FILE}/content", "vector_stores"),
    _post(f"{_STORE}/file_batches", "vector_stores", "vector_store_file_batch"),
    _get(_FILE_BATCH, "vector_stores"),
    _post(f"{_FILE_BATCH}/cancel", "vector_stores"),
    _get(f"{_FILE_BATCH}/files", "vector_stores", lists="vector_store_file", query=_BY_FILE),
    _post("/v1/batches", "batches", "batch", operation="batch"),
    _get("/v1/batches", "batches", lists="batch"),
    _get(_BATCH, "batches"),
    _post(f"{_BATCH}/cancel", "batches"),
    _post("/v1/conversations", "conversations", "conversation"),
    _get(_CONVERSATION, "conversations"),
    _post(_CONVERSATION, "conversations"),
    _delete(_CONVERSATION, "conversations", "conversation"),
    _post(f"{_CONVERSATION}/items", "conversations", "item"),
    _get(f"{_CONVERSATION}/items", "conversations", lists="item"),
    _get(_ITEM, "conversations"),
    _delete(_ITEM, "conversations", "item"),
    _get(_RESPONSE, "responses", streams=True),
    _delete(_RESPONSE, "responses", "response"),
    _post(f"{_RESPONSE}/cancel", "responses"),
    _get(f"{_RESPONSE}/input_items", "responses", lists="item"),
    _post(
        "/v1/fine_tuning/jobs", "fine_tuning", "fine_tuning_job", operation="fine_tune", model=True
    ),
    _get("/v1/fine_tuning/jobs", "fine_tuning", lists="fine_tuning_job"),
    _get(_JOB, "fine_tuning"),
    _post(f"{_JOB}/cancel", "fine_tuning"),
    _post(f"{_JOB}/pause", "fine_tuning"),
    _post(f"{_JOB}/resume", "fine_tuning"),
    _get(f"{_JOB}/events", "fine_tuning", lists="fine_tuning_event"),
    _get(f"{_JOB}/checkpoints", "fine_tuning", lists="fine_tuning_checkpoint"),
    _post("/v1/containers", "containers", "container", charges="code_sessions"),
    _get("/v1/containers", "containers", lists="container"),
    _get(_CONTAINER, "containers"),
    _delete(_CONTAINER, "containers", "container"),
    _post(f"{_CONTAINER}/files", "containers", "container_file", body="form"),
    _get(f"{_CONTAINER}/files", "containers", lists="container_file"),
    _get(_CONTAINER_FILE, "containers"),
    _delete(_CONTAINER_FILE, "containers", "container_file"),
    _get(f"{_CONTAINER_FILE}/content", "containers", answer="bytes"),
)

ROUTES: Final[Mapping[tuple[Method, str], Route]] = {
    (route.method, route.path): route for route in _ALL
}
"""By method and path. Where a path of words and one with a parameter both match, words win."""
