"""Deterministic text: the same seed gives the same words, and n words are n tokens."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import orjson

from bench.simulate.words import WORDS

_BLOCK_WORDS = 32
_WORD_MASK = len(WORDS) - 1
assert len(WORDS) & _WORD_MASK == 0


def seed_of(*parts: bytes) -> bytes:
    """A 16-byte seed that depends on every part and on where one part ends and the next begins."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class TextSource(Protocol):
    """A text addressed by token."""

    def text(self, start: int, end: int) -> str:
        """The text of tokens start to end - 1, in order."""

    def escaped(self, start: int, end: int) -> bytes:
        """The same as it stands in a JSON string."""


class FixedText:
    """A text that is cut into tokens already."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces

    def text(self, start: int, end: int) -> str:
        """The text of tokens start to end - 1, in order."""
        return "".join(self._pieces[start:end])

    def escaped(self, start: int, end: int) -> bytes:
        """The same as it stands in a JSON string."""
        return orjson.dumps(self.text(start, end))[1:-1]


class WordSource:
    """An endless text, addressed by token: token j is a word, with a space before it if j > 0.

    One BLAKE2b digest yields 32 words, so any stretch of the text costs the same wherever it is.
    """

    __slots__ = ("_block", "_block_number", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._block_number = -1
        self._block: Sequence[str] = ()

    def text(self, start: int, end: int) -> str:
        """The text of tokens start to end - 1, in order."""
        if end == start + 1:
            return self._word(start)
        words: list[str] = []
        position = start
        while position < end:
            number, offset = divmod(position, _BLOCK_WORDS)
            if number != self._block_number:
                self._turn_to(number)
            taken = self._block[offset : offset + end - position]
            words.extend(taken)
            position += len(taken)
        joined = " ".join(words)
        return f" {joined}" if start > 0 and words else joined

    def escaped(self, start: int, end: int) -> bytes:
        """The same as it stands in a JSON string: words need no escapes."""
        return self.text(start, end).encode()

    def _word(self, position: int) -> str:
        number = position // _BLOCK_WORDS
        if number != self._block_number:
            self._turn_to(number)
        word = self._block[position % _BLOCK_WORDS]
        return f" {word}" if position else word

    def _turn_to(self, number: int) -> None:
        self._block = _words_of(self._seed, number)
        self._block_number = number


def _words_of(seed: bytes, number: int) -> list[str]:
    digest = blake2b(number.to_bytes(8, "big"), key=seed, digest_size=2 * _BLOCK_WORDS).digest()
    return [
        WORDS[(digest[i] << 8 | digest[i + 1]) & _WORD_MASK] for i in range(0, 2 * _BLOCK_WORDS, 2)
    ]
