"""Jobs: what a provider makes after it has answered, as plain values.

`JobSpec` is how one kind of provider is spoken to about them, as data: a row here, or a table of
the configuration. `engine.protocols.jobs` reads and writes by it, `engine.jobs` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from engine.owned import Kept
from engine.usage import MoreUnit, Usage

MadeKind = Literal["video", "music"]
"""What is made of media is the gateway's own to show."""
JobKind = Literal["video", "music", "response", "run", "batch", "fine_tune"]
"""The others have ids and views of their provider's, and are only followed here, until they are
settled."""
FOLLOWED_MAX_S: Final = 86_400.0
"""So long a provider takes at most for what it answers in the background."""
MADE_KINDS: Final[tuple[MadeKind, ...]] = get_args(MadeKind)
JobState = Literal["submitted", "running", "succeeded", "failed", "expired", "cancelled"]
"""`submitted` is also what a provider has not taken up yet, as far as we know."""

NEXT: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        "submitted": frozenset({"running", "succeeded", "failed", "expired", "cancelled"}),
        "running": frozenset({"succeeded", "failed", "expired", "cancelled"}),
        "expired": frozenset({"succeeded", "failed"}),  # known late, and settled all the same
        "succeeded": frozenset(),
        "failed": frozenset(),
        "cancelled": frozenset(),
    }
)
"""The state machine: what may follow what. Who is told of another move ignores it."""
ENDED: Final = frozenset[JobState]({"succeeded", "failed", "expired", "cancelled"})
"""Where a client asks no more."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job has failed, in words that a client may see."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """One thing that a job has made, where its provider keeps it.

    Attributes:
        url: absolute; or behind the provider's base URL, where it begins with a slash.
        needs_key: it is fetched with the provider's credential, which never leaves its origin.
        variant: which of several forms of the same thing (`video`, `thumbnail`; `audio`).
    """

    url: str = field(repr=False)
    content_type: str = "video/mp4"
    needs_key: bool = False
    variant: str = "video"


@dataclass(frozen=True, slots=True)
class JobSum:
    """What a job comes to that is many requests: each has been priced by itself, in nanodollars."""

    price_nanodollars: int
    cost_nanodollars: int


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a provider says of a job.

    Attributes:
        progress: in percent.
        units: what it has consumed, where the provider says so.
        usage: the same of what is charged as an answer is, by all of its rates; then `units` say
            nothing. It is charged whatever state the job has ended in.
        service_tier: how it was served, in `Begin`'s words, where the provider says so.
        sum: what `usage` comes to, where that is not one request's; None: by the rates.
        flags: for the receipt.
        files: of the account, made of the results.
        kept: what the provider keeps of it, to be named by later requests.
    """

    state: JobState
    progress: int | None = None
    error: JobError | None = None
    results: tuple[JobResult, ...] = ()
    units: Mapping[MoreUnit, int] = field(default_factory=dict)
    usage: Usage | None = None
    service_tier: str | None = None
    sum: JobSum | None = None
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class JobSpec:
    """How a kind of provider is spoken to about jobs of one kind.

    A place is a path into JSON: names and indexes with dots between; `*` is each of a list
    (`response.samples.*.video.uri`). Paths of HTTP stand behind the provider's base URL; `{model}`,
    `{id}` and `{variant}` in them are filled in, quoted.

    Attributes:
        dialect: its name; a client's fields that we do not know pass to a provider of the client's
            own dialect only.
        submit: the path of the `POST`.
        fields: where each of `JobOptions`'s and `prompt`, `image`, `model`, `seed`, `n` goes.
        constants: what else stands in the body, by place.
        as_text: fields that are numbers here and texts there (OpenAI's `seconds`).
        image_as: `data_url`, or the client's own URL; `object` (`{mimeType, bytesBase64Encoded}`,
            Veo's); `form` makes the body a form with a file.
        id: the place of the provider's id in its answer.
        poll: the path of the `GET`; its id may hold slashes where it `keeps_slashes`.
        state: the place of the word for the state; `states` says what each means. A word that is
            not there leaves the state as it was.
        pending_status: of a poll that has nothing to say yet (xAI's 202).
        failed_if: a place: what stands there is an error, whatever the state.
        error_code: a place.
        error_message: places; the first that something stands at counts.
        results: places of URLs. A success without any has failed, where there is no `content`.
        content: a path that gives the thing itself, for a provider that names no URL.
        variants: the forms that `content` gives, with their types.
        units: places of what was consumed, and how many of the unit one of theirs is.
        cancel: method and path; None: it cannot be cancelled there.
        remix: the path of the `POST` that makes another one of the finished one `{id}`, by a new
            prompt alone; None: nobody does that there.
        remixed_from: the place of the id of what one was made of, in an item of `listed`; None: a
            lost submit of that kind is not looked for there.
        recover: how a submit is found again whose answer was lost: `resubmit`, with the same
            `idempotency_header`; `list`, at the path `listed`, whose `list_items` are matched by
            `list_match` (place in the item → field), and time; None: it is lost.
    """

    dialect: str
    submit: str
    fields: Mapping[str, str]
    id: str
    poll: str
    state: str
    states: Mapping[str, JobState]
    constants: Mapping[str, Any] = field(default_factory=dict)
    as_text: frozenset[str] = frozenset()
    image_as: Literal["data_url", "object", "form"] = "data_url"
    keeps_slashes: bool = False
    pending_status: int | None = None
    failed_if: str | None = None
    error_code: str | None = None
    error_message: tuple[str, ...] = ()
    progress: str | None = None
    results: tuple[str, ...] = ()
    results_need_key: bool = False
    result_type: str = "video/mp4"
    content: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[MoreUnit, tuple[str, int]] = field(default_factory=dict)
    cancel: tuple[Literal["POST", "DELETE"], str] | None = None
    remix: str | None = None
    remixed_from: str | None = None
    recover: Literal["resubmit", "list"] | None = None
    idempotency_header: str | None = None
    listed: str | None = None
    list_items: str | None = None
    list_match: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSource:
    """A job that has succeeded, and that another is to be made of: found by the gateway among those
    of the account, and never read from a request.

    Attributes:
        model: its public name.
        provider, upstream_model, credential, provider_job_id: who has it; see `JobAcceptance`.
        units, most, tier: what it came to, what was held for at most, and what a piece of it was
            priced by: what is made of it is as long and as large.
        params: what says in its views how long and how large it is.
    """

    job_id: str
    account_id: str
    model: str
    provider: str
    upstream_model: str
    credential: str
    provider_job_id: str
    units: Mapping[MoreUnit, int] = field(default_factory=dict)
    most: Mapping[MoreUnit, int] = field(default_factory=dict)
    tier: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What is to be made of a prompt, in nobody's spelling. What is None was not said.

    Attributes:
        seconds: how long.
        size: `WIDTHxHEIGHT` in pixels.
        aspect_ratio: `16:9`.
        resolution: `720p`.
        extra: fields of the client's own dialect that we do not know.
        source: it is made of that one, and is as that is but for what the prompt says.
    """

    kind: MadeKind
    seconds: int | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    negative_prompt: str | None = None
    lyrics: str | None = None
    instrumental: bool | None = None
    audio: bool | None = None
    format: str | None = None
    dialect: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    source: JobSource | None = None


@dataclass(frozen=True, slots=True)
class JobAsk:
    """What a request says of the job that it asks for, for us and not for the provider.

    Attributes:
        params: what its views are made with: the client's own fields, without media; bounded.
        store_result: what it makes becomes a file of the account.
        webhook_url: who is told how it ended.
        source: it is to be made of that one.
        timeout_s: nothing is expected of it later; None: as `[jobs] timeout_s` says.
    """

    kind: JobKind
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    store_result: bool = False
    webhook_url: str | None = field(default=None, repr=False)
    source: JobSource | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """The event of a submit's answer: the provider has taken the job, and calls it so."""

    provider_job_id: str
    report: JobReport
    choice: int = 0


def job_id_of(request_id: str) -> str:
    """The id of the job that a request asks for: known before anything is sent.

    >>> job_id_of("req_0123abc")
    'job_0123abc'
    """
    return f"job_{request_id.removeprefix('req_')}"


def bare_job_id(shown: str) -> str:
    """The tail of an id, however a client's protocol spells it.

    >>> bare_job_id("video_0123abc"), bare_job_id("job_0123abc")
    ('0123abc', '0123abc')
    """
    return shown.partition("_")[2] or shown
