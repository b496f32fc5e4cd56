"""Clouds that offer Anthropic's messages in an envelope of their own, as data.

Sources: `anthropic/lib/vertex/_client.py` and `anthropic/lib/bedrock/_client.py` of Anthropic's
SDK. Both have the model in the path, and the version in the body instead of a header; the errors
of a model are Anthropic's own, and so is what a stream says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from engine.protocols.quirks import Hosting


@dataclass(frozen=True, slots=True)
class Envelope:
    """How one of them wants to be asked.

    Attributes:
        version: `anthropic_version` in the body.
        paths: of whole answers, of streams, and of counting (with the model in the body), with the
            model for `{model}`; what is missing there is not.
        betas: where the client's betas go: in their header, or as `anthropic_beta` in the body.
        says_stream: `stream` stays in the body.
    """

    version: str
    paths: Mapping[Literal["chat", "stream", "count_tokens"], str]
    betas: Literal["header", "body"]
    says_stream: bool

    def path(self, model: str, operation: str, *, stream: bool) -> str | None:
        """Behind the base URL; None for an operation that there is not.

        >>> ENVELOPES["vertex"].path("claude-sonnet-4@20250514", "chat", stream=True)
        '/models/claude-sonnet-4@20250514:streamRawPredict'
        """
        match operation:
            case "chat":
                path = self.paths["stream" if stream else "chat"]
            case "count_tokens" if "count_tokens" in self.paths:
                path = self.paths["count_tokens"]
            case _:
                return None
        return path.replace("{model}", quote(model, safe="@:"))

    def put_around(
        self, document: dict[str, Any], betas: Sequence[str] = (), operation: str = "chat"
    ) -> None:
        """Make a body of Anthropic's own one for this cloud."""
        document["anthropic_version"] = self.version
        if operation == "chat":
            del document["model"]
        if not self.says_stream:
            document.pop("stream", None)
        if betas and self.betas == "body":
            document["anthropic_beta"] = list(betas)


ENVELOPES: Final[Mapping[Hosting, Envelope]] = {
    "vertex": Envelope(
        version="vertex-2023-10-16",
        paths={
            "chat": "/models/{model}:rawPredict",
            "stream": "/models/{model}:streamRawPredict",
            "count_tokens": "/models/count-tokens:rawPredict",
        },
        betas="header",
        says_stream=True,
    ),
    "bedrock": Envelope(
        version="bedrock-2023-05-31",
        paths={
            "chat": "/model/{model}/invoke",
            "stream": "/model/{model}/invoke-with-response-stream",
        },
        betas="body",
        says_stream=False,
    ),
}
