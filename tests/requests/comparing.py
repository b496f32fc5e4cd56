"""Whether a translated request says what its original says, and a refusal is to the point."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.requests.reading import Said, read_said
from tests.requests.translating import Refused

_MEDIA = {
    "audio_not_supported_by_model": "audio",
    "images_not_supported_by_model": "image",
    "documents_not_supported_by_model": "document",
    "video_not_supported_by_model": "video",
}


def differences(source: Said, target: Said) -> list[str]:
    """What of the source is missing in the target, or was added to it, one line each.

    A target may put plain-text documents, media of tool results and the like in words of its own
    within the user's text, an instruction after the system's, and an error's mark around a result.
    """
    found = []
    reworded = bool(source.documents or source.media)
    if target.user != source.user and not (reworded and _within(source.user, target.user)):
        found.append(f"user text: {source.user!r} became {target.user!r}")
    if target.assistant != source.assistant:
        found.append(f"assistant text: {source.assistant!r} became {target.assistant!r}")
    if not target.system.startswith(source.system):
        found.append(f"system text: {source.system!r} became {target.system!r}")
    for text in source.documents:
        squeezed = "".join(text.split())
        if squeezed not in target.user and text not in target.documents:
            found.append(f"the document {text!r} is lost")
    if len(source.calls) != len(target.calls) or not all(
        map(_same_call, source.calls, target.calls)
    ):
        found.append(f"calls: {source.calls} became {target.calls}")
    if not _same_results(source.results, target.results):
        found.append(f"results: {source.results} became {target.results}")
    if source.media != target.media:
        found.append(f"media: {dict(source.media)} became {dict(target.media)}")
    if target.tools[: len(source.tools)] != source.tools:
        found.append(f"tools: {source.tools} became {target.tools}")
    return found


def _within(part: str, whole: str) -> bool:
    """Whether the letters of a text stand in another one in their order."""
    letters = iter(whole)
    return all(letter in letters for letter in part)


def _same_call(source: tuple[str, Any], target: tuple[str, Any]) -> bool:
    """Arguments that are no JSON object are wrapped in one where there has to be one."""
    return source[0] == target[0] and (source[1] is None or source[1] == target[1])


def _same_results(source: list[Any], target: list[Any]) -> bool:
    """The same results in any order; a text may have something around it."""
    rest = list(target)
    for result in source:
        match = next((other for other in rest if _same_result(result, other)), None)
        if match is None and None not in rest:
            return False
        rest.remove(match)
    return not rest


def _same_result(source: Any, target: Any) -> bool:
    if source == target:
        return True
    if isinstance(target, str):
        text = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False)
        return "".join(text.split()) in target
    return False


def names_something(refusal: Refused, protocol: str, document: Mapping[str, Any]) -> bool:
    """Whether what a refusal complains of really stands in the request.

    A field has to be there, in camelCase or snake_case, or the object that lacks it; media of a
    kind have to be in the prompt.
    """
    if refusal.field is None:
        kind = _MEDIA.get(refusal.code)
        return kind is not None and read_said(protocol, document).media[kind] > 0
    path = refusal.field
    if refusal.code == "invalid_request" and "." in path and not stands(path, document):
        path = path.rpartition(".")[0]
    return stands(path, document)


def stands(path: str, document: object) -> bool:
    """Whether a path (`messages[1].content[0].type`) leads somewhere in a document.

    >>> stands("a.bC[1]", {"a": {"b_c": [0, 1]}})
    True
    """
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(document, list) and step.isdecimal():
            if int(step) >= len(document):
                return False
            document = document[int(step)]
        elif isinstance(document, dict):
            names = {_plain(name): name for name in document}
            if _plain(step) not in names:
                return False
            document = document[names[_plain(step)]]
        else:
            return False
    return True


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
