"""A request's way to one deployment, and what comes back.

What of it depends on the two protocols is asked here, but for the body: see `engine.parsing`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from engine.agents.telling import Telling
from engine.clock import Clock
from engine.events import Call, Event, Head
from engine.job import job_id_of
from engine.jobs.keys import submit_key
from engine.metering.pricing import Rates
from engine.metering.tokens import counter_for
from engine.parsing.jobs import Prepared
from engine.protocols.codec import ClientCodec, Identity, Keep
from engine.protocols.file_refs import FILES_BETA
from engine.protocols.jobs.paths import remix_path
from engine.protocols.registry import client_codec, provider_codec, upstream_codec
from engine.relay import Relay, RelaySettings, open_relay
from engine.routing.values import Deployment
from engine.seam import Seam
from engine.transcript import Transcript
from engine.upstream.bodies import Body
from engine.upstream.providers import Provider
from engine.wire.http import Headers

_UNSEEN = re.compile(r"[^!-~]")
_is_sound = re.compile(r"audio/[a-z0-9.+-]{1,40}").fullmatch
_DATA = frozenset({"application/json", "text/event-stream"})
_RESPONSE_MAX_BYTES = 64 * 1024 * 1024


class Passage:
    """One request to one deployment.

    Attributes:
        client, provider_codec: the codecs of the two sides; the same one means verbatim.
        dropped: fields of the client's that were harmlessly left out, in its own spelling.
    """

    def __init__(
        self,
        call: Call,
        prepared: Prepared,
        deployment: Deployment[Rates],
        provider: Provider,
        clock: Clock,
        *,
        transcribed: bool = False,
        seam: Seam | None = None,
        open_telling: Callable[[], Telling] | None = None,
        keep: Keep | None = None,
        job_timeout_s: float = 0.0,
        call_file: Callable[[str], str] | None = None,
    ) -> None:
        """Its answer is `transcribed` where another one may have to go on with it. With a `seam` it
        goes on with an answer itself, and with `open_telling` it is a round of one; then it is
        translated whatever its provider speaks."""
        self.client: ClientCodec = client_codec(call.protocol, call.operation)
        self._translated = seam is not None or open_telling is not None
        self.provider_codec = self._codec_of(provider, deployment)
        self.dropped = prepared.dropped
        self._request_id = call.request_id
        self._sent_headers = call.headers
        self._names_files = bool(prepared.held)
        self._names = {**prepared.called, **call.names}
        self._request = prepared.request
        if keep is not None and prepared.request.demand is not None:
            self._request = replace(prepared.request, keep=keep)
        self._operation = prepared.operation
        self._content_type = prepared.content_type.encode("latin-1", "replace")
        self._deployment = deployment
        self._provider = provider
        self._clock = clock
        self._transcribed = transcribed
        self._seam = seam
        self._open_telling = open_telling
        self._job_timeout_s = job_timeout_s
        self._call_file = call_file

    def _codec_of(self, provider: Provider, deployment: Deployment[Rates]) -> ClientCodec:
        if self._translated:
            return provider_codec(provider.protocol)
        serves = deployment.capabilities.serves
        codec = upstream_codec(self.client.name, provider.protocol, provider.also, serves)
        assert codec is not None, "the request was prepared for it"
        return codec

    @property
    def verbatim(self) -> bool:
        """Both sides speak one protocol, and what one says is the other's as it stands."""
        return self.client is self.provider_codec and not self._translated

    def request_headers(self, body: Body, key: int = 0) -> Headers:
        """The head of the request to the provider, by one of its keys.

        Raises:
            UpstreamRejectedError: there is nothing to sign it with now.
        """
        provider, request, codec = self._provider, self._request, self.provider_codec
        path = provider.path(self._path(), self._deployment.upstream_model)
        sent = self._sent_headers if self.verbatim else ()
        if self._names_files and codec.name == "anthropic":
            sent = (*sent, (b"anthropic-beta", FILES_BETA.encode()))
        events = request.stream and not provider.quirks.event_stream
        accept = b"text/event-stream" if events else b"application/json"
        if request.answer_type is not None and self.verbatim:
            accept = b"*/*"
        return [
            (b":method", b"POST"),
            (b":scheme", provider.origin.scheme.encode()),
            (b":authority", provider.origin.authority.encode()),
            (b":path", path.encode()),
            (b"content-type", self._content_type),
            (b"accept", accept),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"parshall"),
            (b"x-request-id", self._request_id.encode()),
            *provider.credentials_of(key).sign(
                "POST", path, body if isinstance(body, bytes) else b""
            ),
            *codec.provider_headers(sent, provider.quirks),
            *self._job_headers(),
        ]

    def _path(self) -> str:
        """Behind the provider's base URL."""
        request, quirks, model = self._request, self._provider.quirks, self._deployment
        if request.path is not None:
            return request.path
        if request.job is not None and (source := request.job.source) is not None:
            spec = quirks.jobs[request.job.kind]
            path = remix_path(spec, model.upstream_model, source.provider_job_id)
        else:
            path = self.provider_codec.path(
                model.upstream_model,
                self._operation,
                stream=request.stream,
                array=request.array and self.verbatim,
                quirks=quirks,
            )
        assert path is not None, "the request was prepared for it"
        return path

    def _job_headers(self) -> Headers:
        ask = self._request.job
        spec = None if ask is None else self._provider.quirks.jobs.get(ask.kind)
        if spec is None:
            return []
        return submit_key(spec, job_id_of(self._request_id), self._deployment.path)

    def open_relay(self, tap: deque[Event] | None, sent_bytes: int = 0) -> Relay:
        """A relay for one attempt; `tap` gets the canonical events as well. `sent_bytes` have gone
        to the client before it."""
        deployment = self._deployment
        created_s = self._clock() // 1_000
        expires_s = None
        if self._request.job is not None:
            expires_s = created_s + int(self._job_timeout_s)
        identity = Identity(self._request_id, deployment.upstream_model, created_s, expires_s)
        seam, transcript = self._seam, None
        if self._transcribed:
            transcript = Transcript("" if seam is None else seam.text)
        return open_relay(
            RelaySettings(
                client=self.client,
                provider=self.provider_codec,
                request=self._request,
                count=counter_for(deployment.encoding),
                identity=identity,
                end_marker=self._provider.terminal == "done-marker",
                body_max_bytes=_RESPONSE_MAX_BYTES,
                quirks=self._provider.quirks,
                tap=tap,
                sent_bytes=sent_bytes,
                seam=seam,
                telling=None if self._open_telling is None else self._open_telling(),
                transcript=transcript,
                names=self._names,
                call_file=self._call_file,
            )
        )

    def head(
        self,
        content_type: str | None = None,
        *,
        provider_request_id: str | None = None,
        sure: bool = False,
    ) -> Head:
        """The head of an answer: what was dropped of the request, which model gives it and what its
        provider says, once that is `sure`."""
        kind, passing = b"application/json", _is_data
        if (answer_type := self._request.answer_type) is not None:
            kind, passing = answer_type.encode(), partial(_is_alike, answer_type)
        elif self._request.stream:
            kind = self.client.stream_type(self._request)
        reframed = self._request.stream and self._provider.quirks.event_stream
        if self.verbatim and content_type and passing(content_type) and not reframed:
            kind = content_type.encode("latin-1")
        headers = [(b"content-type", kind)]
        if sure:
            headers.append((b"x-model-used", self._deployment.upstream_model.encode()))
        if provider_request_id is not None:
            headers.append((b"x-provider-request-id", provider_request_id.encode("latin-1")))
        if self.dropped:
            headers.append((b"x-parshall-dropped", header_text(",".join(self.dropped))))
        return Head(200, tuple(headers))


def _is_data(content_type: str) -> bool:
    """Nothing that a browser would show or run is passed on as such.

    >>> _is_data("Application/JSON; charset=UTF-8"), _is_data("text/html")
    (True, False)
    """
    return content_type in _DATA or content_type.partition(";")[0].strip().lower() in _DATA


def _is_alike(wanted: str, content_type: str) -> bool:
    """Whether an answer is of the kind that was asked for: sound for sound, text for text.

    >>> _is_alike("audio/mpeg", "audio/wav"), _is_alike("text/plain", "text/html")
    (True, False)
    """
    found = content_type.partition(";")[0].strip().lower()
    if wanted.startswith("audio/"):
        return _is_sound(found) is not None
    return found == wanted.partition(";")[0]


def header_text(text: str) -> bytes:
    """Field names hold a client's own words: only visible ASCII of them goes into a header."""
    return _UNSEEN.sub("?", text)[:1_024].encode()
