"""What a client is told of a URL that was not fetched.

Never what is inside the operator's network: a name without addresses and one with an address that
is refused are worded alike, and a refused address is never asked whether it listens.
"""

from __future__ import annotations

from engine.errors import ClientError, GatewayError


class EgressRefusedError(ClientError):
    """The URL, where it leads, or what is there is not to be fetched (400)."""

    code = "url_refused"


class EgressFailedError(GatewayError):
    """The URL's server cannot be reached, is too slow, or does not speak HTTP (502)."""

    status = 502
    code = "url_unavailable"
    kind = "upstream_error"
