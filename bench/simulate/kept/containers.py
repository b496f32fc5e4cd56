"""OpenAI's containers of its code interpreter, and the files in them."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import parse_qs

from bench.simulate.dialect import Dialect
from bench.simulate.errands import Told, Visit, json_told
from bench.simulate.errors import ApiError
from bench.simulate.files import FileShelf
from bench.simulate.forms import read_form, required
from bench.simulate.kept.agent_shapes import check_named, checked
from bench.simulate.kept.desk import At, KeptDesk, Way, not_found, page_told
from bench.simulate.kept.shelf import Kept, Shelf
from bench.simulate.openai_files import the_file
from bench.simulate.operation import read_json
from bench.simulate.shapes import MAPPING, TEXT, array, integer, literal, record, text

IDLE_MINUTES: Final = 20
CONTAINER: Final = record(
    {
        "name": text(low=1),
        "expires_after": record(
            {"anchor": literal("last_active_at"), "minutes": integer(1, 20)}, "minutes"
        ),
        "file_ids": array(TEXT),
        "memory_limit": literal("1g", "4g", "16g", "64g"),
        "network_policy": MAPPING,
        "skills": array(MAPPING),
    },
    "name",
)
FILE: Final = record({"file_id": TEXT}, "file_id")


class ContainerDesk(KeptDesk):
    """The desk of containers."""

    def __init__(self, shelf: Shelf, files: FileShelf, dialect: Dialect) -> None:
        one, name = "/v1/containers/{container_id}", "containers"
        file = f"{one}/files/{{file_id}}"
        ways = (
            Way("POST", "/v1/containers", f"{name}.create", self._create),
            Way("GET", "/v1/containers", f"{name}.list", self._list),
            Way("GET", one, f"{name}.get", self._get),
            Way("DELETE", one, f"{name}.delete", self._delete),
            Way("POST", f"{one}/files", f"{name}.files.create", self._create_file),
            Way("GET", f"{one}/files", f"{name}.files.list", self._list_files),
            Way("GET", file, f"{name}.files.get", self._get_file),
            Way("DELETE", file, f"{name}.files.delete", self._delete_file),
            Way("GET", f"{file}/content", f"{name}.files.content", self._content),
        )
        super().__init__(shelf, dialect, ways)
        self._files = files

    def _create(self, visit: Visit, _at: At) -> Told:
        values = checked(CONTAINER, read_json(visit.request.body))
        check_named(self._shelf, self._files, visit.key, values)
        kept = new_container(self._shelf, visit.key, self._shelf.new_id("cntr_"), values)
        for file_id in values.get("file_ids", ()):
            self._copy(kept, file_id)
        return json_told(kept.value)

    def _list(self, visit: Visit, _at: At) -> Told:
        containers = self._shelf.of("container", visit.key)
        wanted = parse_qs(visit.request.query).get("name")
        found = [one for one in containers if wanted is None or one.value["name"] == wanted[0]]
        return page_told(found, visit)

    def _get(self, visit: Visit, at: At) -> Told:
        return json_told(self._container(visit, at).value)

    def _delete(self, visit: Visit, at: At) -> Told:
        kept = self._container(visit, at)
        for file in self._shelf.of("container_file", visit.key, kept.object_id):
            self._shelf.drop(file)
        self._shelf.drop(kept)
        return json_told({"id": kept.object_id, "object": "container.deleted", "deleted": True})

    def _create_file(self, visit: Visit, at: At) -> Told:
        kept = self._container(visit, at)
        if visit.request.headers.get(b"content-type", b"").startswith(b"application/json"):
            values = checked(FILE, read_json(visit.request.body))
            check_named(self._shelf, self._files, visit.key, values)
            return json_told(self._copy(kept, values["file_id"]).value)
        form = read_form(visit.request)
        required(form, "file")
        part = the_file(form)
        made = new_file(
            self._shelf, kept, self._shelf.new_id("cfile_"), part.filename or "", bytes(part.data)
        )
        return json_told(made.value)

    def _list_files(self, visit: Visit, at: At) -> Told:
        kept = self._container(visit, at)
        return page_told(self._shelf.of("container_file", visit.key, kept.object_id), visit)

    def _get_file(self, visit: Visit, at: At) -> Told:
        return json_told(self._file(visit, at).value)

    def _delete_file(self, visit: Visit, at: At) -> Told:
        file = self._file(visit, at)
        self._shelf.drop(file)
        deleted = {"id": file.object_id, "object": "container.file.deleted", "deleted": True}
        return json_told(deleted)

    def _content(self, visit: Visit, at: At) -> Told:
        kind = (b"content-type", b"application/octet-stream")
        return Told(self._file(visit, at).more, [kind])

    def _copy(self, container: Kept, file_id: str) -> Kept:
        source = self._files.find("openai", container.key, file_id)
        assert source is not None, "it was looked for"
        own_id = self._shelf.new_id("cfile_")
        return new_file(self._shelf, container, own_id, source.filename, source.data)

    def _container(self, visit: Visit, at: At) -> Kept:
        kept = self._shelf.find("container", visit.key, at["container_id"])
        if kept is None:
            raise not_found("Container", at["container_id"])
        kept.value["last_active_at"] = int(time.time())
        return kept

    def _file(self, visit: Visit, at: At) -> Kept:
        container = self._container(visit, at)
        file = self._shelf.find("container_file", visit.key, at["file_id"], container.object_id)
        if file is None:
            raise ApiError(
                f"Container file with id '{at['file_id']}' not found in container "
                f"'{container.object_id}'.",
                status=404,
            )
        return file


def new_container(shelf: Shelf, key: str, container_id: str, values: dict[str, Any]) -> Kept:
    """A container without files."""
    now = int(time.time())
    value = {
        "id": container_id,
        "object": "container",
        "created_at": now,
        "status": "running",
        "expires_after": values.get("expires_after")
        or {"anchor": "last_active_at", "minutes": IDLE_MINUTES},
        "last_active_at": now,
        "memory_limit": values.get("memory_limit", "1g"),
        "name": values.get("name", "auto"),
    }
    return shelf.add("container", key, value)


def new_file(
    shelf: Shelf,
    container: Kept,
    file_id: str,
    filename: str,
    data: bytes,
    source: str = "user",
) -> Kept:
    """A file in one."""
    value = {
        "id": file_id,
        "object": "container.file",
        "created_at": int(time.time()),
        "bytes": len(data),
        "container_id": container.object_id,
        "path": f"/mnt/data/{filename}",
        "source": source,
    }
    return shelf.add("container_file", container.key, value, parent=container.object_id, more=data)
