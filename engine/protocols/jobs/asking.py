"""What the clients' codecs of jobs share: reading what is asked, and the first answer to it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from engine.conversation import Conversation, FileUse, Media, Part, Text, Turn
from engine.errors import InvalidRequestError
from engine.events import Event, JobAccepted
from engine.job import JobAsk, JobOptions, JobSource, MadeKind, job_id_of
from engine.ledger.job_rows import JobRow, JobView
from engine.media.forms import File
from engine.media.sniff import kind_of
from engine.protocols.codec import ClientRequest, HeldIdError, Identity, StreamEncoder
from engine.protocols.fields import dict_of, is_held_uri, text_of
from engine.protocols.file_refs import StandIns, address_of
from engine.protocols.jobs.views import job_json
from engine.protocols.openai_shared import split_data_url
from engine.protocols.openai_values import flag, string, wrong
from engine.protocols.operation import OperationCodec

PROMPT_MAX_CHARS: Final = 32_768
SECONDS_MAX: Final = 3_600
CLIPS_MAX: Final = 8
_URL_MAX_CHARS: Final = 2_048
_SHOWN_MAX_CHARS: Final = 4_096
_OPTIONS: Final = (
    "seconds", "size", "aspect_ratio", "resolution", "negative_prompt", "lyrics", "instrumental",
    "audio", "format",
)  # fmt: skip
FIELD_NAMES: Final[Mapping[str, str]] = {
    "turns": "prompt",
    "choices": "n",
    **{f"job.{name}": name for name in _OPTIONS},
}
"""`Conversation`'s fields as the gateway's own endpoints spell them."""


class JobsClientCodec(OperationCodec):
    """See `engine.protocols.codec.ClientCodec`; to be completed with `parse_request` and
    `decode_request`, whose answers are shown by `views`."""

    field_names: Mapping[str, str] = FIELD_NAMES

    def prompt_texts(self, request: ClientRequest) -> Iterator[str]:
        """What is to be made; nothing of it is billed by tokens."""
        return iter(())

    def open_encoder(self, request: ClientRequest, identity: Identity) -> StreamEncoder:
        """None asks for a stream."""
        raise AssertionError(f"{self.name} has no streams")

    def encode_response(
        self, events: Sequence[Event], request: ClientRequest, identity: Identity
    ) -> bytes:
        """The job as its provider has taken it."""
        ask = request.job
        assert ask is not None, "it asks for a job"
        accepted = next(event for event in events if isinstance(event, JobAccepted))
        row = JobRow(
            job_id=job_id_of(identity.id),
            request_id=identity.id,
            account_id="",
            key_id=None,
            kind=ask.kind,
            protocol=self.name,
            model=request.model,
            created_at_ms=identity.created * 1_000,
            expires_at_ms=(identity.expires or identity.created) * 1_000,
            params=ask.params,
            store_result=ask.store_result,
        )
        report = accepted.report
        ended = report.state == "failed"
        view = JobView(
            row,
            None,
            report.state,
            row.created_at_ms,
            progress=report.progress,
            error=report.error if ended else None,
        )
        return job_json(view)


def asked(
    codec: str,
    request: ClientRequest,
    kind: MadeKind,
    params: Mapping[str, Any],
    *,
    store_result: bool = False,
    webhook_url: str | None = None,
    source: JobSource | None = None,
) -> ClientRequest:
    """A request with what it says of the job for us; long texts are cut where they are shown."""
    shown = {
        name: value[:_SHOWN_MAX_CHARS] if isinstance(value, str) else value
        for name, value in params.items()
        if value is not None
    }
    ask = JobAsk(kind, shown, store_result, webhook_url, source)
    return replace(request, protocol=codec, job=ask)


def plain_request(
    codec: str,
    kind: MadeKind,
    model: str,
    document: dict[str, Any],
    images: int,
    files: tuple[FileUse, ...] = (),
) -> ClientRequest:
    """A request for a job, in one piece and of no tokens."""
    return ClientRequest(
        protocol=codec,
        model=model,
        stream=False,
        include_usage=True,
        max_output_tokens=None,
        choices=1,
        media={"image": images} if images else {},
        operation=kind,
        document=document,
        files=files,
    )


def prompt_of(document: Mapping[str, Any], *, needed: bool) -> str:
    """What is to be made. Raises InvalidRequestError: nobody says, or at too great a length."""
    value = document.get("prompt")
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or not (value.strip() or not needed):
        raise wrong("prompt", "must be a text that says what is to be made")
    if len(value) > PROMPT_MAX_CHARS:
        raise wrong("prompt", f"may have {PROMPT_MAX_CHARS:,} characters at most")
    return value


def seconds_of(value: object, path: str) -> int | None:
    """A length in whole seconds, also as a text. Raises InvalidRequestError."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 4:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= SECONDS_MAX:
        raise wrong(path, f"must be a whole number of seconds from 1 to {SECONDS_MAX:,}")
    return value


def take_file(value: object, path: str, files: StandIns) -> tuple[FileUse, ...]:
    """The file of the gateway's that a picture's object names; what stands for it, is put in its
    place. Raises InvalidRequestError: it is no picture."""
    written = text_of(dict_of(value).get("file_id"))
    if not written or not isinstance(value, dict):
        return ()
    if (file := files.get(written)) is not None:
        if file.kind != "image":
            raise wrong(f"{path}.file_id", "must be a picture")
        del value["file_id"]
        value["url"] = address_of(file)
    return (FileUse(written, f"{path}.file_id"),)


def image_of(value: object, path: str) -> Media | None:
    """A picture to begin with: a URL, a `data:` URL, or an object with one of them, or with the
    `file_id` of a file of the gateway's.

    Raises:
        InvalidRequestError: it is none.
        HeldIdError: it names a file that lives elsewhere.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        if written := text_of(value.get("file_id")):
            return Media("image", file_id=written)
        url = value.get("url") if value.get("url") is not None else value.get("image_url")
    else:
        url = value
    if not isinstance(url, str) or not url:
        raise wrong(path, "must be the URL of a picture, or an object with its 'url'")
    if url[:5].lower() == "data:":
        mime_type, data = split_data_url(url, path)
        if not mime_type.startswith("image/"):
            raise wrong(path, "must be a picture")
        return Media("image", mime_type, data)
    if is_held_uri(url):
        raise HeldIdError(path)
    if not url.lower().startswith(("https://", "http://")):
        raise wrong(path, "must be a URL of http or https, or one of 'data:'")
    return Media("image", url=url)


def uploaded(file: File) -> Media:
    """A picture that came as a file. Raises InvalidRequestError: it is none."""
    kind = kind_of(file.data) or ""
    if not kind.startswith("image/"):
        raise wrong(file.name, "must be a picture: a PNG, JPEG, WebP or GIF file")
    return Media("image", kind, b64encode(file.data).decode("ascii"))


def conversation_of(
    prompt: str,
    images: Iterable[Media | None],
    options: JobOptions,
    *,
    clips: int = 1,
    seed: int | None = None,
) -> Conversation:
    """The canonical form: one turn of pictures and words."""
    parts: list[Part] = [image for image in images if image is not None]
    parts.append(Text(prompt))
    return Conversation((Turn("user", tuple(parts)),), choices=clips, seed=seed, job=options)


def delivery_of(document: dict[str, Any]) -> tuple[bool, str | None]:
    """Whether the result becomes a file, and who is told. Raises InvalidRequestError."""
    url = string(document, "webhook_url")
    if url is not None:
        if len(url) > _URL_MAX_CHARS or not url.isprintable() or " " in url:
            raise wrong("webhook_url", f"must be a URL of {_URL_MAX_CHARS:,} characters at most")
        if not url.lower().startswith(("https://", "http://")):
            raise InvalidRequestError(
                "'webhook_url' must be a URL of https or http.", param="webhook_url"
            )
    return flag(document, "store_result"), url
