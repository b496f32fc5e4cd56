"""Batches as their clients see them: with the files of their accounts, once all that they have made
has been read and charged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.jobs.book import JobBook
from engine.protocols.batches.objects import with_files


async def shown_batch(
    book: JobBook, account_id: str, provider: str, document: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What a provider says of a batch of this account's, for its client; None: it closed long ago,
    and is known no more. One that has ended there is shown as about to end, until it is settled.

    Raises:
        UnavailableError: the database cannot be read now.
    """
    view = await book.find_followed(account_id, "batch", provider, str(document.get("id")))
    if view is None:
        return None
    made = None
    if view.closed:
        found = zip(view.results, view.files, strict=False)
        made = {result.variant: file_id for result, file_id in found}
    return with_files(document, view.row.params, made)
