"""The error tree: whose fault it is, the HTTP status it implies, a stable code.

A frontend renders these in the client's protocol. Messages are written for the client and never
hold a secret, a prompt or the operator's data.
"""

from __future__ import annotations

from typing import Final

MESSAGE_MAX_CHARS: Final = 8_192
PARAM_MAX_CHARS: Final = 1_024
"""Names that clients and providers make up are told again, but not at any length."""


class GatewayError(Exception):
    """Anything a client is told about.

    Attributes:
        status: HTTP status, when the head has not gone out yet.
        code: stable machine-readable code.
        kind: OpenAI's `error.type`.
        param: the request field at fault, if one is.
        retry_after_s: when a retry may succeed, for 429 and 503.
    """

    status = 500
    code = "internal_error"
    kind = "server_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        if len(message) > MESSAGE_MAX_CHARS:
            message = message[: MESSAGE_MAX_CHARS - 1] + "…"
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class ClientError(GatewayError):
    """The request is at fault; sending it again unchanged will not help."""

    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class InvalidRequestError(ClientError):
    """The body is not what the protocol says (400)."""


class DigestMismatchError(ClientError):
    """What has come is not what its sender says that it sent (400)."""

    code = "digest_mismatch"


class AuthenticationError(ClientError):
    """No key, or one we do not know (401)."""

    status = 401
    code = "invalid_api_key"


class ExpiredKeyError(AuthenticationError):
    """The key was good until a moment that has passed (401)."""

    code = "expired_api_key"


class AdminKeyError(AuthenticationError):
    """No credential of an operator, or one we do not know (401)."""

    code = "invalid_admin_key"


class PermissionDeniedError(ClientError):
    """We know who asks, and their key is not made for this (403)."""

    status = 403
    code = "insufficient_scope"
    kind = "permission_error"


class ModelNotAllowedError(PermissionDeniedError):
    """The account may use the model, this key of it may not."""

    code = "model_not_allowed"


class KeyDisabledError(PermissionDeniedError):
    """An operator has switched the key off."""

    code = "key_disabled"


class AccountDisabledError(PermissionDeniedError):
    """An operator has switched the account off."""

    code = "account_disabled"


class AddressNotAllowedError(PermissionDeniedError):
    """An operator's credential from where none may come from."""

    code = "address_not_allowed"


class InsufficientFundsError(ClientError):
    """The account cannot cover even a first slice (402)."""

    status = 402
    code = "insufficient_funds"
    kind = "insufficient_quota"


class BudgetExceededError(ClientError):
    """A hard budget of the account or the key does not cover the request (402)."""

    status = 402
    code = "budget_exceeded"
    kind = "insufficient_quota"


class NotFoundError(ClientError):
    """No such route, or nothing of that id in this account (404)."""

    status = 404
    code = "not_found"


def no_such_job(shown_id: str) -> NotFoundError:
    """This account has none of that id, or has let it go."""
    return NotFoundError(f"There is no job '{shown_id[:100]}'.")


class StoredFileNotFoundError(NotFoundError):
    """This account has no file of that id (404)."""

    code = "file_not_found"


class ModelNotFoundError(NotFoundError):
    """No such model, or the account may not use it (404)."""

    code = "model_not_found"


class MethodNotAllowedError(ClientError):
    """The route exists, with another method (405)."""

    status = 405
    code = "method_not_allowed"


class NotAStreamError(ClientError):
    """What was asked can be done with a stream only (409)."""

    status = 409
    code = "not_a_stream"


class JobNotEndedError(ClientError):
    """What was asked can be done with a job that has ended only (409)."""

    status = 409
    code = "job_not_ended"


class JobNotCancellableError(ClientError):
    """The job has ended, or its provider cannot end it early (409)."""

    status = 409
    code = "job_not_cancellable"


class JobNotRemixableError(ClientError):
    """It has not succeeded, or who has it is not asked any more: nothing is made of it (409)."""

    status = 409
    code = "job_not_remixable"


class IdempotencyError(ClientError):
    """Another request has, or had, the idempotency key of this one (409)."""

    status = 409
    code = "idempotency_key_used"

    def __init__(
        self, message: str, *, request_id: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.request_id = request_id
        """The other one's, of the same account."""


class IdempotencyUsedError(IdempotencyError):
    """The other request is a stream, or its answer is not kept: only its receipt is."""


class IdempotencyMismatchError(IdempotencyError):
    """The other request was not the same."""

    code = "idempotency_key_mismatch"


class IdempotencyInProgressError(IdempotencyError):
    """The other request has not ended."""

    code = "idempotency_in_progress"

    def __init__(self, message: str, *, request_id: str) -> None:
        super().__init__(message, request_id=request_id, retry_after_s=1)


class BodyTooLargeError(ClientError):
    """The body is over the configured limit (413)."""

    status = 413
    code = "body_too_large"


class FileTooLargeError(ClientError):
    """A file is larger than files may be (413)."""

    status = 413
    code = "file_too_large"


class StorageLimitError(ClientError):
    """The account has no room left for a file of this size, or for any (413)."""

    status = 413
    code = "storage_limit_exceeded"


class UnsupportedEncodingError(ClientError):
    """The body is compressed, or coded otherwise, and is not unpacked here (415)."""

    status = 415
    code = "unsupported_content_encoding"


class RangeError(ClientError):
    """The range that is asked for lies outside of what there is (416)."""

    status = 416
    code = "range_not_satisfiable"


class UploadBusyError(ClientError):
    """Another request works on the same upload (409)."""

    status = 409
    code = "upload_in_progress"


class NotDownloadableError(ClientError):
    """The protocol gives back what was generated, and not what was uploaded (400)."""

    code = "file_not_downloadable"


class RateLimitedError(ClientError):
    """The key, the account or its plan has used up what it may use in a minute (429).

    `kind` says of what: "requests" or "tokens", as OpenAI names them.
    """

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, kind: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.kind = kind


class JobsLimitedError(ClientError):
    """The account has as many jobs under way as it may have (429)."""

    status = 429
    code = "jobs_limit_exceeded"
    kind = "requests"


class AgentsLimitedError(ClientError):
    """The account has as many agents as it may have (400)."""

    code = "agents_limit_exceeded"


class ConcurrencyLimitedError(ClientError):
    """The key or the account has as many requests under way as it may have (429)."""

    status = 429
    code = "concurrency_limit_exceeded"
    kind = "requests"

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=1)


class AddressLimitedError(ClientError):
    """Too many requests have come from one address (429)."""

    status = 429
    code = "ip_rate_limited"
    kind = "requests"


class UnavailableError(GatewayError):
    """The gateway cannot take the request now (503): the journal is unwell, or it is stopping."""

    status = 503
    code = "unavailable"


class StorageUnavailableError(UnavailableError):
    """Files cannot be stored, or read, now (503)."""

    code = "storage_unavailable"


class InsufficientStorageError(GatewayError):
    """The gateway's own disk is full (507)."""

    status = 507
    code = "insufficient_storage"


class FileDamagedError(GatewayError):
    """A file is not what was stored, or is gone though nobody removed it (500)."""

    code = "file_damaged"


class ShutdownError(GatewayError):
    """The gateway stops, and ends an answer that is under way (503)."""

    status = 503
    code = "shutdown"

    def __init__(self) -> None:
        super().__init__("The gateway is stopping.", retry_after_s=1)


class ModelUnavailableError(GatewayError):
    """Whatever could serve the model is switched off, broken, limited or full (503)."""

    status = 503
    code = "model_unavailable"

    def __init__(self, message: str, *, retry_after_s: float = 30) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class EndedByOperatorError(GatewayError):
    """An operator has ended the answer (503)."""

    status = 503
    code = "ended_by_operator"

    def __init__(self) -> None:
        super().__init__("The operator of the gateway has ended this request.")


class UpstreamError(GatewayError):
    """The provider failed. `before_output` says that no generated byte was received."""

    status = 502
    code = "upstream_error"
    kind = "upstream_error"


class UpstreamUnreachableError(UpstreamError):
    """No connection, a refused stream, or a connection lost before an answer (502)."""

    code = "upstream_unreachable"


class UpstreamTimeoutError(UpstreamError):
    """The provider was silent past a deadline (504)."""

    status = 504
    code = "upstream_timeout"


class DeadlineError(UpstreamTimeoutError):
    """The exchange reached its total deadline."""

    code = "deadline_exceeded"


class UpstreamRejectedError(UpstreamError):
    """The provider answered with an error status before any output.

    `status` is the provider's own; `provider_request_id` its own id of the request.
    """

    code = "upstream_rejected"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str = "upstream_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        provider_request_id: str | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.provider_request_id = provider_request_id
        self.status = status
        self.kind = kind
        self.code = code or "upstream_rejected"


class ConfigError(Exception):
    """The configuration is refused; the message names file, line and a suggestion."""
