"""Gemini's `:embedContent` and `:batchEmbedContents`: contents as vectors.

Source: `EmbedContentRequest` of Google's API reference; what google-genai sends for either. Most
models report no usage.
"""

from engine.protocols.gemini_embeddings.codec import CODEC

__all__ = ["CODEC"]
