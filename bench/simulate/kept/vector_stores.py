"""OpenAI's vector stores: their files, one by one and in batches, and searches by shared words."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.kept.agent_shapes import METADATA, check_named, checked
from bench.simulate.kept.desk import At, KeptDesk, Way, page_told
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.kept.stores import add_file, new_store, within
from bench.simulate.operation import read_json
from bench.simulate.shapes import (
    BOOLEAN,
    MAPPING,
    TEXT,
    array,
    either,
    integer,
    literal,
    nullable,
    record,
    text,
)

FILES_MAX: Final = 500
RESULTS: Final = 10
PASSAGE_CHARS: Final = 800
_EXPIRES: Final = record({"anchor": literal("last_active_at"), "days": integer(1, 365)}, "days")
STORE: Final = record(
    {
        "name": text(high=256),
        "description": TEXT,
        "file_ids": array(TEXT, high=FILES_MAX),
        "chunking_strategy": MAPPING,
        "expires_after": _EXPIRES,
        "metadata": METADATA,
    }
)
STORE_CHANGE: Final = record(
    {"name": text(high=256), "expires_after": _EXPIRES, "metadata": METADATA}
)
_FILE: Final = {"file_id": TEXT, "attributes": MAPPING, "chunking_strategy": MAPPING}
FILE: Final = record(_FILE, "file_id")
FILE_CHANGE: Final = record({"attributes": nullable(MAPPING)}, "attributes")
FILE_BATCH: Final = record(
    {
        "file_ids": array(TEXT, low=1, high=FILES_MAX),
        "files": array(FILE, low=1, high=FILES_MAX),
        "attributes": MAPPING,
        "chunking_strategy": MAPPING,
    }
)
SEARCH: Final = record(
    {
        "query": either(string=text(low=1), array=array(text(low=1), low=1)),
        "filters": MAPPING,
        "max_num_results": integer(1, 50),
        "ranking_options": MAPPING,
        "rewrite_query": BOOLEAN,
    },
    "query",
)
STATES: Final = ("in_progress", "completed", "failed", "cancelled")
_WORD: Final = re.compile(r"\w+")


class VectorStoreDesk(KeptDesk):
    """The desk of vector stores."""

    def __init__(self, shelf: Shelf, files: FileShelf, dialect: Dialect) -> None:
        one = "/v1/vector_stores/{vector_store_id}"
        file, batch = f"{one}/files/{{file_id}}", f"{one}/file_batches/{{batch_id}}"
        name = "vector_stores"
        ways = (
            Way("POST", "/v1/vector_stores", f"{name}.create", self._create),
            Way("GET", "/v1/vector_stores", f"{name}.list", self._list),
            Way("GET", one, f"{name}.get", self._get),
            Way("POST", one, f"{name}.update", self._update),
            Way("DELETE", one, f"{name}.delete", self._delete),
            Way("POST", f"{one}/search", f"{name}.search", self._search, "openai-store-search"),
            Way("POST", f"{one}/files", f"{name}.files.create", self._create_file),
            Way("GET", f"{one}/files", f"{name}.files.list", self._list_files),
            Way("GET", file, f"{name}.files.get", self._get_file),
            Way("POST", file, f"{name}.files.update", self._update_file),
            Way("DELETE", file, f"{name}.files.delete", self._delete_file),
            Way("GET", f"{file}/content", f"{name}.files.content", self._content),
            Way("POST", f"{one}/file_batches", f"{name}.batches.create", self._create_batch),
            Way("GET", batch, f"{name}.batches.get", self._get_batch),
            Way("POST", f"{batch}/cancel", f"{name}.batches.cancel", self._cancel_batch),
            Way("GET", f"{batch}/files", f"{name}.batches.files", self._list_batch),
        )
        super().__init__(shelf, dialect, ways)
        self._files = files

    # -- stores -------------------------------------------------------------------------------

    def _create(self, visit: Visit, _at: At) -> Told:
        values = checked(STORE, read_json(visit.request.body or b"{}"))
        check_named(self._shelf, self._files, visit.key, values)
        return self._shown(new_store(self._shelf, visit.key, values, visit.directives))

    def _list(self, visit: Visit, _at: At) -> Told:
        stores = self._shelf.of("vector_store", visit.key)
        for store in stores:
            self._look(store)
        return page_told(stores, visit)

    def _get(self, visit: Visit, at: At) -> Told:
        store = self._store(visit, at)
        for file in self._files_of(store):
            file.more.course.poll()
        return self._shown(store)

    def _update(self, visit: Visit, at: At) -> Told:
        store = self._store(visit, at)
        store.value |= checked(STORE_CHANGE, read_json(visit.request.body))
        return self._shown(store)

    def _delete(self, visit: Visit, at: At) -> Told:
        store = self._store(visit, at)
        for kind in ("vector_store_file", "vector_store_file_batch"):
            for below in self._shelf.of(kind, visit.key, store.object_id):
                self._shelf.drop(below)
        self._shelf.drop(store)
        deleted = {"id": store.object_id, "object": "vector_store.deleted", "deleted": True}
        return json_told(deleted)

    def _search(self, visit: Visit, at: At) -> Told:
        store = self._store(visit, at)
        values = checked(SEARCH, read_json(visit.request.body))
        asked = values["query"]
        queries = [asked] if isinstance(asked, str) else asked
        wanted = {word.lower() for query in queries for word in _WORD.findall(query)}
        found = []
        for file in self._files_of(store):
            passage = self._text_of(file)[:PASSAGE_CHARS]
            shared = wanted & {word.lower() for word in _WORD.findall(passage)}
            if shared and file.value["status"] == "completed":
                found.append((len(shared) / len(wanted), file, passage))
        found.sort(key=lambda one: -one[0])
        results = [
            {
                "file_id": file.value["id"],
                "filename": self._source(file),
                "score": score,
                "attributes": file.value["attributes"],
                "content": [{"type": "text", "text": passage}],
            }
            for score, file, passage in found[: values.get("max_num_results", RESULTS)]
        ]
        return _page("vector_store.search_results.page", results, search_query=queries)

    def _shown(self, store: Kept) -> Told:
        self._look(store)
        return json_told(store.value)

    def _look(self, store: Kept) -> None:
        files = self._files_of(store)
        used = sum(file.value["usage_bytes"] for file in files)
        told = store.more.told_bytes
        counts = _counts(files)
        store.value |= {
            "file_counts": counts,
            "usage_bytes": used if told is None else told,
            "status": "in_progress" if counts["in_progress"] else "completed",
        }

    # -- files --------------------------------------------------------------------------------

    def _create_file(self, visit: Visit, at: At) -> Told:
        store = self._store(visit, at)
        values = checked(FILE, read_json(visit.request.body))
        check_named(self._shelf, self._files, visit.key, values)
        return json_told(add_file(self._shelf, store, values, visit.directives).value)

    def _list_files(self, visit: Visit, at: At) -> Told:
        return self._page_of(visit, self._files_of(self._store(visit, at)))

    def _page_of(self, visit: Visit, files: Sequence[Kept]) -> Told:
        wanted = parse_qs(visit.request.query).get("filter")
        if wanted is not None and wanted[0] not in STATES:
            raise ApiError(f"Invalid value: '{wanted[0]}'.", param="filter", code="invalid_value")
        chosen = [one for one in files if wanted is None or one.value["status"] == wanted[0]]
        return page_told(chosen, visit)

    def _get_file(self, visit: Visit, at: At) -> Told:
        file = self._file(visit, at)
        file.more.course.poll()
        self._file(visit, at)
        return json_told(file.value)

    def _update_file(self, visit: Visit, at: At) -> Told:
        file = self._file(visit, at)
        values = checked(FILE_CHANGE, read_json(visit.request.body))
        file.value["attributes"] = values["attributes"] or {}
        return json_told(file.value)

    def _delete_file(self, visit: Visit, at: At) -> Told:
        file = self._file(visit, at)
        self._shelf.drop(file)
        deleted = {"id": file.value["id"], "object": "vector_store.file.deleted", "deleted": True}
        return json_told(deleted)

    def _content(self, visit: Visit, at: At) -> Told:
        passages = [{"type": "text", "text": self._text_of(self._file(visit, at))}]
        return _page("vector_store.file_content.page", passages)

    # -- batches ------------------------------------------------------------------------------

    def _create_batch(self, visit: Visit, at: At) -> Told:
        store = self._store(visit, at)
        values = checked(FILE_BATCH, read_json(visit.request.body))
        check_named(self._shelf, self._files, visit.key, values)
        if ("file_ids" in values) == ("files" in values):
            raise ApiError("Exactly one of 'file_ids' and 'files' has to be given.")
        common = {
            name: values[name] for name in ("attributes", "chunking_strategy") if name in values
        }
        files = values.get("files") or [{"file_id": one} for one in values["file_ids"]]
        value: dict[str, Any] = {
            "id": self._shelf.new_id("vsfb_"),
            "object": "vector_store.file_batch",
            "created_at": int(time.time()),
            "vector_store_id": store.object_id,
            "status": "in_progress",
            "file_counts": {},
        }
        batch = self._shelf.add("vector_store_file_batch", visit.key, value, parent=store.object_id)
        for file in files:
            add_file(self._shelf, store, common | file, visit.directives, batch.object_id)
        return self._batch_told(store, batch)

    def _get_batch(self, visit: Visit, at: At) -> Told:
        store, batch = self._batch(visit, at)
        for file in self._files_of(store, batch):
            file.more.course.poll()
        return self._batch_told(store, batch)

    def _cancel_batch(self, visit: Visit, at: At) -> Told:
        store, batch = self._batch(visit, at)
        for file in self._files_of(store, batch):
            file.more.course.cancel()
        return self._batch_told(store, batch)

    def _list_batch(self, visit: Visit, at: At) -> Told:
        return self._page_of(visit, self._files_of(*self._batch(visit, at)))

    def _batch_told(self, store: Kept, batch: Kept) -> Told:
        counts = _counts(self._files_of(store, batch))
        status = "in_progress" if counts["in_progress"] else "completed"
        if counts["cancelled"]:
            status = "cancelled"
        elif counts["failed"] == counts["total"] > 0:
            status = "failed"
        batch.value |= {"file_counts": counts, "status": status}
        return json_told(batch.value)

    # -- finding ------------------------------------------------------------------------------

    def _store(self, visit: Visit, at: At) -> Kept:
        store = self._shelf.find("vector_store", visit.key, at["vector_store_id"])
        if store is None:
            raise _no_store(at["vector_store_id"])
        store.value["last_active_at"] = int(time.time())
        return store

    def _file(self, visit: Visit, at: At) -> Kept:
        store = self._store(visit, at)
        kept_by = within(store.object_id, at["file_id"])
        file = self._shelf.find("vector_store_file", visit.key, kept_by, store.object_id)
        if file is None:
            raise ApiError(
                f"No file found with id '{at['file_id']}' in vector store '{store.object_id}'.",
                status=404,
            )
        self._look_file(file)
        return file

    def _batch(self, visit: Visit, at: At) -> tuple[Kept, Kept]:
        store = self._store(visit, at)
        batch = self._shelf.find(
            "vector_store_file_batch", visit.key, at["batch_id"], store.object_id
        )
        if batch is None:
            raise ApiError(f"No file batch found with id '{at['batch_id']}'.", status=404)
        return store, batch

    def _files_of(self, store: Kept, batch: Kept | None = None) -> list[Kept]:
        """Those of a store, or of one of its batches, as they are now."""
        files = self._shelf.of("vector_store_file", store.key, store.object_id)
        if batch is not None:
            files = [file for file in files if file.more.batch == batch.object_id]
        for file in files:
            self._look_file(file)
        return files

    def _look_file(self, file: Kept) -> None:
        match file.more.course.state():
            case "waiting" | "running":
                return
            case "succeeded":
                source = self._files.find("openai", file.key, file.value["id"])
                size = 0 if source is None else 2 * len(source.data)
                file.value |= {"status": "completed", "usage_bytes": size}
            case "cancelled":
                file.value["status"] = "cancelled"
            case _:
                error = {"code": "unsupported_file", "message": "The file cannot be read."}
                file.value |= {"status": "failed", "last_error": error}

    def _text_of(self, file: Kept) -> str:
        source = self._files.find("openai", file.key, file.value["id"])
        return "" if source is None else source.data.decode(errors="replace")

    def _source(self, file: Kept) -> str:
        source = self._files.find("openai", file.key, file.value["id"])
        return "" if source is None else source.filename


def _no_store(store_id: str) -> ApiError:
    return ApiError(f"Vector store with id '{store_id}' not found.", status=404)


def _counts(files: Sequence[Kept]) -> dict[str, int]:
    counts = {state: sum(one.value["status"] == state for one in files) for state in STATES}
    return counts | {"total": len(files)}


def _page(kind: str, data: list[dict[str, Any]], **more: Any) -> Told:
    page = {"object": kind, **more, "data": data, "has_more": False, "next_page": None}
    return json_told(page)
