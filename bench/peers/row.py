"""The vocabulary of this package: what a peer is, as data.

Texts of a row are templates of `string.Template`; a dollar sign stands as `$$`. They may name:

    $port $port2            free ports of 127.0.0.1, chosen at each start
    $provider               base URL of the simulated provider, without `/v1`
    $provider_address       the same as HOST:PORT
    $folder                 a new folder of this start, gone after it
    $installed              the folder its program was installed to
    $program                the program itself
    $python                 the interpreter that runs the benchmark
    $prelude                `PeerRow.prelude`
    $key                    what the last of `Program.admin` printed; in `PeerRow.headers` only
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.suite.model import Http, Protocol


class PeerError(Exception):
    """A peer cannot be had or does not start; the message says why and what to do."""


# -- where its program comes from -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nothing:
    """It runs already."""


@dataclass(frozen=True, slots=True)
class SystemProgram:
    """A program of the machine's own packages."""

    name: str
    version_argument: str
    remedy: str
    """What whoever lacks it has to do."""


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """Wheels from the index that uv is configured for, into a virtual environment."""

    lock: str
    """A file of this package: every version and hash."""
    program: str
    """Within the environment."""


@dataclass(frozen=True, slots=True)
class NodePackages:
    """Packages from the registry that npm is configured for; no script of theirs is run."""

    manifests: tuple[str, ...]
    """Files of this package, copied as they are: package.json, package-lock.json, what is
    preloaded."""
    program: str
    """Within the folder."""


@dataclass(frozen=True, slots=True)
class Source:
    """Parshall itself, run by the interpreter that runs the benchmark, with its packages."""

    revision: str = ""
    """Of git; empty: as it stands now, changes that are not committed with it."""


Install = Nothing | SystemProgram | PythonPackages | NodePackages | Source


# -- how it runs ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """How a gateway is started.

    Attributes:
        command, environment: all it gets; of the caller's environment it sees nothing.
        files: written to `$folder` before, by name.
        health: a path that answers 200 once it serves; empty: it takes connections.
        start_timeout_s: until then.
        admin: commands run once it serves, in the same environment; each prints JSON or nothing
            that matters.
        key: the member of the last one's JSON that is `$key`.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    health: str = ""
    start_timeout_s: float = 10.0
    admin: tuple[tuple[str, ...], ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One peer, before it runs.

    Attributes:
        name: as in tables.
        version: pinned; empty where the program is asked.
        install: where it comes from.
        program: how it is started; None: it runs already.
        base_url, headers, models, protocols, http, translates, tokens_per_s_max, notes: as in
            `bench.suite.model.Peer`.
        pid: of a process that runs already, on this machine; 0: not known.
        prelude: Python that a gateway of ours runs first, to measure what a change to it does.
    """

    name: str
    install: Install
    version: str = ""
    program: Program | None = None
    base_url: str = "http://127.0.0.1:$port"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    models: Mapping[Protocol, str] = field(default_factory=dict)
    protocols: frozenset[Protocol] = frozenset({"openai_chat"})
    http: frozenset[Http] = frozenset({"http1"})
    translates: bool = False
    tokens_per_s_max: float = math.inf
    pid: int = 0
    prelude: str = ""
    notes: str = ""
