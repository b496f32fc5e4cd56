"""URLs that users name, read strictly: what two readers could read differently is refused.

Browsers and C libraries take `0x7f.1`, `2130706433`, `http:\\\\host`, `user@host` and tabs inside
of names; an SSRF lives from a checker that reads them otherwise than who connects.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

import idna

from engine.egress.errors import EgressRefusedError
from engine.egress.policy import PORTS

URL_MAX_CHARS: Final = 8_192
_HOST_MAX_CHARS: Final = 253

_is_url = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL).fullmatch
_is_authority = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@%]+)(?::([0-9]{1,5}))?").fullmatch
_is_hostile = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]").search
_is_number = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*").fullmatch
_is_label = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
_IN_PATHS: Final = "/?:@!$&'()*+,;=%-._~[]|^`{}\"<>"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads.

    Attributes:
        host: a name in ASCII and lower case, or an address without brackets.
        path: with the query; without the fragment.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As it stands in a URL and in `host`, the scheme's own port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_target(url: str, base: Target | None = None) -> Target:
    """Read an absolute http or https URL; with `base`, also one that is relative to it.

    Raises:
        EgressRefusedError: it is none, or only a lenient reader would say where it leads.
    """
    if len(url) > URL_MAX_CHARS:
        raise EgressRefusedError(f"The URL is longer than {URL_MAX_CHARS} characters.")
    if _is_hostile(url):
        raise EgressRefusedError("The URL has characters that no URL has.")
    if base is not None:
        try:
            url = urljoin(base.url, url)
        except ValueError:
            raise EgressRefusedError("The URL leads to one that is none.") from None
    matched = _is_url(url)
    if matched is None:
        raise EgressRefusedError("Only https:// URLs can be fetched.")
    scheme = matched[1].lower()
    authority = _is_authority(matched[2])
    if authority is None:
        raise EgressRefusedError("The URL must name a host, and neither a user nor a password.")
    port = PORTS[scheme] if authority[2] is None else int(authority[2])
    path = quote(matched[3], safe=_IN_PATHS)
    if not path.startswith("/"):
        path = "/" + path
    return Target(scheme, _host(authority[1]), port, path)


def _host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise _no_host() from None
    if len(host) > _HOST_MAX_CHARS + 1:  # with a dot at its end; in ASCII it only grows
        raise _no_host()
    try:
        if not host.isascii():
            host = idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise _no_host() from None
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if _is_number(labels[-1]):  # what ends in a number is an IPv4 address, or nothing
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _no_host() from None
    if len(host) > _HOST_MAX_CHARS or not all(map(_is_label, labels)):
        raise _no_host()
    return host


def _no_host() -> EgressRefusedError:
    return EgressRefusedError("The host of the URL is no host name or address.")
