"""The attempts of one exchange, one after another: dispatch, and the wait for the first output."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from engine.attempt import Attempt
from engine.billing import ExchangeBilling
from engine.errors import GatewayError, UpstreamError
from engine.events import Event
from engine.parsing.jobs import Prepared
from engine.parts import Parts
from engine.passage import Passage
from engine.sink import PullSink
from engine.uploads import Upload
from engine.upstream.bodies import Body, SpooledBody
from engine.upstream.providers import Provider
from engine.watch import Watch


class Attempts:
    """Of one exchange.

    Attributes:
        current, watch: the attempt that runs or will run, and who watches it.
        body: what goes to the provider; empty once it has begun to answer, but for a file whose
            end it has not got.
        lowered_limit: what the body has to say that each choice may generate; None: it may stay.
    """

    def __init__(
        self,
        parts: Parts,
        prepared: Prepared,
        upload: Upload | None,
        passage: Passage,
        billing: ExchangeBilling,
        provider: Provider,
        pulled: PullSink,
    ) -> None:
        self._parts = parts
        self._request = prepared.request
        self._upload = upload
        self._passage = passage
        self._billing = billing
        self._provider = provider
        self._pulled = pulled
        self._deadline = trio.current_time() + parts.config.server.exchange_deadline_s
        self._output_limit: int | None = None
        self._tapped: deque[Event] | None = None
        self._dispatching = trio.CancelScope()
        self._dispatched = False
        self._final = False
        """What is sent now is not sent again."""
        self.body: Body = prepared.body
        self.lowered_limit: int | None = None
        self._renew()

    def _renew(self) -> None:
        relayed = self._passage.open_relay(self._tapped)
        relayed.output_limit = self._output_limit
        self.current = Attempt(
            relayed,
            self._pulled,
            self._passage.provider_codec,
            unary=not self._request.stream,
            metered=self._billing.metered,
        )
        self.watch = Watch(self.current, self._provider, self._deadline)

    def limit(self, covered_tokens: int | None, lowered_limit: int | None) -> None:
        """What the first hold covers, and what each choice must be lowered to for it."""
        self._output_limit = self.current.relay.output_limit = covered_tokens
        self.lowered_limit = lowered_limit

    def rewrite(self, prepared: Prepared) -> None:
        """Send another body."""
        self._drop_body()
        self.body = prepared.body

    def forget_body(self) -> None:
        """The request will not be sent again: nobody needs what has been sent of it."""
        self._final = True
        if self.current.uploaded:
            self.end_body()
        elif isinstance(self.body, bytes):
            self.body = b""  # the stream has what it has not sent yet, and that takes room

    def end_body(self) -> None:
        """Nothing of the request will be sent any more."""
        self._final = True
        self._drop_body()
        if self._upload is not None:
            self._upload.release()

    def _drop_body(self) -> None:
        body, self.body = self.body, b""
        if isinstance(body, SpooledBody):
            body.close()

    def tap(self) -> deque[Event]:
        """Where the canonical events will go as well. Asked for before the dispatch."""
        assert not self._dispatched, "events() comes before the answer"
        self._tapped = deque()
        self._renew()
        return self._tapped

    async def dispatch(self) -> None:
        """Send the request; where waiting for the head is taken up again, it is sent once, and
        never when it was ended before."""
        if self._dispatched or self.current.over:
            return
        self._billing.dispatched(self.current)
        self._dispatching = trio.CancelScope(deadline=self.watch.start())
        with self._dispatching:
            try:
                headers = self._passage.request_headers(self.body)
                stream = await self._parts.pool.open_stream(
                    self._provider, headers, self.body, self.current
                )
            except UpstreamError as error:
                self.current.fail(error)
            else:
                self.current.opened(stream)
        self._dispatched = True
        self.watch.check_deadlines()

    def stop(self) -> None:
        """End the answer where it is, also one that is being asked for."""
        self.current.stop()
        self._dispatching.cancel()

    async def wait_committed(self) -> None:
        """Return once there is something to send, or a client has waited long enough for a head;
        raise if there never will be."""
        commit_at = math.inf
        if self._request.stream and self._passage.client.heartbeat:
            commit_at = trio.current_time() + self._parts.config.server.commit_after_s
        while not self.current.committed:
            if not await self.watch.wait_changed(lambda: commit_at):
                return

    def sent_again(self) -> bool:
        """What the provider never acted on goes to another stream, once (RFC 9113 section 8.7)."""
        attempt = self.current
        if attempt.error is None or not attempt.unprocessed or self._final:
            return False
        attempt.close()
        self._billing.followed(attempt.error)
        self._renew()
        self._dispatched, self._final = False, True
        return True

    @contextmanager
    def own_faults(self) -> Iterator[None]:
        """An exception that nobody foresaw is the gateway's fault, and the client pays nothing."""
        try:
            yield
        except GatewayError:
            raise
        except Exception as error:
            if self.current.crash is None:
                self.current.crash = error
            raise
