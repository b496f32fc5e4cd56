"""A conversation in which the answer has begun: another deployment is to go on with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from engine.conversation import Conversation, NativeTool, Part, ReasoningRequest, Text, Turn
from engine.protocols.codec import InexpressibleError


@dataclass(frozen=True, slots=True)
class Prefix:
    """What has come of an answer.

    Attributes:
        text: all of it, as the client got it.
        tokens: of output so far, of those that the client allows.
    """

    text: str = field(repr=False)
    tokens: int

    def left_of(self, output_limit: int | None) -> int | None:
        """What is left of an output limit: a token at least, where there is one."""
        return None if output_limit is None else max(1, output_limit - self.tokens)


def continue_from(conversation: Conversation, prefix: Prefix) -> Conversation:
    """The conversation with the beginning of its answer as the assistant's last turn, and with what
    is left of its output limit.

    Spaces at the end stay away: Anthropic refuses them there, and what follows repeats them.

    Raises:
        InexpressibleError: what is asked for cannot be handed on in the middle of an answer.
    """
    _check(conversation)
    said = Text(prefix.text.rstrip())
    turns = conversation.turns
    last = turns[-1] if turns else None
    if last is not None and last.role == "assistant":
        turns = (*turns[:-1], replace(last, parts=_joined(last.parts, said)))
    else:
        turns = (*turns, Turn("assistant", (said,)))
    return replace(
        conversation,
        turns=turns,
        max_output_tokens=prefix.left_of(conversation.max_output_tokens),
    )


def _joined(parts: tuple[Part, ...], said: Text) -> tuple[Part, ...]:
    """An answer whose beginning the client itself has given: one text with what came of it."""
    match parts:
        case (*before, Text(text=text) as begun):
            return (*before, replace(begun, text=text + said.text))
        case _:
            return (*parts, said)


def _check(conversation: Conversation) -> None:
    for asked, name in (
        (conversation.choices > 1, "choices"),
        (conversation.output_format is not None, "output_format"),
        (conversation.top_logprobs is not None, "top_logprobs"),
        (conversation.modalities not in (None, ("text",)), "modalities"),
        (_thinks(conversation.reasoning), "reasoning"),
        (any(isinstance(tool, NativeTool) for tool in conversation.tools), "tools"),
    ):
        if asked:
            raise InexpressibleError(name, "An answer cannot be gone on with that has this.")


def _thinks(reasoning: ReasoningRequest | None) -> bool:
    """Of an answer that was thought about, the thoughts would have to come along."""
    return reasoning is not None and reasoning.effort != "none" and reasoning.budget_tokens != 0
