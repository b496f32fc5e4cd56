"""What lives at a provider, in fields that we pass on unread: on a key that many accounts share,
its id would reach another's."""

from __future__ import annotations

import re
from typing import Any

from engine.protocols.codec import HeldIdError
from engine.protocols.fields import is_held_uri

_is_id = re.compile(r"(?:id|ids|.*_ids?|.*[a-z]Ids?|characters|storageUri|gcsUri)").fullmatch


def refuse_held(document: dict[str, Any]) -> None:
    """Raises HeldIdError: a member is called an id, or a text is the address of a file there."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                at = f"{path}.{name}" if path else name
                if inner is not None and _is_id(name):
                    raise HeldIdError(at)
                waiting.append((at, inner))
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
        elif isinstance(value, str) and is_held_uri(value):
            raise HeldIdError(path)
