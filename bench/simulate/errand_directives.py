"""The directives of files and of jobs, as rows of the table in `directives`.

Those of files are told for the names of their calls (`files.upload`; see `errands`), since an
upload has no prompt; those of jobs stand in the prompt as ever.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from bench.simulate.directive_values import (
    Directive,
    choice,
    decimal,
    flag,
    integer,
    optional,
    word,
)

JobEnd = Literal["succeeded", "failed", "expired", "blocked", "cancelled", "lost", "never"]
CancelKind = Literal["done", "ignored", "refused"]

_DAY_S: Final = 86_400.0
_POLLS = integer(0, 1_000_000)
_ANY_S = decimal(0.0, 30 * _DAY_S)
_STATUS = integer(400, 599)
_HOSTED = integer(0, 16)
_FAULTS: Final = ("cut", "rst", "stall", "eof", "cut_body", "html", "error_ok")
_ENDS: Final[tuple[str, ...]] = get_args(JobEnd)
_CANCELS: Final[tuple[str, ...]] = get_args(CancelKind)

ERRAND_DIRECTIVES: Final[tuple[Directive, ...]] = (
    Directive(
        "file_s",
        optional(_ANY_S),
        "seconds|none",
        "how long an uploaded file is kept; none: as the API does, Gemini's 48 hours",
    ),
    Directive("file_polls", _POLLS, "0…1000000", "Gemini: polls that find a file in processing"),
    Directive("file_fails", flag, "0|1", "Gemini: processing ends with FAILED"),
    Directive("run_polls", _POLLS, "0…1000000", "polls of a job that find it still waiting"),
    Directive("run_s", _ANY_S, "seconds", "how long a job waits at least"),
    Directive("end_polls", _POLLS, "0…1000000", "polls that find it not at its end"),
    Directive("end_s", _ANY_S, "seconds", "how long it takes at least, from its submit"),
    Directive(
        "job",
        choice(*_ENDS),
        "|".join(_ENDS),
        "how it ends; blocked is a failure by moderation, lost is that the provider knows no such "
        "job from its end on; a word that an API lacks is its failure",
    ),
    Directive("job_code", optional(word), "NAME|none", "of its failure"),
    Directive(
        "late_polls",
        optional(_POLLS),
        "0…1000000|none",
        "after so many polls that found it ended otherwise it has succeeded after all",
    ),
    Directive(
        "progress", optional(integer(0, 100)), "0…100|none", "while it runs; none: by its polls"
    ),
    Directive("poll_retry_after", optional(decimal(0.0, _DAY_S)), "seconds|none", "of every poll"),
    Directive(
        "poll_errors", _POLLS, "0…1000000", "polls that fail first; they are not counted as polls"
    ),
    Directive("poll_status", _STATUS, "400…599", "how they fail"),
    Directive(
        "poll_fault",
        optional(choice(*_FAULTS)),
        "|".join((*_FAULTS, "none")),
        "how they fail, in place of a status",
    ),
    Directive("result_errors", _POLLS, "0…1000000", "fetches of a result that fail first"),
    Directive("result_status", _STATUS, "400…599", "how they fail"),
    Directive(
        "result_fault",
        optional(choice(*_FAULTS)),
        "|".join((*_FAULTS, "none")),
        "how they fail, in place of a status",
    ),
    Directive(
        "told_seconds",
        optional(integer(0, 86_400)),
        "0…86400|none",
        "the length that a job reports, and that its result has; none: as it was asked for",
    ),
    Directive("told_size", optional(word), "WIDTHxHEIGHT|none", "the same of its size"),
    Directive(
        "cancel",
        choice(*_CANCELS),
        "|".join(_CANCELS),
        "what comes of cancelling: ignored is confirmed, but the job goes on",
    ),
    Directive(
        "told_bytes",
        optional(integer(0, 1 << 50)),
        "0…1125899906842624|none",
        "vector_stores.create: what the store says that it takes; none: twice its files",
    ),
    Directive("codes", _HOSTED, "0…16", "runs, responses: calls of a declared code interpreter"),
    Directive("searches", _HOSTED, "0…16", "the same of a declared search of files"),
    Directive("pictures", _HOSTED, "0…16", "files that the code has drawn, each shown in a run"),
)
