"""Speech as a conversation that is answered in sound, and such a conversation as speech."""

from __future__ import annotations

from typing import Any, Final

from engine.conversation import Conversation, SpeechOptions, Text, Turn
from engine.protocols.codec import ClientRequest, InexpressibleError
from engine.protocols.fields import dict_of, text_of
from engine.protocols.openai_speech.encoders import FORMATS

_FORMAT: Final = "response_format"
_VOICE: Final = "alloy"
"""Where a chat names none: the endpoint wants one."""
_IDLE: Final = (
    "max_output_tokens", "temperature", "top_p", "top_k", "seed", "presence_penalty",
    "frequency_penalty", "reasoning", "end_user", "metadata", "service_tier",
)  # fmt: skip


def decode_request(request: ClientRequest, default_format: str) -> Conversation:
    """One turn of the user's, to be read aloud. How it is to be read stands before it, as Gemini's
    speech models take it (ai.google.dev/gemini-api/docs/speech-generation).

    Raises:
        InexpressibleError: nobody else gives such a sound.
    """
    document = request.document
    kind = document.get(_FORMAT) or default_format
    if kind not in FORMATS:
        raise InexpressibleError(
            _FORMAT,
            f"The provider of this model gives no '{kind}'. Ask for a 'response_format' of 'wav' "
            "or 'pcm', or choose another model.",
        )
    speed = document.get("speed")
    if speed not in (None, 1):
        raise InexpressibleError(
            "speed", "This model has no 'speed'; say it in 'instructions', or choose another model."
        )
    text, instructions = document["input"], text_of(document.get("instructions")).strip()
    if instructions:
        text = f"{instructions.removesuffix(':')}:\n{text}"
    voice = document["voice"]
    named = voice if isinstance(voice, str) else text_of(dict_of(voice).get("id"))
    return Conversation(
        turns=(Turn("user", (Text(text),)),),
        modalities=("audio",),
        speech=SpeechOptions(voice=named, format=kind),
    )


def encode_document(conversation: Conversation) -> dict[str, Any]:
    """What the user says last, to be read aloud as raw samples; what the system says is how. The
    model is left to be named.

    Raises:
        InexpressibleError: it is more than a text, or the answer is to be more than sound.
    """
    if conversation.modalities != ("audio",):
        raise InexpressibleError(
            "modalities", "This model reads texts aloud: ask for sound alone, or choose another."
        )
    if conversation.choices > 1:
        raise InexpressibleError("choices", "This model reads a text once.")
    if conversation.tools:
        raise InexpressibleError("tools", "This model calls no tools.")
    if conversation.output_format is not None:
        raise InexpressibleError("output_format", "This model answers in sound only.")
    spoken = [turn for turn in conversation.turns if turn.role != "system"]
    if [turn.role for turn in spoken] != ["user"]:
        raise InexpressibleError("turns", "This model reads one message of the user's aloud.")
    speech = conversation.speech
    document: dict[str, Any] = {
        "input": _text_of(spoken[0]),
        "voice": (speech.voice if speech is not None else None) or _VOICE,
        _FORMAT: "pcm",
    }
    how = [_text_of(turn) for turn in conversation.turns if turn.role == "system"]
    return document | ({"instructions": "\n".join(how)} if how else {})


def left_out(conversation: Conversation) -> tuple[str, ...]:
    """What does not matter to who reads aloud."""
    return tuple(name for name in _IDLE if getattr(conversation, name) is not None)


def _text_of(turn: Turn) -> str:
    texts = [part.text for part in turn.parts if isinstance(part, Text)]
    if len(texts) != len(turn.parts):
        raise InexpressibleError("turns", "This model reads texts aloud, and nothing else.")
    return "\n".join(texts)
