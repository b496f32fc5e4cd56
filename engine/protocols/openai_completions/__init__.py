"""OpenAI's legacy completions: a prompt is gone on with.

Owns: parsing clients' requests, their canonical form, reading along answers that providers of the
same protocol give, and writing canonical answers. Does not own: the event streams and errors that
it has in common with chat (`openai_stream`, `openai_shared`). It is spoken to providers verbatim
only: clients of other protocols are served by better ones.
"""

from engine.protocols.openai_completions.codec import CODEC, OpenAICompletionsCodec
from engine.protocols.openai_completions.requests import NAME

__all__ = ["CODEC", "NAME", "OpenAICompletionsCodec"]
