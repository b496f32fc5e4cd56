"""A simulated provider: a real HTTP server that answers as OpenAI, Anthropic or Gemini would,
and as the clouds Vertex and Bedrock, which offer the latter two. Beside chat it has OpenAI's
moderations, embeddings, speech, transcriptions and images, Gemini's embeddings, speech and images,
and rerank of Cohere and Jina (see `operations`); what it draws and speaks are valid files.
It keeps the files of the three APIs (see `errands`), in memory, and chats may name them; it takes
on jobs as OpenAI's videos, Veo, xAI's videos and a provider like no other (see `generic_jobs`).
What else OpenAI keeps, responses in the background among it, is in `kept`.

Written from recordings and the SDKs' types, apart from the gateway's codecs, whose mistakes it is
to find: it checks requests as strictly as the real APIs, and fails on demand.
Owns its listener, connections, pacing, text, faults, replays of recordings, and the truth log.
Does not own what a gateway makes of its answers, nor any price or account.
One timer wheel wakes all streams; a request says what it wants by `#sim …` (see `directives`).
`GET /_truth` and `GET /_load` say what it did, and what that cost it, `GET /_files`,
`GET /_jobs` and `GET /_kept` what it has; `POST /_behave` changes what it does (see `behaviour`).
`open_simulator` starts one; `describe_directives` is the help text.
"""

from bench.simulate.directives import Directives, describe_directives, parse_directives
from bench.simulate.load import SimulatorLoad
from bench.simulate.server import Simulator, open_simulator
from bench.simulate.settings import SimulatorSettings
from bench.simulate.truth import TruthLog, TruthRecord

__all__ = [
    "Directives",
    "Simulator",
    "SimulatorLoad",
    "SimulatorSettings",
    "TruthLog",
    "TruthRecord",
    "describe_directives",
    "open_simulator",
    "parse_directives",
]
