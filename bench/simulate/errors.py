"""An error answer before a protocol gives it its shape."""

from __future__ import annotations

from engine.wire.http import Headers


class ApiError(Exception):
    """What a provider says instead of an answer; its `Dialect` writes it.

    Attributes:
        status: of the HTTP answer.
        kind: the protocol's own type or status word; None: the one that goes with the status.
        param, code: OpenAI's fields of those names; the other protocols have none.
        reason: of Google's `ErrorInfo` detail.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str | None = None,
        param: str | None = None,
        code: str | None = None,
        reason: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.reason = reason
        self.headers: Headers = list(headers)


RETRY_STATUSES = frozenset({429, 503, 529})


def retry_headers(status: int, retry_after_s: float | None) -> tuple[tuple[bytes, bytes], ...]:
    """Retry-After where a retry may help (1 s) or where told."""
    if retry_after_s is None and status in RETRY_STATUSES:
        retry_after_s = 1.0
    if retry_after_s is None:
        return ()
    return ((b"retry-after", f"{retry_after_s:g}".encode()),)
