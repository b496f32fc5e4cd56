"""The gateways that are measured beside ours: how each is installed, started, asked and ended.

A peer is a row of data (`rows`), an address (`external`), or Parshall at some revision of its
source (`source`). `install_peer` puts it into an environment of its own, outside the project;
`running_peer` runs it in a clean environment, on loopback only, and leaves no process behind. What
is asked of a peer, and what is made of its answers, is not for here.
"""

from bench.peers.external import parse_peer
from bench.peers.install import Installed, find_installed, install_peer
from bench.peers.row import PeerError, PeerRow
from bench.peers.rows import DEFAULT_PEERS, ROWS
from bench.peers.start import running_peer

__all__ = [
    "DEFAULT_PEERS",
    "ROWS",
    "Installed",
    "PeerError",
    "PeerRow",
    "find_installed",
    "install_peer",
    "parse_peer",
    "running_peer",
]
