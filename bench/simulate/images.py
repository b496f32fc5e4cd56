"""OpenAI's generations, edits and variations of images as dialects of the provider.

Models of GPT are paid by the token, send base64 and may stream previews; those of DALL·E are paid
by the image and may send URLs, which lead here: `GET /_media/…`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bench.simulate.answer import Answer, Finish, Piece, Segment
from bench.simulate.chat import ChatRequest, Counts
from bench.simulate.directives import Directives, find_directives
from bench.simulate.errors import ApiError
from bench.simulate.image_request import ImageRequest, Kind, read_image_request
from bench.simulate.openai_chat import SERVER_ERROR, error_object
from bench.simulate.operation import OperationDialect, material
from bench.simulate.pictures import FORMATS, png, spoiled
from bench.simulate.plan import ChatPlan
from bench.simulate.replies import Request
from bench.simulate.text import seed_of

INPUT_TOKENS: Final = 323
"""Of a picture that comes with a request."""
PARTIAL_TOKENS: Final = 100
"""Of a preview."""
TOKENS: Final[Mapping[str, Mapping[str, int]]] = {
    "low": {"1024x1024": 272, "1024x1536": 408, "1536x1024": 400},
    "medium": {"1024x1024": 1_056, "1024x1536": 1_584, "1536x1024": 1_568},
    "high": {"1024x1024": 4_160, "1024x1536": 6_240, "1536x1024": 6_208},
}
"""Of an image, by its quality and size."""
_LINK: Final = re.compile(r"/_media/([0-9a-f]{32})-(\d{1,4})x(\d{1,4})\.png")


class ImagesDialect(OperationDialect):
    """One of the three endpoints."""

    def __init__(self, kind: Kind) -> None:
        self.name = f"openai-image-{kind}s"
        self._kind = kind

    def parse(self, request: Request) -> ChatRequest:
        asked = read_image_request(request, self._kind)
        values = _resolved(asked, request)
        if values["output_format"] not in FORMATS:
            raise ApiError(
                f"This simulated provider draws {', '.join(FORMATS)}, not "
                f"{values['output_format']}.",
                param="output_format",
                code="unsupported_format",
            )
        image_tokens = INPUT_TOKENS * asked.inputs if asked.by_token else 0

        def make(directives: Directives, seed: bytes) -> Answer:
            pieces = _pieces(values, directives, seed, by_token=asked.by_token)
            return Answer((Segment("media", 0, len(pieces), pieces=pieces),), "stop")

        return ChatRequest(
            model=asked.model,
            texts=(asked.prompt,) if asked.by_token else (),
            framing_tokens=image_tokens,
            seed_material=material(request),
            directives=find_directives(asked.prompt or asked.values.get("user") or ""),
            stream=values["stream"],
            units={"input_image_tokens": image_tokens} if image_tokens else {},
            reports=asked.by_token,
            parts=asked.parts,
            document=values,
            make=make,
        )

    def prompt_refused(self) -> ApiError | None:
        return ApiError(
            "Your request was rejected by the safety system.",
            kind="image_generation_user_error",
            code="moderation_blocked",
        )

    def usage(self, counts: Counts) -> dict[str, Any]:
        pictures = counts.units.get("input_image_tokens", 0)
        return {
            "input_tokens": counts.input_tokens,
            "input_tokens_details": {
                "image_tokens": pictures,
                "text_tokens": max(0, counts.input_tokens - pictures),
            },
            "output_tokens": counts.output_tokens,
            "output_tokens_details": {"image_tokens": counts.output_tokens, "text_tokens": 0},
            "total_tokens": counts.input_tokens + counts.output_tokens,
        }

    def grammar(self, plan: ChatPlan) -> _Events:
        return _Events(self, plan, f"image_{self._kind}")

    def document(self, plan: ChatPlan, position: int, counts: Counts | None) -> dict[str, Any]:
        values = plan.request.document
        [segment] = plan.answer.segments
        data = [self._entry(plan, place, piece) for place, piece in enumerate(segment.pieces)]
        answer: dict[str, Any] = {"created": plan.created}
        if plan.request.reports:
            answer |= {"background": values["background"], "data": data}
            answer |= {name: values[name] for name in ("output_format", "quality", "size")}
        else:
            answer["data"] = data
        return answer if counts is None else answer | {"usage": self.usage(counts)}

    def _entry(self, plan: ChatPlan, place: int, piece: Piece) -> dict[str, Any]:
        values = plan.request.document
        entry: dict[str, Any] = {}
        if plan.request.model == "dall-e-3":
            entry["revised_prompt"] = f"A picture, in detail: {values['prompt']}"
        if values["response_format"] == "b64_json":
            return entry | {"b64_json": b64encode(piece.data).decode()}
        seed = seed_of(plan.request.seed_material, str(place).encode()).hex()
        told = plan.directives
        query = f"?media={told.media}&answer_bytes={told.answer_bytes}"
        return entry | {"url": f"{values['origin']}/_media/{seed}-{values['size']}.png{query}"}


class _Events:
    """Previews, then the image; the last says what they took."""

    def __init__(self, dialect: ImagesDialect, plan: ChatPlan, event: str) -> None:
        self._dialect = dialect
        self._plan = plan
        self._event = event
        self._per_image = 1 + plan.request.document["partial_images"]

    def begin(self) -> bytes:
        return b""

    def piece(self, segment: Segment, choice: int, start: int, end: int) -> bytes:
        return b"".join(self._one(segment, place) for place in range(start, end))

    def _one(self, segment: Segment, place: int) -> bytes:
        values, preview = self._plan.request.document, place % self._per_image
        completed = preview == self._per_image - 1
        document: dict[str, Any] = {
            "type": f"{self._event}.{'completed' if completed else 'partial_image'}",
            "b64_json": b64encode(segment.pieces[place].data).decode(),
            "created_at": self._plan.created,
        }
        names = ("background", "output_format", "quality", "size")
        document |= {name: values[name] for name in names}
        if not completed:
            document["partial_image_index"] = preview
        elif place == segment.tokens - 1:
            counts = self._plan.counts(segment.end)
            if counts is not None:
                document["usage"] = self._dialect.usage(counts)
        return _event(document)

    def finish(self, reason: Finish, counts: Counts | None) -> bytes:
        return b""

    def error(self, kind: str) -> bytes:
        error = ApiError(SERVER_ERROR, kind="server_error")
        return _event({"type": "error"} | error_object(error))


def picture_at(path: str, directives: Directives) -> bytes | None:
    """The picture a URL of an answer leads to; None for another path."""
    found = _LINK.fullmatch(path)
    if found is None:
        return None
    drawn = png(max(1, int(found[2])), max(1, int(found[3])), bytes.fromhex(found[1]))
    return spoiled(drawn, directives)


def _event(document: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (document["type"].encode(), orjson.dumps(document))


def _resolved(asked: ImageRequest, request: Request) -> dict[str, Any]:
    """What was asked for, with what goes without saying."""
    values = {name: value for name, value in asked.values.items() if value not in (None, "auto")}
    host = request.headers.get(b"host") or request.headers.get(b":authority", b"")
    scheme = request.headers.get(b":scheme", b"http").decode("latin-1")
    usual = {
        "background": "opaque",
        "n": 1,
        "origin": f"{scheme}://{host.decode('latin-1')}",
        "output_format": "png",
        "partial_images": 0,
        "prompt": "",
        "quality": "high" if asked.by_token else "standard",
        "response_format": "b64_json" if asked.by_token else "url",
        "size": "1024x1024",
        "stream": False,
    }
    return usual | values


def _pieces(
    values: Mapping[str, Any], directives: Directives, seed: bytes, *, by_token: bool
) -> list[Piece]:
    """Every image after its previews."""
    width, height = map(int, values["size"].split("x"))
    draw, pieces = FORMATS[values["output_format"]], []
    tokens = TOKENS[values["quality"]][values["size"]] if by_token else 0
    units = {"images": 1}
    for place in range(values["n"]):
        for preview in range(values["partial_images"]):
            own = seed_of(seed, str(place).encode(), str(preview).encode())
            pieces.append(Piece(draw(width, height, own), _tokens(PARTIAL_TOKENS)))
        drawn = draw(width, height, seed_of(seed, str(place).encode()))
        pieces.append(Piece(spoiled(drawn, directives), units | _tokens(tokens)))
    return pieces


def _tokens(amount: int) -> dict[str, int]:
    return {"output_tokens": amount, "output_image_tokens": amount} if amount else {}
