"""OpenAI's `POST /v1/embeddings`: texts as vectors, of OpenAI's own models and of the many hosts
that took its shape over.

Source: the type files `embedding_create_params` and `create_embedding_response` of OpenAI's SDK,
which asks for base64 unless it is told otherwise. An input may be given as tokens.
"""

from engine.protocols.openai_embeddings.codec import CODEC

__all__ = ["CODEC"]
