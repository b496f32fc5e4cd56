"""What is embedded: a text, texts, the tokens of one, or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from engine.errors import InvalidRequestError

Input = str | list[int]

INPUTS_MAX: Final = 65_536
"""Of one request, whatever its provider takes at once."""


def inputs_of(given: Any) -> Sequence[Input]:
    """Each input by itself; raises InvalidRequestError."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given:
        if all(type(item) is int for item in given):
            _check_tokens(given)
            return [given]
        if len(given) > INPUTS_MAX:
            raise InvalidRequestError(
                f"'input' must be an array of no more than {INPUTS_MAX}.", param="input"
            )
        if all(isinstance(item, str) for item in given):
            return given
        if all(isinstance(item, list) and item for item in given):
            for item in given:
                _check_tokens(item)
            return given
    raise InvalidRequestError(
        "'input' must be a string, an array of strings, an array of tokens, or an array of such "
        "arrays, and not empty.",
        param="input",
    )


def _check_tokens(tokens: list[Any]) -> None:
    if not all(type(token) is int and token >= 0 for token in tokens):
        raise InvalidRequestError("'input' holds a token that is none.", param="input")
