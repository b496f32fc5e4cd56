"""The labelled prompts, and the request that each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import orjson

from bench.simulate.text import seed_of
from bench.simulate.words import WORDS

Difficulty = Literal["easy", "medium", "hard"]
DIFFICULTIES: Final[tuple[Difficulty, ...]] = get_args(Difficulty)
PROMPTS_FILE: Final = Path(__file__).with_name("prompts.jsonl")


class PromptError(ValueError):
    """A line of a file of prompts that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class LabelledPrompt:
    """One line.

    Attributes:
        level: how hard a person finds it.
        kind: what it is about, for the report.
        tools: so many functions are offered.
        schema: the answer is to keep to a JSON schema.
        document_words: a document of so many words stands behind it.
        turns: of a conversation that went before.
        reasoning: the effort of thinking that is asked for.
    """

    level: Difficulty
    kind: str
    prompt: str
    tools: int = 0
    schema: bool = False
    document_words: int = 0
    turns: int = 0
    reasoning: str | None = None

    def body(self, model: str) -> dict[str, Any]:
        """The request, in OpenAI's words."""
        history = [
            {
                "role": ("user", "assistant")[turn % 2],
                "content": _filler(f"{turn}{self.prompt}", 30),
            }
            for turn in range(self.turns - self.turns % 2)
        ]
        text = self.prompt
        if self.document_words:
            text += f"\n\n{_filler(self.prompt, self.document_words)}"
        document: dict[str, Any] = {
            "model": model,
            "messages": [*history, {"role": "user", "content": text}],
        }
        if self.tools:
            document["tools"] = [_tool(number) for number in range(self.tools)]
        if self.schema:
            schema = {"name": "answer", "schema": {"type": "object", "properties": {}}}
            document["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.reasoning is not None:
            document["reasoning_effort"] = self.reasoning
        return document


def read_prompts(path: Path = PROMPTS_FILE) -> list[LabelledPrompt]:
    """All prompts of a file.

    Raises:
        OSError: it cannot be read.
        PromptError: a line is none, or says twice what another has said.
    """
    prompts = list(_read(path.read_bytes().splitlines()))
    if len({prompt.prompt for prompt in prompts}) < len(prompts):
        raise PromptError("a prompt is there twice")
    return prompts


def _read(lines: list[bytes]) -> Iterator[LabelledPrompt]:
    for number, line in enumerate(lines, 1):
        try:
            document = orjson.loads(line)
            prompt = LabelledPrompt(**document)
        except (orjson.JSONDecodeError, TypeError) as error:
            raise PromptError(f"line {number}: {error}") from None
        if prompt.level not in DIFFICULTIES:
            raise PromptError(f"line {number}: there is no level {prompt.level!r}")
        yield prompt


def _tool(number: int) -> Mapping[str, Any]:
    parameters = {"type": "object", "properties": {"of": {"type": "string"}}}
    return {"type": "function", "function": {"name": f"tool_{number}", "parameters": parameters}}


def _filler(seed: str, words: int) -> str:
    """A document that says nothing, always the same of a seed."""
    start = int.from_bytes(seed_of(seed.encode())[:4])
    chosen = (WORDS[(start + at * 7) % len(WORDS)].strip() for at in range(words))
    return " ".join(chosen)
