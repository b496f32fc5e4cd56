"""The endpoints that the requests of a batch can be for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from engine.events import Operation, Protocol
from engine.owned import Kept
from engine.protocols import openai_usage
from engine.protocols.openai_moderations import DEFAULT_MODEL
from engine.protocols.openai_responses import usage as responses_usage
from engine.protocols.openai_responses.kept import kept_of
from engine.usage import Usage


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Attributes:
    path: as a batch and its lines name it.
    protocol, operation: of a call to it: by these its codec is found.
    read_usage: what an answer of it says that it consumed; None: nothing.
    holds: the member of its answers that holds numbers alone, and may be megabytes of them.
    model: that is asked where a request names none; empty: each has to.
    kept: what of an answer its provider keeps; None: nothing.
    """

    path: str
    protocol: Protocol
    operation: Operation
    read_usage: Callable[[dict[str, Any]], Usage | None] = openai_usage.read_usage
    holds: str | None = None
    model: str = ""
    kept: Callable[[Mapping[str, Any]], tuple[Kept, ...]] | None = None


ENDPOINTS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {
        each.path: each
        for each in (
            Endpoint("/v1/chat/completions", "openai_chat", "chat"),
            Endpoint(
                "/v1/responses",
                "openai_responses",
                "chat",
                responses_usage.read_usage,
                kept=kept_of,
            ),
            Endpoint("/v1/embeddings", "openai", "embed", holds="data"),
            Endpoint("/v1/completions", "openai_completions", "chat"),
            Endpoint("/v1/moderations", "openai", "moderate", model=DEFAULT_MODEL),
        )
    }
)
