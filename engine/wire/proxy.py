"""HTTP proxies: where one is, when the environment asks for one, and the CONNECT that opens a
tunnel through it (RFC 9110 section 9.3.6), without I/O.

Nothing here quotes a URL in an error: it may hold a password.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import h11

ANSWER_MAX_BYTES: Final = 16_384
"""Of a proxy's answer to CONNECT, informational ones included."""
_DEFAULT_PORT: Final = 80


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is spoken to without TLS; what goes through its tunnel has its own.

    Attributes:
        authorization: the value of `proxy-authorization`; never shown.
    """

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """Host and port, without credentials."""
        return _authority(self.host, self.port)


def parse_proxy(url: str, password: str | None = None) -> Proxy:
    """A proxy from `http://user:password@host:port`; `password` may be given apart.

    Raises:
        ValueError: what is wrong, without quoting the URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # whose message may quote it
        raise ValueError("is no URL") from None
    if parts.scheme != "http":
        raise ValueError("must be an http:// URL; other kinds of proxy are not supported")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must be http://host:port, with user and password at most")
    try:
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        raise ValueError("has a port that is none") from None
    user = unquote(parts.username or "")
    if parts.password is not None:
        if password is not None:
            raise ValueError("has a password already")
        password = unquote(parts.password)
    if password is not None and not user:
        raise ValueError("has a password but no user")
    if ":" in user:
        raise ValueError("has a user name with a colon, which basic authentication cannot say")
    authorization = None
    if user:
        pair = f"{user}:{password or ''}".encode()
        authorization = b"Basic " + base64.b64encode(pair)
    return Proxy(parts.hostname, port, authorization)


def complete_proxy(url: str, password: str | None) -> str:
    """The URL with the password in it. Raises as `parse_proxy`."""
    parse_proxy(url, password)
    if password is None:
        return url
    scheme, _, rest = url.partition("://")
    user, _, host = rest.rpartition("@")
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}"


def environment_proxy(
    scheme: str, host: str, port: int, environ: Mapping[str, str]
) -> tuple[str, str] | None:
    """The variable and the URL of the proxy that an environment asks for, if it does.

    HTTPS_PROXY or HTTP_PROXY by the scheme of the origin, else ALL_PROXY; NO_PROXY and loopback
    addresses are exempt; a name in lower case goes before one in upper case.
    """
    for variable in (f"{scheme}_proxy", "all_proxy"):
        for name in (variable, variable.upper()):
            if url := environ.get(name, "").strip():
                exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
                if _is_loopback(host) or is_exempt(host, port, exempt):
                    return None
                return name, url if "://" in url else f"http://{url}"
    return None


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names a host: `*`, a name (and those below it), an address, a network in
    CIDR notation, each but the last with `:port` if only that port is meant."""
    host = host.lower().rstrip(".")
    return any(_names(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy.lower()))


def _names(entry: str, host: str, port: int) -> bool:
    if entry in ("", "*"):
        return entry == "*"
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None:  # an IPv6 address has colons and no port
        entry, colon, entry_port = entry.partition("]:" if "]" in entry else ":")
        if colon and entry_port != str(port):
            return False
    entry = entry.strip("[]")
    if address is not None:
        return address == _address(entry)
    entry = entry.removeprefix("*").strip(".")
    return bool(entry) and (host == entry or host.endswith("." + entry))


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ProxyRefusedError(Exception):
    """There is no tunnel. `status` is what the proxy said, None if it was not HTTP."""

    def __init__(self, status: int | None) -> None:
        super().__init__("not HTTP" if status is None else f"status {status}")
        self.status = status


class Connect:
    """One CONNECT: its request, and the answer as it arrives."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._target = _authority(host, port)
        self._authorization = proxy.authorization
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=ANSWER_MAX_BYTES)
        self._received_bytes = 0

    def request(self) -> bytes:
        """What is sent to the proxy. Raises ValueError for a host that cannot be named."""
        headers = [(b"host", self._target.encode("ascii")), (b"user-agent", b"parshall")]
        if self._authorization is not None:
            headers.append((b"proxy-authorization", self._authorization))
        try:
            request = h11.Request(method=b"CONNECT", target=self._target, headers=headers)
            return self._http.send(request) or b""
        except h11.LocalProtocolError:
            raise ValueError("the host cannot stand in a request") from None

    def receive(self, data: bytes) -> bytes | None:
        """Take what the proxy sent; once the tunnel is open, what came after its answer.

        Empty `data` is the end of the connection.

        Raises:
            ProxyRefusedError: another status than 2xx, too long an answer, or none.
        """
        self._received_bytes += len(data)
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    if not 200 <= event.status_code < 300:
                        raise ProxyRefusedError(event.status_code)
                    return bytes(self._http.trailing_data[0])
                if not isinstance(event, h11.InformationalResponse):
                    break
        except h11.RemoteProtocolError:
            raise ProxyRefusedError(None) from None
        if event is not h11.NEED_DATA or self._received_bytes > ANSWER_MAX_BYTES:
            raise ProxyRefusedError(None)
        return None
