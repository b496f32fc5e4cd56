"""OpenAI's runs of assistants: a codec of its own. Sources: "Runs" and "Run steps" in OpenAI's API
reference (assistants v2), the types `beta/threads` of its SDK.

A run is bound before it is sent: what it may read and write together is what funds are held for.
It has ended when its provider says so, which its stream may or may not live to tell.
"""

from engine.protocols.openai_runs.codec import CODEC

__all__ = ["CODEC"]
