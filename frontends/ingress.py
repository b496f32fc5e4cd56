"""What the routes of all protocols share: who asks, the body, the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from quart import Response

from engine import Call, Gateway
from engine.admission.keys import KeyEntry, Principal
from engine.events import Operation, Protocol
from engine.listing import ModelInfo
from engine.rules import Admitted
from engine.uploads import Upload
from frontends.bodies import bounds_of, read_body, taking_of
from frontends.connection import RelayResponse, current_entry
from frontends.direct import asked, asked_scope
from frontends.headers import PROVIDER_HEADERS
from frontends.keys import Fields, read_key, read_query
from frontends.receipt_queries import page_json, read_receipt_query
from frontends.shedding import LoadShedder


class Ingress:
    """The way from HTTP into one gateway. Its methods are called while a request is handled."""

    def __init__(self, gateway: Gateway, shedder: LoadShedder) -> None:
        self._gateway = gateway
        self._shedder = shedder

    async def relay(
        self,
        protocol: Protocol,
        operation: Operation = "chat",
        *,
        model: str | None = None,
        stream: bool | None = None,
        array: bool = False,
        remix_of: str | None = None,
        at: Mapping[str, str] | None = None,
    ) -> Response:
        """The answer to a call; the key is checked, and what is to be remixed looked up, before the
        body is read. `at` is `Call.at`.

        Raises:
            GatewayError: as `admit`, `Gateway.job_source` and `_call`.
        """
        admitted = await self.admit()
        source = None
        if remix_of is not None:
            source = await self._gateway.job_source(admitted.entry.principal, remix_of)
        call = await self._call(protocol, operation, model=model, stream=stream, array=array)
        if source is not None:
            call = replace(call, source=source)
        if at:
            call = replace(call, at=at)
        return RelayResponse(call, admitted)

    async def count_tokens(self, protocol: Protocol, *, model: str | None = None) -> Response:
        """The answer to a call of the operation `count_tokens`.

        Raises:
            GatewayError: as `relay`, or it cannot be counted.
        """
        admitted = await self.admit()
        call = await self._call(protocol, "count_tokens", model=model)
        head, body = await self._gateway.count_tokens(call, admitted)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
        ]
        response = Response(body, status=head.status)
        response.headers.clear()
        response.headers.extend(headers)
        return response

    def models(self) -> tuple[ModelInfo, ...]:
        """The models that who asks may use. Raises as `authenticate`."""
        return self._gateway.models(self.authenticate())

    async def receipt(self, request_id: str) -> dict[str, object]:
        """A receipt of the account that asks.

        Raises:
            GatewayError: as `authenticate`; or this account has none of that id.
        """
        return await self._gateway.receipt(self._principal(), request_id)

    async def receipts(self) -> dict[str, object]:
        """A page of receipts of the account that asks, as the URL's parameters choose them.

        Raises:
            GatewayError: as `authenticate`; or a parameter is wrong.
        """
        principal = self._principal()
        query = read_receipt_query(read_query(asked().query_string))
        return page_json(await self._gateway.receipts(principal, query))

    async def cancel(self, request_id: str) -> dict[str, object]:
        """End a stream of the account that asks; its receipt.

        Raises:
            GatewayError: as `receipt`; or it is no stream.
        """
        return await self._gateway.cancel(self._principal(), request_id)

    def authenticate(self) -> Admitted:
        """Who asks, with a key that is made for the route; noted in the access log. Nothing is
        taken of a limit.

        Raises:
            AuthenticationError: nobody we know.
            PermissionDeniedError: their key is not made for it, or switched off.
            InvalidRequestError: two keys that differ.
        """
        request = asked()
        key = read_key(request.headers, request.query_string)
        admitted = self._gateway.identify(key, asked_scope())
        self._note(admitted)
        return admitted

    async def admit(self) -> Admitted:
        """As `authenticate`, and it is one request of the limits a minute.

        Raises:
            GatewayError: as `authenticate`.
            RateLimitedError: there have been too many.
        """
        admitted = self.authenticate()
        await self._gateway.take_request(admitted)
        return admitted

    def admit_again(self, entry: KeyEntry) -> Admitted:
        """Who began what goes on now, by the key that was good then; noted in the access log.

        Raises:
            GatewayError: as `authenticate`.
        """
        admitted = self._gateway.identify_again(entry, asked_scope())
        self._note(admitted)
        return admitted

    def check_load(self) -> None:
        """Raises UnavailableError: the process cannot carry one more."""
        if (refusal := self._shedder.refusal()) is not None:
            raise refusal

    def _note(self, admitted: Admitted) -> None:
        entry = current_entry()
        entry.admitted = admitted
        principal = admitted.entry.principal
        entry.account_id, entry.key_id = principal.account_id, principal.key_id

    def _principal(self) -> Principal:
        return self.authenticate().entry.principal

    async def _call(
        self,
        protocol: Protocol,
        operation: Operation,
        *,
        model: str | None = None,
        stream: bool | None = None,
        array: bool = False,
    ) -> Call:
        """The call that the request is. Whether the process can carry one more is checked before
        its body is read.

        Raises:
            GatewayError: as `read_body`, or the load is too high.
        """
        self.check_load()
        entry, request = current_entry(), asked()
        taking, content_type = taking_of(request.scope), request.headers.get("content-type") or ""
        bounds = bounds_of(self._gateway.config.server, operation, content_type)
        body = await read_body(request, taking, bounds, self._gateway.refused_at_end())
        return Call(
            body=b"",
            upload=Upload(body, taking.give_back),
            key=None,
            protocol=protocol,
            operation=operation,
            model=model,
            stream=stream,
            array=array,
            headers=tuple(
                (name.encode(), value.encode("latin-1"))
                for name in PROVIDER_HEADERS[protocol]
                for value in request.headers.getlist(name)
            ),
            peer=entry.peer,
            client_request_id=entry.client_request_id,
            idempotency_key=_idempotency_key(request.headers),
            content_type=content_type,
            origin=asked_origin(),
            session_id=request.headers.get("x-session-id"),
            request_id=entry.request_id,
        )


def query_value(*names: str) -> str | None:
    """The first of the URL's parameters that has one of these names."""
    return next((v for name, v in read_query(asked().query_string) if name in names), None)


def asked_origin() -> str:
    """What the client has reached the gateway by: `https://host`."""
    request = asked()
    return f"{request.scope['scheme']}://{request.headers.get('host') or ''}"


def _idempotency_key(headers: Fields) -> str | None:
    """Of several there is no telling which is meant: joined, they are none."""
    return ", ".join(headers.getlist("idempotency-key")) or None
