"""Speech as a conversation that is answered in sound, and such a conversation as speech."""

from __future__ import annotations

from typing import Final

from engine.conversation import Conversation, SpeechOptions, Text, Turn
from engine.protocols.codec import ClientRequest, InexpressibleError
from engine.protocols.fields import dict_of, text_of
from engine.protocols.openai_speech.encoders import FORMATS

_FORMAT: Final = "response_format"


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
