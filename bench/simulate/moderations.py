"""OpenAI's moderations as a dialect of the provider: a result for each text, or one for all parts.

Shapes and key order are those of recorded traffic. The older models know fewer categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.simulate import openai_fields as chat
from bench.simulate.answer import Answer
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import DirectiveError, Directives, find_directives
from bench.simulate.errors import ApiError
from bench.simulate.openai_fields import Check, missing, one_of, typed, wrong_type
from bench.simulate.operation import WHOLE, OperationDialect, check_fields, read_json
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.text import seed_of

DEFAULT_MODEL: Final = "omni-moderation-latest"
FIELDS: Final[Mapping[str, Check]] = {
    "input": typed("a string or an array", str, list),
    "model": chat.STRING,
}
CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "sexual",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
    "self-harm",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_SEES: Final = frozenset(
    {
        "sexual",
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "violence",
        "violence/graphic",
    }
)
"""The categories that images are judged by."""
_PART: Final = one_of("text", "image_url")
_OLD: Final = "text-moderation"


class ModerationsDialect(OperationDialect):
    """OpenAI's moderations."""

    name = "openai-moderations"

    def parse(self, request: Request) -> ChatRequest:
        document = read_json(request.body)
        check_fields(document, FIELDS, ("input",))
        texts = _texts(document["input"])
        return ChatRequest(
            model=document.get("model") or DEFAULT_MODEL,
            texts=texts,
            framing_tokens=0,
            seed_material=request.body,
            directives=find_directives(texts[-1]) if texts else None,
            document=document,
            reports=False,
            make=_make,
        )

    def answer_id(self, instance: str, number: int) -> str:
        return f"modr-{instance}{number:016x}"

    def usage(self, counts: Counts) -> dict[str, Any]:
        return {}

    def document(self, plan: ChatPlan, position: int, counts: Counts | None) -> dict[str, Any]:
        model, given = plan.request.model, plan.request.document["input"]
        known = [name for name in CATEGORIES if not (model.startswith(_OLD) and "illicit" in name)]
        results = []
        for item in _judged(given):
            flagged = {name for name in plan.directives.flagged or () if name in known}
            texts, seen = _texts(item), _has_image(item)
            seed = seed_of(*(text.encode() for text in texts))
            result: dict[str, Any] = {
                "flagged": bool(flagged),
                "categories": {name: name in flagged for name in known},
                "category_scores": {name: _score(seed, name, name in flagged) for name in known},
            }
            if not model.startswith(_OLD):
                result["category_applied_input_types"] = {
                    name: ["text"] * bool(texts) + ["image"] * (seen and name in _SEES)
                    for name in known
                }
            results.append(result)
        return {"id": plan.answer_id, "model": model, "results": results}


def _make(directives: Directives, _seed: bytes) -> Answer:
    for name in directives.flagged or ():
        if name not in CATEGORIES:
            raise DirectiveError(f"There is no category {name!r} to be flagged.")
    return WHOLE


def _judged(given: str | Sequence[Any]) -> Sequence[Any]:
    """What is judged by itself: each text, or all parts together."""
    return given if isinstance(given, list) and isinstance(given[0], str) else [given]


def _texts(given: str | Sequence[Any]) -> tuple[str, ...]:
    """The texts of an input, checked."""
    if isinstance(given, str):
        return (given,)
    if not given:
        raise ApiError(
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            param="input",
            code="empty_array",
        )
    if all(isinstance(item, str) for item in given):
        return tuple(given)
    return tuple(
        _text(f"input[{place}]", part)
        for place, part in enumerate(given)
        if _is_text(f"input[{place}]", part)
    )


def _is_text(where: str, part: Any) -> bool:
    if not isinstance(part, dict):
        raise wrong_type(where, "an object", part)
    if part.get("type") is None:
        raise missing(f"{where}.type")
    _PART(f"{where}.type", part["type"])
    if part["type"] == "text":
        return True
    image = part.get("image_url")
    if not isinstance(image, dict):
        raise wrong_type(f"{where}.image_url", "an object", image)
    if not isinstance(image.get("url"), str):
        raise wrong_type(f"{where}.image_url.url", "a string", image.get("url"))
    return False


def _text(where: str, part: dict[str, Any]) -> str:
    if not isinstance(part.get("text"), str):
        raise wrong_type(f"{where}.text", "a string", part.get("text"))
    return str(part["text"])


def _has_image(item: str | Sequence[Any]) -> bool:
    return any(isinstance(part, dict) and part["type"] == "image_url" for part in item)


def _score(seed: bytes, name: str, flagged: bool) -> float:
    """Made up: near one where it is flagged, otherwise near none."""
    share = int.from_bytes(seed_of(seed, name.encode())[:4]) / (1 << 32)
    return 0.9 + share / 10 if flagged else share / 1_000
