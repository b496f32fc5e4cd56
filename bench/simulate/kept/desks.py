"""All desks of what is kept."""

from __future__ import annotations

from collections.abc import Mapping

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Desk
from bench.simulate.files import FileShelf
from bench.simulate.kept.assistants import AssistantDesk
from bench.simulate.kept.batches import BatchDesk
from bench.simulate.kept.containers import ContainerDesk
from bench.simulate.kept.conversations import ConversationDesk
from bench.simulate.kept.fine_tuning import FineTuningDesk
from bench.simulate.kept.response_desk import ResponseDesk
from bench.simulate.kept.responses import ResponseStore
from bench.simulate.kept.runs import RunDesk
from bench.simulate.kept.shelf import Shelf
from bench.simulate.kept.threads import ThreadDesk
from bench.simulate.kept.turns import Makers
from bench.simulate.kept.vector_stores import VectorStoreDesk
from bench.simulate.planner import Planner


def kept_desks(
    shelf: Shelf,
    responses: ResponseStore,
    files: FileShelf,
    planner: Planner,
    dialect: Dialect,
    batched: Mapping[str, Dialect],
) -> tuple[Desk, ...]:
    """One of each; `batched` answers the lines of batches, by their endpoint."""
    return (
        ResponseDesk(responses, batched["/v1/responses"]),
        ConversationDesk(responses, dialect),
        BatchDesk(shelf, files, planner, batched),
        AssistantDesk(shelf, files, dialect, lambda model: planner.known(dialect, model)),
        RunDesk(Makers(shelf, files, planner, dialect)),
        ThreadDesk(shelf, files, dialect),
        VectorStoreDesk(shelf, files, dialect),
        FineTuningDesk(shelf, files, planner, dialect),
        ContainerDesk(shelf, files, dialect),
    )
