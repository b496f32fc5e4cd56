"""What `--peer` takes: a row's name, Parshall at a revision, or the address of anything else."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.peers.row import Nothing, PeerError, PeerRow, Source
from bench.peers.rows import ROWS
from bench.peers.tree import is_loopback

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_OPTIONS: Final = ("pid", "model", "key", "rate")
_FORM: Final = "NAME=URL[,pid=N][,model=M][,key=env:VARIABLE][,rate=TOKENS_PER_S]"


def parse_peer(
    text: str, *, allow_remote: bool = False, environ: Mapping[str, str] = os.environ
) -> PeerRow:
    """The row that a word of the command line names.

    `litellm`, `parshall`, `parshall@HEAD~5`, `mine=http://127.0.0.1:9000,pid=4711,model=gpt-4o`.
    An address is of something that runs already and is routed to the simulated provider; `pid` lets
    its CPU and memory be measured, `rate` says what it is loaded with at most.

    Raises:
        PeerError: it means nothing, or an address beyond this machine without `allow_remote`.
    """
    name, equals, address = text.partition("=")
    if equals:
        return _external(name, address, allow_remote, environ)
    name, at, revision = text.partition("@")
    row = ROWS.get(name)
    if row is None:
        raise PeerError(
            f"there is no peer '{name}'; there are {', '.join(ROWS)}, and anything else as {_FORM}"
        )
    if not at:
        return row
    if not isinstance(row.install, Source):
        raise PeerError(f"'{text}': {name} has one version, {row.version or 'that installed'}")
    if not revision or revision.startswith("-"):
        raise PeerError(f"'{text}': what stands after @ is a revision of git")
    return dataclasses.replace(row, name=text, install=Source(revision))


def _external(name: str, address: str, allow_remote: bool, environ: Mapping[str, str]) -> PeerRow:
    if not _NAME.fullmatch(name):
        raise PeerError(f"'{name}' is no name for a peer: letters, digits, and ._- up to 40")
    if name in ROWS:
        raise PeerError(f"'{name}' is a peer of its own; choose another name for the address")
    url, *words = address.split(",")
    options = dict(_option(name, word) for word in words)
    if len(options) < len(words):
        raise PeerError(f"{name}: an option stands there twice")
    rate = options.get("rate", "inf")
    try:
        tokens_per_s_max = float(rate)
    except ValueError:
        tokens_per_s_max = 0.0
    if not tokens_per_s_max > 0:
        raise PeerError(f"{name}: rate={rate} is not a number of tokens per second")
    return PeerRow(
        name=name,
        install=Nothing(),
        base_url=_checked_url(name, url, allow_remote),
        headers=_key_header(name, options.get("key"), environ),
        models={"openai_chat": options.get("model", "sim-openai")},
        tokens_per_s_max=tokens_per_s_max,
        pid=_checked_pid(name, options.get("pid")),
        notes="started and configured by whoever measured",
    )


def _option(name: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if key not in _OPTIONS or not equals or not value:  # the value may be a secret: not shown
        raise PeerError(f"{name}: '{key}' is not understood; the form is {_FORM}")
    return key, value


def _checked_url(name: str, url: str, allow_remote: bool) -> str:
    """Scheme, host and port; `/v1` at the end is taken off."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        raise PeerError(f"{name}: this is no URL; the form is {_FORM}") from None
    if parts.scheme != "http" or not host:
        raise PeerError(f"{name}: the URL has to be http://HOST:PORT (the load speaks no TLS)")
    if parts.username is not None or parts.query or parts.fragment:
        raise PeerError(f"{name}: the URL has to be http://HOST:PORT; a key goes into key=env:…")
    path = parts.path.rstrip("/").removesuffix("/v1")
    if not (is_loopback(host) or allow_remote):
        raise PeerError(
            f"{name}: {host} is not this machine; --allow-remote loads others, and only what is "
            "yours to load"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}{path}"


def _key_header(
    name: str, key: str | None, environ: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    if key is None:
        return ()
    scheme, _, variable = key.partition(":")
    if scheme != "env" or not variable:
        raise PeerError(f"{name}: a key is taken from the environment: key=env:VARIABLE")
    value = environ.get(variable, "")
    if not value.isascii() or not value.isprintable() or not value:
        raise PeerError(f"{name}: the variable {variable} holds no key")
    return (("authorization", f"Bearer {value.replace('$', '$$')}"),)


def _checked_pid(name: str, text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdecimal() or not Path(f"/proc/{text}/stat").exists():
        raise PeerError(f"{name}: there is no process {text}")
    return int(text)
