"""What a configuration can say of how a provider is asked for jobs: `[providers.X.jobs.video]`,
`[providers.X.jobs.music]`; and the `JobSpec` that comes of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

from engine.job import MADE_KINDS, JobSpec, MadeKind
from engine.protocols.jobs.places import is_place
from engine.protocols.jobs.specs import GENERATIONS_DIALECT, KNOWN, KnownSpec
from engine.toml import Keys, TableReader
from engine.usage import MoreUnit

KINDS: Final = MADE_KINDS
_Told: TypeAlias = Literal["submitted", "running", "succeeded", "failed", "cancelled"]

FIELDS: Final[Mapping[MadeKind, frozenset[str]]] = {
    "video": frozenset(
        {
            "model", "prompt", "image", "seed", "n", "seconds", "size", "aspect_ratio",
            "resolution", "negative_prompt", "audio",
        }
    ),
    "music": frozenset(
        {
            "model", "prompt", "seed", "n", "seconds", "lyrics", "instrumental", "format",
            "negative_prompt",
        }
    ),
}  # fmt: skip
"""What a client can say, by the names of the gateway's own endpoints."""
UNITS: Final[Mapping[str, tuple[MoreUnit, int]]] = {
    "seconds": ("milliseconds", 1_000),
    "milliseconds": ("milliseconds", 1),
    "clips": ("clips", 1),
}
"""The configuration's names of what a provider counts, and how many of ours one is."""

_TYPES: Final[Mapping[MadeKind, str]] = {"video": "video/mp4", "music": "audio/mpeg"}
_is_path = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?{}-]{0,499}").fullmatch
_CANCEL = re.compile(r"(POST|DELETE) (/\S*)")
_HOLE = re.compile(r"\{([^{}]*)\}")
_is_type = re.compile(r"(?:video|audio|image|application)/[a-z0-9.+-]{1,60}").fullmatch
_is_word = re.compile(r"[a-z][a-z0-9_]{0,31}").fullmatch
_is_header = re.compile(r"[A-Za-z0-9-]{1,64}").fullmatch
_HEADERS_OF_OURS: Final = frozenset(
    {
        "authorization", "connection", "content-length", "content-type", "host", "te",
        "transfer-encoding", "upgrade", "x-api-key", "x-goog-api-key", "api-key",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobSpecConfig:
    """See `engine.job.JobSpec`, whose fields these are; places and paths are checked.

    Attributes:
        like: a dialect that is known, which stands for what is left out.
        units: places of what was consumed, by `UNITS`' names.
        cancel: method and path, `POST /jobs/{id}/cancel`.
    """

    like: KnownSpec | None = None
    dialect: str | None = None
    submit: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    as_text: frozenset[str] = frozenset()
    image_as: Literal["data_url", "object", "form"] | None = None
    id: str | None = None
    poll: str | None = None
    keeps_slashes: bool | None = None
    state: str | None = None
    states: Mapping[str, _Told] = field(default_factory=dict)
    pending_status: int | None = None
    failed_if: str | None = None
    error_code: str | None = None
    error_message: tuple[str, ...] = ()
    progress: str | None = None
    results: tuple[str, ...] = ()
    results_need_key: bool | None = None
    result_type: str | None = None
    content: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    cancel: str | None = None
    remix: str | None = None
    remixed_from: str | None = None
    recover: Literal["resubmit", "list"] | None = None
    idempotency_header: str | None = None
    listed: str | None = None
    list_items: str | None = None
    list_match: Mapping[str, str] = field(default_factory=dict)


def job_spec_of(kind: MadeKind, said: JobSpecConfig) -> JobSpec:
    """What a table that has been checked comes to."""
    values: dict[str, Any] = {
        each.name: value
        for each in dataclasses.fields(said)
        if each.name not in ("like", "units", "cancel")
        and (value := getattr(said, each.name)) not in (None, {}, (), frozenset())
    }
    if said.units:
        values["units"] = {
            UNITS[name][0]: (place, UNITS[name][1]) for name, place in said.units.items()
        }
    if said.cancel is not None:
        method, _, path = said.cancel.partition(" ")
        values["cancel"] = (method, path)
    if said.like is not None:
        return dataclasses.replace(KNOWN[said.like], **values)
    return JobSpec(**{"dialect": GENERATIONS_DIALECT, "result_type": _TYPES[kind]} | values)


def check_job_specs(name: str, said: Mapping[str, JobSpecConfig], reader: TableReader) -> None:
    """The jobs of a provider. Raises ConfigError, with the line."""
    path: Keys = ("providers", name, "jobs")
    for word in said:
        if word not in KINDS:
            raise reader.error((*path, word), f"is no kind of jobs{reader.suggestion(word, KINDS)}")
    for kind in KINDS:
        if kind in said:
            _check(kind, said[kind], (*path, kind), reader)


def _check(kind: MadeKind, spec: JobSpecConfig, path: Keys, reader: TableReader) -> None:
    if spec.like is None:
        for needed in ("submit", "fields", "id", "poll", "state", "states"):
            if not getattr(spec, needed):
                raise reader.error(path, f"needs '{needed}', or 'like' a dialect that is known")
        if not (spec.results or spec.content):
            raise reader.error(path, "needs 'results' or 'content': where what it makes is found")
    for check in (_check_paths, _check_places, _check_fields, _check_results, _check_recovery):
        for key, problem in check(kind, spec):
            raise reader.error((*path, *key), problem)


Problem: TypeAlias = tuple[Keys, str]
"""What is wrong behind a table's own keys."""


def _check_paths(kind: MadeKind, spec: JobSpecConfig) -> Iterator[Problem]:
    if spec.cancel is not None and not _CANCEL.fullmatch(spec.cancel):
        yield ("cancel",), 'must be a method and a path: "POST /jobs/{id}/cancel"'
    if spec.remix is not None and kind != "video":
        yield ("remix",), "is of videos only"
    cancel = None if spec.cancel is None else spec.cancel.partition(" ")[2]
    for key, value, holes, needed in (
        ("submit", spec.submit, {"model"}, ""),
        ("poll", spec.poll, {"model", "id"}, "id"),
        ("content", spec.content, {"model", "id", "variant"}, "id"),
        ("cancel", cancel, {"model", "id"}, "id"),
        ("remix", spec.remix, {"model", "id"}, "id"),
        ("listed", spec.listed, {"model"}, ""),
    ):
        if value is None:
            continue
        found = _HOLE.findall(value)
        if not _is_path(value) or ".." in value or "//" in value or "}" in _HOLE.sub("", value):
            yield (key,), "must be a path behind the base URL, such as '/jobs/{id}'"
        if unknown := [hole for hole in found if hole not in holes]:
            known = ", ".join(f"'{{{hole}}}'" for hole in sorted(holes))
            yield (key,), f"has '{{{unknown[0]}}}', which nothing fills in; there is {known}"
        if needed and needed not in found:
            yield (key,), f"must have '{{{needed}}}' in it"


def _check_places(kind: MadeKind, spec: JobSpecConfig) -> Iterator[Problem]:
    for key in ("id", "state", "failed_if", "error_code", "progress", "list_items", "remixed_from"):
        value = getattr(spec, key)
        if value is not None and not is_place(value):
            yield (key,), _NO_PLACE
    for key in ("error_message", "results"):
        for value in getattr(spec, key):
            if not is_place(value, several=True):
                yield (key,), f"has '{value[:60]}': each {_NO_PLACE}"
    for key in ("fields", "units"):
        for name, value in getattr(spec, key).items():
            if not is_place(value):
                yield (key, name), _NO_PLACE
    for key in ("constants", "list_match"):
        for value in getattr(spec, key):
            if not is_place(value):
                yield (key, value), f"is named by its place, which {_NO_PLACE}"
    if spec.pending_status is not None and not 200 < spec.pending_status < 500:
        yield ("pending_status",), "must be a status of HTTP from 201 to 499"


_NO_PLACE: Final = "must be names and indexes with dots between, such as 'data.0.id'"


def _check_fields(kind: MadeKind, spec: JobSpecConfig) -> Iterator[Problem]:
    for name in spec.fields:
        if name not in FIELDS[kind]:
            yield (
                ("fields", name),
                "is nothing that a client can say" + TableReader.suggestion(name, FIELDS[kind]),
            )
    if spec.fields and not {"prompt", "lyrics"} & spec.fields.keys():
        yield ("fields",), "needs a place for the 'prompt'"
    places = sorted(place.split(".") for place in (*spec.fields.values(), *spec.constants))
    for before, after in pairwise(places):
        if after[: len(before)] == before:
            yield ("fields",), f"and 'constants' put two things at '{'.'.join(before)}'"
    for name in sorted(spec.as_text):
        if spec.fields and name not in spec.fields:
            yield ("as_text",), f"names '{name}', which has no place in 'fields'"
    if spec.image_as == "form" and "." in spec.fields.get("image", ""):
        yield ("fields", "image"), "must be the name of a form's file, without dots"
    for name in spec.units:
        if name not in UNITS:
            yield ("units", name), "is no unit of ours" + TableReader.suggestion(name, UNITS)


def _check_results(kind: MadeKind, spec: JobSpecConfig) -> Iterator[Problem]:
    if spec.result_type is not None and not _is_type(spec.result_type):
        yield ("result_type",), "must be a media type, such as 'video/mp4'"
    for name, value in spec.variants.items():
        if not _is_word(name):
            yield ("variants", name), "must be a word in lower case"
        if not _is_type(value):
            yield ("variants", name), "must be a media type, such as 'video/mp4'"
    if spec.variants and spec.content is None and spec.like is None:
        yield ("variants",), "are of 'content', which is not there"
    if spec.content is not None and "{variant}" in spec.content and not spec.variants:
        yield ("content",), "has '{variant}', and there are no 'variants'"


def _check_recovery(kind: MadeKind, spec: JobSpecConfig) -> Iterator[Problem]:
    header = spec.idempotency_header
    if header is not None and (not _is_header(header) or header.lower() in _HEADERS_OF_OURS):
        yield ("idempotency_header",), "must be the name of a header that nothing else has"
    if spec.recover == "resubmit" and header is None and spec.like is None:
        yield ("recover",), "by another submit needs an 'idempotency_header'"
    if spec.recover == "list" and spec.like is None:
        for needed in ("listed", "list_items", "list_match"):
            if not getattr(spec, needed):
                yield ("recover",), f"by a list needs '{needed}'"
    for place, name in spec.list_match.items():
        if name not in FIELDS[kind] | {"created_at"}:
            yield ("list_match", place), f"names '{name}', which nobody says"
