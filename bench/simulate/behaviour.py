"""How the provider behaves where a request does not say: at first, and as it is told meanwhile.

A fault that is to hit one provider of several cannot stand in the prompt, which reaches them all:
it is set for the provider, or for one of its models, by `Behaviour.set` or `POST /_behave`.
`#sim` of a request goes over what is set for its model, and that over what is set for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from bench.simulate.directives import Directives, parse_directives
from bench.simulate.errors import ApiError
from bench.simulate.text import seed_of
from engine.wire.http import Headers

MODELS_MAX: Final = 1_000
_SHARES: Final = 1 << 64
_RATES: Final[Mapping[str, tuple[bytes, bytes]]] = {
    "openai": (b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"),
    "anthropic": (
        b"anthropic-ratelimit-requests-remaining",
        b"anthropic-ratelimit-requests-reset",
    ),
}
"""The headers of the APIs that have them: how many requests are left, and when there are more."""


class Behaviour:
    """What `#sim` directives start from. One for all connections of a simulator."""

    def __init__(self, defaults: Directives, by_model: Mapping[str, Directives], seed: str) -> None:
        self._initial = defaults
        self._defaults = defaults
        self._by_model = dict(by_model)
        self._seed = seed.encode()
        self._struck: dict[str, tuple[Directives, int]] = {}

    def set(self, model: str | None, directives: str) -> None:
        """From the next request on, start from these: words as after `#sim`, over the defaults.

        Of one model, or of all where it is None. No words: as it was started.

        Raises:
            DirectiveError: they are not understood.
            ValueError: there are too many models.
        """
        if model is None:
            self._defaults = parse_directives(directives, self._initial)
        elif not directives:
            self._by_model.pop(model, None)
        elif len(self._by_model) >= MODELS_MAX and model not in self._by_model:
            raise ValueError(f"more than {MODELS_MAX} models")
        else:
            self._by_model[model] = parse_directives(directives, self._defaults)

    @property
    def of_all(self) -> Directives:
        """What is set for all models."""
        return self._defaults

    def of(self, model: str, words: str | None, number: int) -> Directives:
        """What the request with this number is to get.

        Raises:
            DirectiveError: its words are not understood.
        """
        start = self._by_model.get(model, self._defaults)
        directives = start if words is None else parse_directives(words, start)
        if directives.chance < 1 and not self._strikes(directives.chance, number):
            return self._spared(directives)
        if start.times is not None and not self._still_strikes(model, start, start.times):
            return self._spared(directives)
        return directives

    def of_call(self, name: str, number: int) -> Directives:
        """The same of a call without a model, by its name: `files.get`, else what `files` are."""
        known = name if name in self._by_model else name.partition(".")[0]
        return self.of(known, None, number)

    def _still_strikes(self, model: str, start: Directives, times: int) -> bool:
        """Whether it is one of the first, since this was set."""
        last, struck = self._struck.get(model, (start, 0))
        struck = struck if last is start else 0
        if struck >= times:
            return False
        if len(self._struck) >= MODELS_MAX:
            self._struck.clear()
        self._struck[model] = (start, struck + 1)
        return True

    def _strikes(self, chance: float, number: int) -> bool:
        """By seed and number: the same requests of every run."""
        digest = seed_of(b"chance", self._seed, str(number).encode())
        return int.from_bytes(digest[:8]) < chance * _SHARES

    def _spared(self, directives: Directives) -> Directives:
        """The same without its fault; with none, without its own delay of the first token."""
        spared = replace(directives, status=None, fault=None, cut_after=None)
        if spared != directives:
            return spared
        return replace(directives, first_token_ms=self._defaults.first_token_ms)


def read_behaviour(body: bytes) -> tuple[str | None, str]:
    """The model, if one is named, and the words of a `POST /_behave`.

    Raises:
        ApiError: it is not `{"model": "…" or null, "directives": "…"}`.
    """
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"The body is no JSON: {error}") from None
    match document:
        case {"directives": str(words)} if set(document) <= {"model", "directives"}:
            model = document.get("model")
            if model is None or isinstance(model, str):
                return model, words
    raise ApiError('The body has to be {"model": "…" or null, "directives": "…"}.')


def with_rates(headers: Headers, api: str, directives: Directives) -> Headers:
    """An answer's headers with `remaining` and `reset` as the API writes them, where it does."""
    names = _RATES.get("openai" if api.startswith("openai-") else api)
    if names is None or (directives.remaining is None and directives.reset is None):
        return headers
    written: Headers = []
    if directives.remaining is not None:
        written.append((names[0], b"%d" % directives.remaining))
    if directives.reset is not None:
        written.append((names[1], _reset(api, directives.reset)))
    said = {name for name, _ in written}
    return [*(header for header in headers if header[0] not in said), *written]


def _reset(api: str, seconds: float) -> bytes:
    """OpenAI says how long it takes, as Go writes it; Anthropic when it is, by RFC 3339."""
    if api != "anthropic":
        return f"{seconds:g}s".encode()
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
