"""The one way out to an address that a user has named.

Owns: which URLs may be reached, the check of what their hosts resolve to, the connection to an
address that was checked, and the bounds of what comes: of a fetch, a download, the answer to a
message. Does not own: providers and proxies that the operator has configured (`engine.upstream`),
nor what is done with what has come.
"""

from __future__ import annotations

from engine.egress.asking import Answer, ask
from engine.egress.downloading import Download, open_download
from engine.egress.errors import EgressFailedError, EgressRefusedError
from engine.egress.fetching import Fetched, fetch
from engine.egress.hosts import HostSet, is_public, parse_hosts
from engine.egress.policy import EgressPolicy
from engine.egress.sending import send
from engine.egress.targets import Target, parse_target

__all__ = [
    "Answer",
    "Download",
    "EgressFailedError",
    "EgressPolicy",
    "EgressRefusedError",
    "Fetched",
    "HostSet",
    "Target",
    "ask",
    "fetch",
    "is_public",
    "open_download",
    "parse_hosts",
    "parse_target",
    "send",
]
