"""What agents know: files of their accounts, indexed once, looked up by what is asked.

The index is brought up to what an agent says whenever that is asked for, so it may be lost: then
the next call of each agent builds its part again. A file that is removed is found no more from
that moment on, whatever the index has.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from engine.agent import Agent, Cited, Knowledge
from engine.agents.extracting import UnreadableFileError, passages_of, text_of
from engine.agents.index import Found, Index
from engine.config_agents import AgentsConfig
from engine.errors import (
    InvalidRequestError,
    StoredFileNotFoundError,
    UnavailableError,
)
from engine.ledger.file_rows import FileRow
from engine.storage.files import FileStore

logger = logging.getLogger(__name__)

_LOOKED_AT: Final = 4
"""So many times as many passages are found as are given: some are of files that are gone, some do
not fit."""
_READERS_MAX: Final = 4
_KNOWN_MAX: Final = 10_000
_BYTES_PER_TOKEN: Final = 3
"""Of text in a prompt; most is 4 or more, and what is less is short."""
_HEADING_TOKENS: Final = 24
"""Of the line over a passage."""
T = TypeVar("T")


class KnowledgeBook:
    """Of one gateway; made by `open_knowledge`."""

    def __init__(self, index: Index, files: FileStore, config: Callable[[], AgentsConfig]) -> None:
        self._index = index
        self._files = files
        self._config = config
        self._known: dict[str, tuple[str, ...]] = {}
        """The files that an agent's part of the index was brought up to."""
        self._locks: dict[str, trio.Lock] = {}
        self._writers = trio.CapacityLimiter(1)
        self._readers = trio.CapacityLimiter(_READERS_MAX)

    async def check(self, account_id: str, knowledge: Knowledge) -> None:
        """Whether an account may have an agent that knows these files, as far as their names and
        sizes tell.

        Raises:
            StoredFileNotFoundError: the account has no such file.
            InvalidRequestError: one of them is too large, or all of them are.
        """
        config, total_bytes = self._config(), 0
        for file_id in knowledge.file_ids:
            row = await self._find(account_id, file_id)
            total_bytes += row.size_bytes
            if row.size_bytes > config.knowledge_file_max_bytes:
                raise InvalidRequestError(
                    f"'{row.filename[:100]}' has more than {config.knowledge_file_max_bytes:,} "
                    "bytes, which is what an agent can know of one file.",
                    param=_PARAM,
                )
        if total_bytes > config.knowledge_max_bytes:
            raise InvalidRequestError(
                f"The files have more than {config.knowledge_max_bytes:,} bytes together.",
                param=_PARAM,
            )

    async def learn(self, account_id: str, agent_id: str, knowledge: Knowledge) -> None:
        """Bring the index up to what an agent is to know. A file that is gone is left out.

        Raises:
            UnreadableFileError: a file has no text.
            UnavailableError: files cannot be read now, or the index not be written.
        """
        wanted = knowledge.file_ids
        if self._known.get(agent_id) == wanted:
            return
        lock = self._locks.setdefault(agent_id, trio.Lock())
        try:
            async with lock:
                if self._known.get(agent_id) != wanted:
                    await self._learn(account_id, agent_id, wanted)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._locks.pop(agent_id, None)

    async def look_up(self, agent: Agent, question: str) -> tuple[Cited, ...]:
        """The passages that have most to do with a question, as many as fit, the best first.

        Raises:
            UnavailableError: as `learn`.
        """
        knowledge = agent.definition.knowledge
        if not knowledge.file_ids or not question.strip():
            return ()
        try:
            await self.learn(agent.account_id, agent.agent_id, knowledge)
        except UnreadableFileError as error:  # it was read when it was named
            logger.error("%s: a file cannot be read any more", agent.agent_id)
            raise _unavailable() from error
        limit = min(knowledge.sources_max, self._config().sources_max)
        found = await self._read(
            partial(self._index.search, agent.agent_id, question, limit * _LOOKED_AT)
        )
        rows = await self._rows_of(agent.account_id, {each.file_id for each in found})
        return _fitting(found, rows, limit, knowledge.context_tokens)

    async def forget(self, agent_id: str, knowledge: Knowledge) -> None:
        """An agent is no more. What cannot be removed now is with the next start."""
        if knowledge.file_ids:
            await self._forget(agent_id)

    async def _forget(self, agent_id: str) -> None:
        self._known.pop(agent_id, None)
        try:
            await self._write(partial(self._index.forget, agent_id))
        except UnavailableError:
            logger.warning("%s: its index stays until the next start", agent_id)

    async def prune(self, ask: Callable[[], Awaitable[Collection[str]]]) -> None:
        """Remove what is of other agents than those there are."""
        if found := await self._read(self._index.agents):
            there = await ask()
            for agent_id in found:
                if agent_id not in there:
                    await self._forget(agent_id)

    # ---- within -------------------------------------------------------------------------------

    async def _learn(self, account_id: str, agent_id: str, wanted: Sequence[str]) -> None:
        has = await self._read(partial(self._index.files_of, agent_id))
        missing = [file_id for file_id in wanted if file_id not in has]
        for file_id in missing:
            try:
                row = await self._find(account_id, file_id)
            except StoredFileNotFoundError:
                continue
            data = await self._files.read(row)
            await self._write(partial(self._add, agent_id, row, data))
        if unwanted := has - set(wanted):
            await self._write(partial(self._index.drop, agent_id, unwanted))
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[agent_id] = tuple(wanted)

    def _add(self, agent_id: str, row: FileRow, data: bytes) -> None:
        """In a thread."""
        text = text_of(data, row.mime_type, row.filename)
        self._index.add(agent_id, row.file_id, passages_of(text))

    async def _find(self, account_id: str, file_id: str) -> FileRow:
        try:
            return await self._files.find(account_id, file_id)
        except StoredFileNotFoundError as error:
            error.param = _PARAM
            raise

    async def _rows_of(self, account_id: str, file_ids: Collection[str]) -> dict[str, FileRow]:
        rows = {}
        for file_id in file_ids:
            row = await self._files.ledger.find_file(account_id, file_id)
            if row is not None:
                rows[file_id] = row
        return rows

    async def _read(self, ask: Callable[[], T]) -> T:
        return await _in_thread(ask, self._readers)

    async def _write(self, change: Callable[[], None]) -> None:
        await _in_thread(change, self._writers)


@asynccontextmanager
async def open_knowledge(
    path: Path,
    files: FileStore,
    config: Callable[[], AgentsConfig],
    agent_ids: Callable[[], Awaitable[Collection[str]]],
) -> AsyncIterator[KnowledgeBook]:
    """The index at a path, for the block, without what agents knew that are no more. One that
    cannot be used is no reason not to start."""
    index = Index(path)
    try:
        book = KnowledgeBook(index, files, config)
        with suppress(UnavailableError):
            await book.prune(agent_ids)
        yield book
    finally:
        index.close()


def _fitting(
    found: Sequence[Found], rows: dict[str, FileRow], limit: int, context_tokens: int
) -> tuple[Cited, ...]:
    """Those of files that are still there, within the budget."""
    sources: list[Cited] = []
    left = context_tokens
    for each in found:
        row, passage = rows.get(each.file_id), each.passage
        if row is None or len(sources) >= limit:
            continue
        tokens = _HEADING_TOKENS + len(passage.text.encode()) // _BYTES_PER_TOKEN
        if tokens <= left:
            left -= tokens
            number = len(sources) + 1
            place = (passage.number, passage.start, passage.end)
            sources.append(Cited(number, row.file_id, row.filename, *place, passage.text))
    return tuple(sources)


async def _in_thread(work: Callable[[], T], limiter: trio.CapacityLimiter) -> T:
    try:
        return await trio.to_thread.run_sync(work, limiter=limiter)
    except (sqlite3.Error, OSError) as error:
        logger.error("the index of what agents know fails: %s", type(error).__name__)
        raise _unavailable() from error


def _unavailable() -> UnavailableError:
    return UnavailableError("What the agent knows cannot be looked up now.", retry_after_s=5)


_PARAM: Final = "knowledge.file_ids"
