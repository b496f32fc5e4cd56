"""Every row, in the order of the document, from the modules of the families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from frontends.reference import (
    account,
    agents,
    chat,
    claude,
    files,
    gemini,
    jobs,
    models,
    operations,
    operators,
    passed,
    uploads,
)
from frontends.reference.rows import Row, Schema, one_of, text

_FAMILIES: Final = (
    chat,
    claude,
    gemini,
    agents,
    models,
    operations,
    jobs,
    files,
    uploads,
    passed,
    account,
    operators,
)
"""A module each, with its `ROWS` and the `SCHEMAS` that they name."""

ROWS: Final[tuple[Row, ...]] = tuple(row for family in _FAMILIES for row in family.ROWS)
SCHEMAS: Final[Mapping[str, Schema]] = {
    name: schema for family in _FAMILIES for name, schema in family.SCHEMAS.items()
}

TAGS: Final[Mapping[str, str]] = {
    "Chat": "Chat completions, as OpenAI's clients ask for them.",
    "Responses": "Responses, as OpenAI's clients ask for them.",
    "Messages": "As Anthropic's clients ask.",
    "Gemini": "As Gemini's clients ask; all of it once more under other versions below.",
    "Agents": "Set up once, and called like models.",
    "Models": "What can be asked for, and what it costs.",
    "Embeddings": "Vectors, and documents by their relevance.",
    "Images": "Pictures.",
    "Sound": "Speech, transcripts, translations.",
    "Moderations": "What is harmful.",
    "Videos and music": "Jobs, which outlive their requests.",
    "Files": "What an account stores.",
    **dict.fromkeys(passed.TAGS.values(), "Passed through to a provider that keeps them."),
    "Keys": "Keys that accounts make for themselves.",
    "Account": "What an account has, may do and has used.",
    "Receipts": "What became of each request.",
    "Process": "How the server does.",
    "Operators": "Administration; amounts are US dollars in strings, or nanodollars.",
    "Gemini, other paths": "The same at the other versions of Gemini's API, and of tuned models.",
}
"""The families, in the order in which they are shown."""

VARIABLES: Final[Mapping[str, Schema]] = {
    "model": text("The model; its name may hold `/` and `:`.", minLength=1),
    "name": text("The name; it may hold `/` and `:`.", minLength=1),
    "file_id": text("A file of this account.", minLength=1),
    "made_file_id": text("A file that a job has made.", minLength=1),
    "upload_id": text("An upload of this account.", minLength=1),
    "job_id": text("A job of this account.", minLength=1),
    "request_id": text("The `x-request-id` of an answer.", minLength=1),
    "stream_request_id": text("The `x-request-id` of a stream that runs.", minLength=1),
    "agent_id": text("An agent of this account, by its id or its name.", minLength=1),
    "account": text("The id of an account, or its name.", minLength=1),
    "period": one_of("day", "month", "total"),
    "kind": one_of("account", "key", "model", "provider", "deployment"),
}
"""Of paths; another one is a text."""
