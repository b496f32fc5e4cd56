"""OpenAI's images: drawn by a description, drawn over, drawn again in another way.

Owns: parsing clients' requests (JSON and forms), what they consume at most, their canonical form,
reading and checking answers and event streams with pictures of megabytes, writing canonical answers
for clients, and requests for clients that chat. Does not own: forms and kinds of media
(`engine.media`), the stored pictures that URLs are given for.
"""

from engine.protocols.openai_images.codec import CODEC, OpenAIImagesCodec
from engine.protocols.openai_images.requests import NAME

__all__ = ["CODEC", "NAME", "OpenAIImagesCodec"]
