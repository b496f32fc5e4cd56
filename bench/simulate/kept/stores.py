"""Vector stores and their files as objects, before anybody asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.simulate.courses import Course
from bench.simulate.directives import Directives
from bench.simulate.kept.shelf import Kept, Shelf


@dataclass(slots=True)
class StoreFile:
    """What is known of a file of a store besides: how far it is, and what batch it came in."""

    course: Course
    batch: str | None


def new_store(
    shelf: Shelf, key: str, values: Mapping[str, Any], told: Directives | None = None
) -> Kept:
    """One more, with its files, which take their time as told."""
    value: dict[str, Any] = {
        "id": shelf.new_id("vs_"),
        "object": "vector_store",
        "created_at": 0,
        "name": values.get("name"),
        "description": values.get("description"),
        "usage_bytes": 0,
        "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0},
        "status": "completed",
        "expires_after": values.get("expires_after"),
        "expires_at": None,
        "last_active_at": 0,
        "metadata": values.get("metadata", {}),
    }
    told = told or Directives()
    kept = shelf.add("vector_store", key, value, more=told)
    value["created_at"] = value["last_active_at"] = kept.created_at
    chunking = {name: values[name] for name in ("chunking_strategy",) if name in values}
    for file_id in values.get("file_ids", ()):
        add_file(shelf, kept, {"file_id": file_id, **chunking}, told)
    return kept


def add_file(
    shelf: Shelf, store: Kept, values: Mapping[str, Any], told: Directives, batch: str | None = None
) -> Kept:
    """A file of it, by the id of the file that it is made from."""
    value = {
        "id": values["file_id"],
        "object": "vector_store.file",
        "usage_bytes": 0,
        "created_at": store.created_at,
        "vector_store_id": store.object_id,
        "status": "in_progress",
        "last_error": None,
        "attributes": values.get("attributes", {}),
        "chunking_strategy": values.get(
            "chunking_strategy",
            {
                "type": "static",
                "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
            },
        ),
    }
    return shelf.add(
        "vector_store_file",
        store.key,
        value,
        parent=store.object_id,
        more=StoreFile(Course(directives=told), batch),
        object_id=within(store.object_id, value["id"]),
    )


def within(store_id: str, file_id: str) -> str:
    """What a file of a store is kept by: the same file may be in several."""
    return f"{store_id}/{file_id}"
