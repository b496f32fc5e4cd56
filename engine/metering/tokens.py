"""Counting tokens of text, offline, as the text arrives.

Vocabularies come in the tokenizer's wheel and agree with OpenAI's own tokenizer. For model families
that publish none, o200k_base stands in: `FAMILIES` says how far that was off in recorded answers of
prose, code and non-Latin scripts are further off; a receipt says `counted`, and by what, wherever
such a number was billed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import toktok


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are counted alike.

    Attributes:
        prefixes: of the bare name of a model, in lower case.
        bias: our count of recorded answers over the provider's own, in hundredths: the median, the
            5th and the 95th percentile (`python -m bench.token_bias`); None: not measured.
    """

    name: str
    prefixes: tuple[str, ...]
    encoding: str
    bias: tuple[int, int, int] | None = None


FAMILIES: Final = (
    # OpenAI's own table of models: the prefix of the name decides; the first match wins.
    Family("gpt-4o", ("gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5"), "o200k_base", (100, 99, 100)),
    Family("gpt-4", ("gpt-4", "gpt-3.5", "text-embedding-"), "cl100k_base"),
    Family("gpt-oss", ("gpt-oss",), "o200k_harmony"),
    Family("gpt-5", ("gpt-", "o1", "o3", "o4", "codex"), "o200k_base", (97, 93, 99)),
    Family("qwen", ("qwen", "qwq"), "qwen3.5", (99, 97, 102)),
    # These publish no vocabulary, or none that is in a wheel: OpenAI's stands in.
    Family("claude", ("claude",), "o200k_base", (87, 84, 96)),
    Family("gemini", ("gemini", "gemma"), "o200k_base", (92, 89, 102)),
    Family("llama", ("llama", "meta-llama"), "o200k_base", (95, 95, 96)),
    Family(
        "mistral",
        ("mistral", "ministral", "codestral", "magistral", "pixtral"),
        "o200k_base",
        (99, 99, 99),
    ),
    Family("deepseek", ("deepseek",), "o200k_base", (97, 97, 99)),
    Family("grok", ("grok",), "o200k_base"),
    Family("kimi", ("kimi", "moonshot"), "o200k_base"),
    Family("glm", ("glm",), "o200k_base"),
    Family("sonar", ("sonar",), "o200k_base"),
)
_OTHERS: Final = Family("others", (), "o200k_base")

# Text is recounted each time this many characters have come: often enough that a progress record
# is never more than about 200 tokens old, seldom enough to cost nothing.
_RECOUNT_CHARS = 200
# Text without a safe boundary (base64, Chinese) is cut here all the same.
_SEGMENT_MAX_CHARS = 16_384
_SPACES_TRIED_MAX = 256
"""A megabyte of spaces would keep the loop for a second."""

# A prompt is counted at the end of an exchange, in synchronous code: at 20 million tokens a second
# this much of it holds the loop for about 10 ms. The rest is taken at 8 characters a token, fewer
# tokens than any ordinary text has, which is the client's favour.
_PROMPT_EXACT_CHARS = 1_000_000
_PROMPT_REST_CHARS_PER_TOKEN = 8

Count = Callable[[str], int]


def family_of(model: str) -> Family:
    """How a model (by a provider's name for it) is counted.

    >>> family_of("us.anthropic.claude-sonnet-4-5-20250929-v1:0").name
    'claude'
    """
    bare = model.rsplit("/", 1)[-1].lower()
    parts = bare.split(".")
    names = [".".join(parts[at:]) for at in range(min(3, len(parts)))]  # `us.anthropic.claude-…`
    for family in FAMILIES:
        if any(name.startswith(family.prefixes) for name in names):
            return family
    return _OTHERS


def encoding_for(model: str) -> str:
    """The name of the vocabulary that a model is counted with."""
    return family_of(model).encoding


def counted_by(model: str) -> str:
    """What a model is counted with and how far that is off, for the receipt.

    >>> counted_by("claude-opus-4"), counted_by("my-own")
    ('o200k_base: 0.87 of the count of claude (0.84 to 0.96)', 'o200k_base')
    """
    family = family_of(model)
    if family.bias is None:
        return family.encoding
    median, low, high = (f"{figure / 100:.2f}" for figure in family.bias)
    return f"{family.encoding}: {median} of the count of {family.name} ({low} to {high})"


@functools.cache
def counter_for(encoding: str) -> Count:
    """The counting function of a vocabulary; loading one takes about 0.5 s, once.

    Raises:
        KeyError: no such vocabulary.
    """
    # The library's public batch call starts threads: 22 µs for a word against 0.4 µs here.
    load = getattr(toktok, "_encoding", None)
    if load is not None:
        count: Count = load(encoding).count
        return count
    return lambda text: int(toktok.batch_count([text], encoding, 1)[0])


def count_prompt(texts: Iterable[str], encoding: str) -> int:
    """Tokens of the texts of a prompt; exact up to a million characters, then a lower bound."""
    count = counter_for(encoding)
    budget = _PROMPT_EXACT_CHARS
    total = 0
    for text in texts:
        exact = text[:budget]
        total += count(exact) + (len(text) - len(exact)) // _PROMPT_REST_CHARS_PER_TOKEN
        budget -= len(exact)
    return total


class TextCounter:
    """Counts one text that arrives in pieces.

    Counts of pieces do not add up (' bea' + 'utiful' is 2 tokens, ' beautiful' 1), so the text is
    gathered into segments that end between letter, space, letter. No vocabulary joins across such a
    boundary, so the sum of the segments' counts is the count of the text.
    """

    __slots__ = (
        "_closed_tokens", "_count", "_open", "_open_chars", "_recount_at", "known_tokens",
        "uncounted_chars",
    )  # fmt: skip

    def __init__(self, count: Count) -> None:
        self._count = count
        self._closed_tokens = 0
        self._open: list[str] = []
        self._open_chars = 0
        self._recount_at = _RECOUNT_CHARS
        self.known_tokens = 0
        """The count as of the last recount; never more than 200 characters behind."""
        self.uncounted_chars = 0
        """What has been added since."""

    @property
    def spare_chars(self) -> int:
        """What can be added without a recount."""
        return self._recount_at - self._open_chars - 1

    def add(self, piece: str) -> bool:
        """Append a piece of the text; True if it was recounted."""
        self._open.append(piece)
        self._open_chars += len(piece)
        self.uncounted_chars += len(piece)
        if self._open_chars < self._recount_at:
            return False
        self.total()
        return True

    def total(self) -> int:
        """The count of all text so far, exactly; closes what can be closed."""
        if not self.uncounted_chars:
            return self.known_tokens
        text = "".join(self._open)
        boundary = _last_boundary(text)
        if boundary == 0 and len(text) > _SEGMENT_MAX_CHARS:
            # This cut may split one token in two; the doubt is the client's.
            boundary = len(text)
            self._closed_tokens -= 1
        if boundary:
            self._closed_tokens += self._count(text[:boundary])
            text = text[boundary:]
        self._open = [text] if text else []
        self._open_chars = len(text)
        self._recount_at = len(text) + _RECOUNT_CHARS
        self.uncounted_chars = 0
        self.known_tokens = self._closed_tokens + (self._count(text) if text else 0)
        return self.known_tokens


def _last_boundary(text: str) -> int:
    """Index of the last space between two letters; 0 where there is none among the last spaces."""
    at = text.rfind(" ", 1, len(text) - 1)
    for _ in range(_SPACES_TRIED_MAX):
        if at <= 0:
            break
        if text[at - 1].isalpha() and text[at + 1].isalpha():
            return at
        at = text.rfind(" ", 1, at)
    return 0
