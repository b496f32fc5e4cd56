"""What sets one provider's server apart from the protocol that it speaks, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from engine.job import JobKind, JobSpec

Hosting = Literal["vertex", "bedrock"]
"""Clouds that offer another's protocol in an envelope of their own."""
InlineKind = Literal["image", "document"]
OutputLimitField = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """Of a provider's row; a codec heeds what its protocol has.

    Attributes:
        include_usage: it takes `stream_options`; others say usage unasked.
        output_limit_field: the only name that it knows for the limit; None: both, or by the model.
        refuses: fields of a request that it refuses and whose loss changes no answer; `a.b` is one
            inside another, which only a request that goes through verbatim can have.
        reasoning_apart: its `completion_tokens` leave reasoning out; None: as its total proves.
        inlines: media that it takes as bytes only: what clients name by URL is fetched here.
        hosting: None where the protocol is offered as by its own provider.
        jobs: how it is asked for what takes it minutes; what is not there it does not make.
    """

    include_usage: bool = True
    output_limit_field: OutputLimitField | None = None
    refuses: frozenset[str] = frozenset()
    reasoning_apart: bool | None = None
    inlines: frozenset[InlineKind] = frozenset()
    hosting: Hosting | None = None
    jobs: Mapping[JobKind, JobSpec] = field(default_factory=dict, hash=False)

    @property
    def event_stream(self) -> bool:
        """Its streams are framed as AWS's event streams, and reach no client as they are."""
        return self.hosting == "bedrock"


PLAIN = Quirks()
"""A server that does what its protocol says."""
