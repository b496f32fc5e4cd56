"""What the providers of one exchange are sent: made of its call, and kept for as long as another
one may be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from engine.admitting import Choice
from engine.billing import ExchangeBilling
from engine.conversation import MediaKind
from engine.errors import GatewayError, UpstreamError
from engine.events import Call
from engine.leg import Leg
from engine.metering.pricing import Rates
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.protocols.codec import spell
from engine.protocols.prefix import Prefix
from engine.protocols.registry import client_codec
from engine.request_files import NamedFiles
from engine.routing.values import Candidate
from engine.uploads import Upload
from engine.upstream.bodies import close_body


class Preparing:
    """Of one exchange.

    Attributes:
        call: as it came; None once no other deployment will be asked.
    """

    __slots__ = ("_billing", "_choose", "_files", "_lowered_limit", "_parts", "_upload", "call")

    def __init__(
        self,
        parts: Parts,
        call: Call | None,
        upload: Upload | None,
        billing: ExchangeBilling,
        choose: Choice,
        files: NamedFiles | None = None,
    ) -> None:
        self.call = call
        self._parts = parts
        self._upload = upload
        self._billing = billing
        self._choose = choose
        self._files = files
        self._lowered_limit: int | None = None
        """What the body has to say that each choice may generate; None: it may stay."""

    def limit(self, lowered_limit: int | None) -> None:
        """What each choice must be lowered to."""
        self._lowered_limit = lowered_limit

    async def inline_media(self, leg: Leg, call: Call, urls: Mapping[str, MediaKind]) -> Call:
        """The call with the media that the leg's provider would not fetch, which its body has from
        now on. Nobody's URLs are fetched who could not pay for the answer.

        Raises:
            GatewayError: as `ExchangeBilling.check_funds`, `Inliner.fetch_all`, `Parts.prepare`.
        """
        if not urls or not self._parts.inliner.enabled:
            return call
        self._billing.check_funds()
        call = await self._with_media(call, urls)
        await self._rewrite(leg, call)
        return call

    async def fit(self, leg: Leg, call: Call) -> None:
        """Lower what the leg's provider may generate to what the hold covers, where it must be;
        and send it what it is not sent before there is a hold.

        Raises:
            GatewayError: as `Parts.prepare`.
        """
        if self._lowered_limit is not None or (self._files is not None and self._files.late):
            await self._rewrite(leg, call)
        if self._files is not None:
            self._files.drop()

    def are_gone(self, held: Iterable[str], error: UpstreamError) -> bool:
        """As `RequestFiles.are_gone`."""
        return self._files is not None and self._files.are_gone(held, error)

    def fit_for(self, leg: Leg, candidate: Candidate[Rates]) -> bool:
        """Whether the leg's body is as good for the same deployment as another candidate."""
        files = self._files
        return files is None or files.fit(leg.prepared.held, leg.candidate, candidate)

    async def prepare(self, candidate: Candidate[Rates], prefix: Prefix | None = None) -> Prepared:
        """The request for another deployment; with a `prefix`, to go on with an answer.

        Raises:
            GatewayError: as `Parts.prepare`, `Inliner.fetch_all`.
        """
        assert self.call is not None, "it is kept while another deployment may be asked"
        prepared = await self._prepare(self.call, candidate, prefix)
        if prepared.urls and self._parts.inliner.enabled:
            close_body(prepared.body)
            self.call = await self._with_media(self.call, prepared.urls)
            prepared = await self._prepare(self.call, candidate, prefix)
        if self._files is not None:
            self._files.drop()
        return prepared

    def release(self) -> None:
        """Nobody is sent anything any more that is not on its way."""
        self.call = None
        if self._files is not None:
            self._files.drop()
        if self._upload is not None:
            self._upload.release()

    async def _prepare(
        self, call: Call, candidate: Candidate[Rates], prefix: Prefix | None = None
    ) -> Prepared:
        limit = self._lowered_limit if prefix is None else None
        if self._files is not None:
            with self._parts.preliminaries.refused_at_end():
                call = await self._files.put_in(call, candidate, translated=prefix is not None)
        return await self._parts.prepare(call, self._choose, limit, candidate, prefix)

    async def _rewrite(self, leg: Leg, call: Call) -> None:
        prepared = await self._prepare(call, leg.candidate)
        leg.drop_body()
        leg.body = prepared.body
        if self.call is not None:
            self.call = call

    async def _with_media(self, call: Call, urls: Mapping[str, MediaKind]) -> Call:
        with self._parts.preliminaries.refused_at_end():
            try:
                found = await self._parts.inliner.fetch_all(urls, self._billing.receipt.account_id)
            except GatewayError as error:
                error.param = spell(
                    "turns", client_codec(call.protocol, call.operation).field_names
                )
                raise
        return replace(call, inline={**call.inline, **found})
